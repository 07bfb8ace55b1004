"""Codes that change move nobody: random lives in desa that were split, moved, swapped, merged, struck off."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents.store import FORMAT, Meta, Store
from agents.turns import at_once
from lampit import reference
from stream import coverage, partials
from stream.admission import Admitted
from stream.closing import DATINGS
from stream.count import Context, count
from stream.engine import Engine
from stream.events import OpeningBalance
from stream.opening import Book
from stream.partition import Draft
from stream.periods import CLOSING_DAY, Periods
from stream.regions import COUNTRY, TRANSIT, parent
from stream.rollup import Partial, Rollup
from stream.rules import Rules
from stream.tally import MEASURES
from tests.counters import accept, by_core, by_sql, disagreements
from tests.property.lives import Json

DECREES = tuple(
    date.fromisoformat(day) for day in ("2019-10-08", "2020-12-21", "2022-02-14", "2022-11-09", "2025-04-25")
)
VILLAGES = (
    "12.03.07.1009", "12.03.32.1001", "73.08.20.1001", "73.08.20.2007", "74.03.27.2003", "74.03.27.2004", "74.03.27.2009",
    "35.78.12.1004", "35.78.12.1005", "35.78.12.1006", "91.01.01.1003", "93.01.01.1003", "91.01.04.2023",
    "91.01.21.2001", "93.01.21.2001", "91.08.01.2034", "92.71.01.1001", "96.71.01.1001", "35.15.04.2014",
    "33.72.03.1010", "91.04.01.2999", "16.05.02.2001",
)  # fmt: skip
REGIONS = (
    "ID", "91", "91.01", "93.01", "91.01.04", "91.01.21.2001", "12.03.07", "73.08.20", "92", "92.71", "35.78.12.1004",
    "35.78.12.1005", "74.03.27", "74.03.27.2003",
)  # fmt: skip
# Nothing happens in the month of a change day (from the 28th to the 28th), so that what is before and after can be compared.
DAYS = (date(2018, 6, 1), date(2019, 9, 1), date(2019, 11, 10), date(2021, 3, 1), date(2022, 6, 1), date(2023, 2, 1),
        date(2025, 6, 1))  # fmt: skip
AS_OF = (
    *(day + timedelta(days=shift) for day in DECREES for shift in (-1, 0)), date(2018, 7, 1), date(2026, 1, 1),
)  # fmt: skip
OPENED_ON = date(2018, 5, 1)

_days = st.sampled_from(DAYS).map(date.isoformat)
_villages = st.sampled_from(VILLAGES)
_others = st.sampled_from((*VILLAGES, "91.01", "abroad", None))
_number = st.integers(0, 40) | st.fixed_dictionaries({"M": st.integers(0, 20), "F": st.integers(0, 20)})
_stated = st.one_of(_number, _number, _number, st.none())
_data: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "move_out": {"region": _villages, "destination": _others},
    "move_in": {"region": _villages, "origin": _others},
    "death": {"region": _villages},
    "missing": {"region": _villages},
    "found": {"region": _villages},
    "recording": {"region": _villages},
}


@st.composite
def lives(draw: st.DrawFn, *, balances: bool = False) -> list[Json]:
    """Up to six people, most on the register, and what happened to them; reported on the day it happened."""
    events: list[Json] = []
    for number in range(draw(st.integers(1, 6))):
        nik = f"16050201018{number:05}"
        if draw(st.integers(0, 4)):
            data = {"nik": nik, "occurred_on": "2015-01-01", "region": draw(_villages)}
            events.append(_event("register", data | {"person": {"birth_date": "1990-01-01", "sex": "F"}}, events))
        for _ in range(draw(st.integers(0, 5))):
            kind = draw(st.sampled_from(sorted(_data)))
            data = {"nik": nik, "occurred_on": draw(_days), **draw(st.fixed_dictionaries(_data[kind]))}
            events.append(_event(kind, {key: value for key, value in data.items() if value is not None}, events))
    if balances:
        for region in draw(st.lists(st.sampled_from(REGIONS), unique=True, max_size=6)):
            stated = {measure: count for measure in MEASURES if (count := draw(_stated)) is not None}
            data = {"region": region, "occurred_on": OPENED_ON.isoformat(), "counts": stated}
            schedule = draw(st.lists(st.tuples(_days, _number), max_size=2))
            if schedule:
                data["turning_17"] = [{"on": on, "count": count} for on, count in schedule]
            events.append(_event("opening_balance", data, events))
    return events


def _event(kind: str, data: Json, before: list[Json]) -> Json:
    return {
        "specversion": "1.0", "id": f"e{len(before)}", "source": "/siak/1605", "type": f"lampit.{kind}.v1",
        "time": f"{data['occurred_on']}T10:00:00+07:00", "data": data,
    }  # fmt: skip


def engine_of(events: list[Json]) -> Engine:
    engine = Engine(Rules(), reference.load())
    for admitted in accept(events)[0]:
        engine.add(admitted.subject, admitted.event)
    return engine


def figures(engine: Engine, day: date, codes_of: date | None = None) -> dict[str, Json]:
    return {record["region"]: record for record in engine.count(day, codes_of).regions}


def homes(events: list[Json], day: date) -> list[str]:
    """The place of each person counted, by the fold alone: no roll-up and no codes."""
    context = Context(Rules(), reference.load(), Book())
    by_person: dict[str, list[Any]] = {}
    for admitted in accept(events)[0]:
        by_person.setdefault(admitted.subject or "", []).append(admitted.event)
    spans = [count({subject: group}, context).timeline.at(day.toordinal()) for subject, group in by_person.items()]
    return [place for _, place, _ in spans if place]


def measured(record: Json) -> Json:
    return {measure: record[measure] for measure in MEASURES}


def stated_alike(one: Json, other: Json) -> bool:
    """Whether every figure that both state is the same; what a nested balance does not state shows only once it is apart."""
    pairs = [(one[measure][key], other[measure][key]) for measure in MEASURES for key in one[measure]]
    return all(first == second for first, second in pairs if first is not None and second is not None)


few: Callable[[Any], Any] = settings(max_examples=200, suppress_health_check=list(HealthCheck))


@few
@given(lives(), st.sampled_from(AS_OF), st.sampled_from(AS_OF))
def test_everybody_is_counted_once_under_the_codes_of_any_day(events: list[Json], day: date, codes_of: date) -> None:
    """The country is everyone with a home or in transit; a parent is the sum of its children and of its own people."""
    found, people = figures(engine_of(events), day, codes_of), homes(events, day)
    assert found[COUNTRY]["population"]["total"] == len(people)
    places = reference.load().places
    own = Counter(places.code(place, codes_of.toordinal()) for place in people)
    below: Counter[str] = Counter()
    for code, record in found.items():
        above = parent(code)
        if above is not None:
            assert above in found
            below[above] += record["population"]["total"]
    for code, record in found.items():
        assert record["population"]["total"] == own[code] + below[code], code


@few
@given(lives(balances=True), st.sampled_from(AS_OF), st.sampled_from(AS_OF))
def test_the_country_is_the_same_under_the_codes_of_any_day(events: list[Json], day: date, codes_of: date) -> None:
    """Balances too: what they state goes with their regions, however they are nested."""
    engine = engine_of(events)
    own_codes, others = figures(engine, day), figures(engine, day, codes_of)
    assert stated_alike(own_codes[COUNTRY], others[COUNTRY])
    assert measured(own_codes[TRANSIT]) == measured(others[TRANSIT])


@settings(max_examples=12, suppress_health_check=list(HealthCheck))
@given(lives(balances=True), st.sampled_from(AS_OF), st.sampled_from(AS_OF))
def test_core_and_sql_agree_under_any_codes(events: list[Json], day: date, codes_of: date) -> None:
    """Every region and every anomaly, under the codes of the day and those of another."""
    asked = [day, (day, codes_of)]
    for core, sql in zip(by_core(events, Rules(), asked), by_sql(events, Rules(), asked), strict=True):
        assert not disagreements(core, sql)


@few
@given(lives(balances=True), st.sampled_from(DECREES))
def test_a_change_day_moves_nobody(events: list[Json], decree: date) -> None:
    """The day before, by the codes of the change day, is the change day: every region, every measure."""
    engine, eve = engine_of(events), decree - timedelta(days=1)
    assert stated_alike(figures(engine, eve)[COUNTRY], figures(engine, decree)[COUNTRY])
    before, after = figures(engine, eve, decree), figures(engine, decree)
    assert {code: measured(record) for code, record in before.items()} == {
        code: measured(record) for code, record in after.items()
    }


@few
@given(lives(balances=True), st.sampled_from(DECREES))
def test_the_month_of_a_change_has_no_flow_and_no_correction(events: list[Json], decree: date) -> None:
    """In every region, by event and by report date, and the country opens as it closed."""
    month = f"{decree:%Y-%m}"
    periods = Periods.since(month, CLOSING_DAY)
    following = periods.period(1).name
    closings = engine_of(events).closings(periods, [month, following])
    for record in closings[month]:
        for dating in DATINGS:
            for name, flow in record[dating]["flows"].items():
                assert not any(flow.values()), (record["region"], dating, name)
    (before,), (after,) = ([one for one in closings[name] if one["region"] == COUNTRY] for name in (month, following))
    assert all(before[dating]["closing"] == after[dating]["opening"] for dating in DATINGS)


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(lives(balances=True), st.randoms(use_true_random=False))
def test_the_live_roll_up_turns_with_the_day(events: list[Json], chance: Any) -> None:
    """Batch by batch over every change day, with takeovers: the compacted topic holds what is counted at once."""
    accepted, _ = accept(events)
    chance.shuffle(accepted)
    days = sorted({OPENED_ON, *AS_OF})
    turns = sorted(chance.randrange(len(accepted) + 1) for _ in days)
    topic: dict[str, Json] = {}
    with tempfile.TemporaryDirectory() as folder:
        live = Live(Store(Path(folder) / "store"))
        for begin, end, day in zip([0, *turns], turns, days, strict=False):
            live.write(accepted[begin:end], day)
            if chance.randrange(3):
                # Where the other third comes due before the next, a predecessor's last publication was cut short.
                topic |= live.give_out(day, takeover=chance.randrange(2) == 1)
                compare(topic, accepted[:end], day)
        live.store.close()


def compare(topic: dict[str, Json], accepted: list[Admitted], day: date) -> None:
    """Every region as counted at once, and nobody in any other."""
    engine = Engine(Rules(), reference.load())
    for admitted in accepted:
        engine.add(admitted.subject, admitted.event)
    expected = {record["region"]: record for record in engine.count(day).regions}
    assert {code: topic[code] for code in expected} == expected
    empty = {code: topic[code]["population"]["total"] for code in topic.keys() - expected.keys()}
    assert not any(empty.values()), "a code that ended is given out empty"


class Live:
    """A ledger worker's store and the roll-up over what it publishes, without Kafka."""

    def __init__(self, store: Store) -> None:
        """Nothing applied."""
        self.store = store
        self.read = reference.load()
        self.book, self.reached = Book((), self.read.places), None
        self.partials: dict[str, Partial] = {TRANSIT: Partial()}
        self.due: set[str] = set()
        self.rollup = Rollup(places=self.read.places)
        self.rollup.apply(0, TRANSIT, Partial())

    def write(self, batch: list[Admitted], day: date) -> None:
        """Turn the day, apply events."""
        draft = Draft(self.store, Rules(), self.read, self.book, self.reached)
        draft.advance(day.toordinal())
        for admitted in batch:
            if isinstance(admitted.event, OpeningBalance):
                at_once(draft.add_balances([admitted.event]))
            else:
                draft.add_events([(admitted.subject or "", admitted.event)])
        self.store.write(draft, Meta(FORMAT, "ledger", 0, "settings", day=draft.day), draft.columns)
        self.book, self.reached, self.due = draft.book, draft.day, self.due | draft.columns

    def give_out(self, day: date, takeover: bool) -> dict[str, Json]:
        """What the roll-up, or one that takes over, publishes of the day."""
        draft = Draft(self.store, Rules(), self.read, self.book, self.reached)
        parts, self.due = draft.partials(self.due), set()
        self.partials |= parts
        if takeover:
            self.rollup = Rollup(places=self.read.places)
        for place, part in (self.partials if takeover else parts).items():
            record = partials.decode(partials.key(place, 0), partials.encode(place, part, 0, 1, 1, day))
            assert isinstance(record, partials.PartialRecord)
            self.rollup.apply(0, place, record.partial())
        self.rollup.all_dirty()
        names = coverage.Names(self.read, day.toordinal())
        figures = self.rollup.take_changed(day.toordinal())
        return {code: coverage.record(code, figure, names) for code, figure in figures}
