"""Whatever happened, whenever it became known: the causes add up to the difference of the two figures, and each had effect."""

from __future__ import annotations

from collections import Counter
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lampit import reference
from lampit.audit.archive_source import ArchiveSource
from lampit.audit.explain import answer
from lampit.audit.index import build
from lampit.audit.sources import open_source
from stream.causes import (
    BALANCES,
    BIRTHS,
    DEATHS,
    ENTERED,
    FOUND,
    MARRIAGES,
    MISSING,
    MOVED_IN,
    MOVED_OUT,
    PERMITS,
    RECORDINGS,
    RETURNED,
    TURNED_17,
)
from stream.engine import Engine
from stream.events import Event
from stream.explain import explain
from stream.explanation import Explanation, Heard, Question
from stream.ledger import Day, control_key, encode_control, encode_record, record_key
from stream.rules import Rules
from stream.tally import MEASURES
from tests.archives import LogRecord, write
from tests.counters import accept
from tests.property import test_regions as regions
from tests.property.lives import DAYS as EVENT_DAYS
from tests.property.lives import REGIONS, VILLAGES, histories
from tests.property.test_merging import changes_of_nik

REFERENCE = reference.load()
DAYS = sorted({date(2018, 5, 1), *EVENT_DAYS, date(2019, 2, 28), date(2019, 9, 9), date(2021, 3, 1)})
KEYS = ("M", "F", "unknown", "total")
_rules = st.builds(Rules, st.none() | st.integers(1, 60), st.sampled_from(("mar1", "feb28")))
_region = st.sampled_from(("ID-transit", *REGIONS, *VILLAGES))
OF_A_DAY = {BIRTHS, DEATHS, MOVED_IN, MOVED_OUT, ENTERED, MISSING, FOUND, RETURNED, MARRIAGES, PERMITS, RECORDINGS}
NO_EFFECT = {
    "already_resident", "late_move_out", "already_out", "after_death", "unplaced", "conflicting_duplicate",
    "cancels_nothing", "cancellation_cycle", "already_born",
}  # fmt: skip


@st.composite
def questions(draw: Any) -> tuple[list[Heard], Question, Rules]:
    """Random lives, each event accepted at a random hour, and a question about them."""
    accepted, _ = accept(draw(histories()) + draw(st.just([]) | changes_of_nik()))
    hours = draw(st.lists(st.integers(0, 9), min_size=len(accepted), max_size=len(accepted)))
    heard = [Heard(hour, one.subject, one.event) for one, hour in zip(accepted, hours, strict=True)]
    begin, end = sorted(draw(st.tuples(st.sampled_from(DAYS), st.sampled_from(DAYS))))
    known_from = draw(st.none() | st.integers(0, 9))
    known_to = None if known_from is None else draw(st.none() | st.integers(known_from, 9))
    question = Question(draw(_region), begin.toordinal(), end.toordinal(), known_from, known_to)
    return heard, question, draw(_rules)


@st.composite
def questions_of_codes(draw: Any) -> tuple[list[Heard], Question, Rules]:
    """The same of desa that were split, moved, swapped, merged, struck off, between any two of the days around decrees."""
    accepted, _ = accept(draw(regions.lives(balances=True)))
    begin, end = sorted(draw(st.tuples(st.sampled_from(regions.AS_OF), st.sampled_from(regions.AS_OF))))
    region = draw(st.sampled_from((*regions.REGIONS, *regions.VILLAGES)))
    question = Question(region, begin.toordinal(), end.toordinal())
    return [Heard(0, one.subject, one.event) for one in accepted], question, Rules()


def rows(heard: list[Heard], question: Question, rules: Rules, day: int, known: int | None) -> list[list[int | None]]:
    """The figures by the engine of `lampit count`."""
    engine = Engine(rules, REFERENCE)
    for one in heard:
        if known is None or one.received_at <= known:
            engine.add(one.subject, one.event)
    counted = {record["region"]: record for record in engine.count(date.fromordinal(day)).regions}
    record = counted.get(question.region)
    if record is None:
        return [[0, 0, 0, 0] for _ in MEASURES]
    return [[record[measure][key] for key in KEYS] for measure in MEASURES]


def answered(asked: tuple[list[Heard], Question, Rules]) -> Explanation:
    heard, question, rules = asked
    return explain(heard, question, rules, REFERENCE)


@settings(max_examples=120, suppress_health_check=list(HealthCheck))
@given(questions() | questions_of_codes())
def test_the_causes_add_up_to_the_difference(asked: tuple[list[Heard], Question, Rules]) -> None:
    """Measure by measure and sex by sex, against figures that the engine counts for itself."""
    heard, question, rules = asked
    explanation = answered(asked)
    before = rows(heard, question, rules, question.begin, question.known_from)
    after = rows(heard, question, rules, question.end, question.known_to)
    difference = [
        [None if a is None or b is None else b - a for a, b in zip(*pair, strict=True)]
        for pair in zip(before, after, strict=True)
    ]
    assert [list(row) for row in explanation.difference] == difference
    assert not any(value for row in explanation.unexplained() for value in row)


@settings(max_examples=100, suppress_health_check=list(HealthCheck))
@given(questions())
def test_what_had_no_effect_is_not_blamed(asked: tuple[list[Heard], Question, Rules]) -> None:
    """No event that the count itself calls without effect moves a day, and every cause moves something."""
    heard, question, rules = asked
    engine = Engine(rules, REFERENCE)
    for one in heard:
        if question.known_to is None or one.received_at <= question.known_to:
            engine.add(one.subject, one.event)
    # Anomalies say the name of an event; where two events have one name it does not tell them apart.
    names = Counter((event.source, event.id) for event in {id(one.event): one.event for one in heard}.values())
    idle = {(one.source, one.id) for one in engine.count(DAYS[0]).anomalies if one.kind in NO_EFFECT}
    # What an event says of the person holds, whatever becomes of the event itself.
    speaking = {(one.event.source, one.event.id) for one in heard if isinstance(one.event, Event) and one.event.person}
    idle = {name for name in idle - speaking if names[name] == 1}
    for cause in answered(asked).causes:
        assert any(map(any, cause.rows()))
        if cause.kind in OF_A_DAY and isinstance(cause.event, Event):
            assert (cause.event.source, cause.event.id) not in idle
            assert question.begin < cause.day <= question.end
        elif question.begin == question.end:
            assert cause.day <= question.begin or cause.event is not None


@settings(max_examples=100, suppress_health_check=list(HealthCheck))
@given(questions(), st.randoms(use_true_random=False))
def test_the_order_of_what_was_read_changes_nothing(asked: tuple[list[Heard], Question, Rules], chance: Any) -> None:
    """Nor does reading it twice."""
    heard, question, rules = asked
    again = heard + chance.choices(heard, k=len(heard))
    chance.shuffle(again)
    assert explain(again, question, rules, REFERENCE).causes == answered(asked).causes


@settings(max_examples=100, suppress_health_check=list(HealthCheck))
@given(questions())
def test_without_balances_everything_has_a_cause(asked: tuple[list[Heard], Question, Rules]) -> None:
    """A birthday, a lapse, or an event: nothing is put down to balances that are not there."""
    heard, question, rules = asked
    people = [one for one in heard if one.subject is not None]
    for cause in explain(people, question, rules, REFERENCE).causes:
        assert cause.kind != BALANCES
        assert cause.event is not None or cause.kind in (TURNED_17, RETURNED, RECORDINGS)


def archived(folder: Path, heard: list[Heard]) -> None:
    """An archive of these events: balances in both partitions, as intake writes them, a day at the end."""
    logs: dict[int, list[LogRecord]] = {0: [], 1: []}
    for one in heard:
        value = encode_record(one.subject, one.event, one.received_at)  # type: ignore[arg-type]
        key = record_key(one.subject, one.event)  # type: ignore[arg-type]
        partitions = logs if one.subject is None else (int(one.subject[:8], 16) % 2,)
        for number in partitions:
            logs[number].append(LogRecord(len(logs[number]), 0, key, value))
    for log in logs.values():
        turned = Day(DAYS[-1].toordinal())
        log.append(LogRecord(len(log), 0, control_key(turned), encode_control(turned, 0)))
    write(folder, logs, 8)


@settings(max_examples=8, suppress_health_check=list(HealthCheck))
@given(questions() | questions_of_codes())
def test_an_archive_gives_the_same_answer(asked: tuple[list[Heard], Question, Rules]) -> None:
    """Also where balances, merged NIKs and old birthdays concern people who are named elsewhere; and the SQL count agrees."""
    heard, question, rules = asked
    with TemporaryDirectory() as folder:
        archived(Path(folder), heard)
        with open_source((folder,), need_instants=None) as source:
            found = answer(source, question, rules, person=None, recount=True)
            assert isinstance(source, ArchiveSource)
            build(source, Path(folder) / "index.duckdb")
        with open_source((f"{folder}/index.duckdb",), need_instants=None) as source:
            again = answer(source, question, rules, person=None, recount=True)
    assert not found.faults + again.faults
    assert found.explanation == again.explanation == answered(asked)
