"""Rotation of the key changes no figure: random lives and all stories, on several days, as known now and before."""

from __future__ import annotations

import json
import random
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from lampit import reference
from lampit.audit.archive import Archive
from lampit.audit.checks import NOTHING
from lampit.audit.coverage import by_sql
from lampit.audit.sources import open_source
from lampit.audit.verify import verify
from lampit.rotation_plan import plan
from stream.admission import Admitted, admit
from stream.engine import Engine
from stream.events import Event, NikChange, OpeningBalance
from stream.explain import explain
from stream.explanation import Heard, Question
from stream.identity import families
from stream.ledger import encode_record
from stream.merging import holders, partition_of
from stream.pseudonym import Pseudonymiser
from stream.rules import Rules
from tests.counters import KEY, accept
from tests.property.lives import REGIONS, VILLAGES, histories
from tests.property.test_merging import changes_of_nik
from tests.rotations import archived, by_known_day, common_days, fitting_key, heard, made, records, rotate, subjects
from tests.scenario_files import load_scenarios

AS_OF = (date(2018, 12, 31), date(2019, 2, 28), date(2019, 3, 28), date(2020, 6, 30))
Json = dict[str, Any]


@contextmanager
def before_and_after(events: Sequence[Json], partitions: int, chance: Any) -> Iterator[tuple[Archive, Archive, bytes]]:
    """An archive, and the same under a newer key, and that key."""
    with tempfile.TemporaryDirectory() as folder:
        old = archived(Path(folder) / "old", made(events, partitions, chance))
        key = fitting_key(old)
        rotate(old, Path(folder) / "new", key)
        yield old, Archive.open(str(Path(folder) / "new")), key


def counted(
    events: Sequence[Heard], rules: Rules, day: date, known: int | None
) -> tuple[list[Json], list[tuple[str, ...]]]:
    """Figures of every region, and the anomalies."""
    engine = Engine(rules, reference.load())
    for one in events:
        if known is None or one.received_at <= known:
            engine.add(one.subject, one.event)
    found = engine.count(day)
    return found.regions, sorted((one.source, one.id, one.kind) for one in found.anomalies)


def assert_same_figures(old: Archive, new: Archive, rules: Rules, days: Sequence[date] = AS_OF) -> None:
    """As known now, and as known at instants between the events."""
    before, after = heard(old), heard(new)
    instants = sorted({one.received_at for one in before})
    for known in (None, *instants[:: len(instants) // 2 + 1]):
        for day in days:
            assert counted(before, rules, day, known) == counted(after, rules, day, known)


def assert_rewritten(old: Archive, new: Archive, rename: Pseudonymiser) -> None:
    """The same events under other ids, where those lie, between the same days; of the old ids none is left."""
    assert not subjects(old) & subjects(new)
    assert {rename(one) for one in subjects(old)} == subjects(new)
    shown = b"".join((one.key or b"") + (one.value or b"") for one in new.records())
    assert not [one for one in subjects(old) if one.encode() in shown]
    days = common_days(old)
    assert common_days(new) == days
    assert by_known_day(old, days, rename) == by_known_day(new, days)
    count = len(new.partitions())
    lies = Counter((one.subject, one.event.source, one.event.id, where) for where, one in records(new))
    for where, one in records(new):
        if one.subject is not None and one.forwarded_from is None:
            for holder in holders(one.subject, one.event):  # type: ignore[arg-type]
                assert lies[one.subject, one.event.source, one.event.id, partition_of(holder, count)]
        elif one.subject is not None:
            assert where == partition_of(one.subject, count)


def assert_kept_by_the_smallest(new: Archive) -> None:
    """Whoever is counted with others: the smallest of the ids has all events of all, its own and copies."""
    events: dict[str, list[Event]] = {}
    kept: dict[str, list[tuple[str, Event]]] = {}
    for _, one in records(new):
        if one.subject is None or isinstance(one.event, OpeningBalance):
            continue
        if one.forwarded_from is None:
            events.setdefault(one.subject, []).append(one.event)
            for holder in holders(one.subject, one.event):
                kept.setdefault(holder, []).append((one.subject, one.event))
        else:
            kept.setdefault(one.subject, []).append((one.forwarded_from, one.event))
    changed = [one for one, of_one in events.items() if any(isinstance(event, NikChange) for event in of_one)]
    for family in families(events, changed):
        names = {*family, *(e.new_subject for of_one in family.values() for e in of_one if isinstance(e, NikChange))}
        held = kept[min(names)]
        assert all((one, event) in held for one, of_one in family.items() for event in of_one)


def assert_same_causes(old: Archive, new: Archive, rules: Rules, chance: Any) -> None:
    """Why figures changed, from day to day and from instant to instant; only the names of people are others."""
    before, after = heard(old), heard(new)
    instants = sorted({one.received_at for one in before})
    for region in chance.sample(("ID", "ID-transit", *REGIONS, *VILLAGES), 3):
        begin, end = sorted(chance.sample(AS_OF, 2))
        known = sorted(chance.choices(instants, k=2)) if chance.random() < 0.5 else (None, None)
        question = Question(region, begin.toordinal(), end.toordinal(), *known)
        one, other = (explain(events, question, rules, reference.load()) for events in (before, after))
        assert one.difference == other.difference
        causes = [
            Counter((cause.kind, cause.day, repr(cause.rows())) for cause in found.causes) for found in (one, other)
        ]
        assert causes[0] == causes[1]


def assert_as_by_intake(events: Sequence[Json], new: Archive, key: bytes) -> None:
    """What lies in the new archive is what intake makes of the events with both keys."""
    both = Pseudonymiser(KEY, key)
    outcomes = [admit(json.dumps(event).encode(), both) for event in events]
    expected = {encode_record(one.subject, one.event, 0) for one in outcomes if isinstance(one, Admitted)}
    assert {encode_record(one.subject, one.event, 0) for one in heard(new)} == expected  # type: ignore[arg-type]


@settings(max_examples=12, suppress_health_check=list(HealthCheck))
@given(
    histories(),
    st.just([]) | changes_of_nik(),
    st.builds(Rules, st.none() | st.integers(1, 60), st.sampled_from(("mar1", "feb28"))),
    st.randoms(use_true_random=False),
    st.integers(1, 3),
)
def test_no_figure_changes(events: list[Json], changes: list[Json], rules: Rules, chance: Any, partitions: int) -> None:
    """Figures, anomalies, causes; and what intake would have written with both keys."""
    events = events + changes
    assume(accept(events)[0])
    with before_and_after(events, partitions, chance) as (old, new, key):
        assert_rewritten(old, new, Pseudonymiser(key))
        assert_as_by_intake(events, new, key)
        assert_kept_by_the_smallest(new)
        assert_same_figures(old, new, rules)
        assert_same_causes(old, new, rules, chance)


@lru_cache(maxsize=1)
def stories() -> dict[str, tuple[Rules, list[Json]]]:
    """All stories, by the settings that they are told under."""
    found: dict[str, tuple[Rules, list[Json]]] = {}
    for scenario in load_scenarios():
        told = {
            name: scenario.settings[name]
            for name in ("transit_expiry_days", "leap_birthday")
            if name in scenario.settings
        }
        name = ", ".join(f"{key} {value}" for key, value in told.items()) or "no settings"
        found.setdefault(name, (Rules(**told), []))[1].extend(scenario.events)  # type: ignore[arg-type]
    return found


@pytest.mark.parametrize("name", sorted(stories()))
def test_all_stories_at_once(name: str) -> None:
    """Thousands of events of all kinds in one ledger: by the engine, by SQL, and by the audit of what follows on what."""
    rules, events = stories()[name]
    chance = random.Random(name)
    with before_and_after(events, 3, chance) as (old, new, key):
        assert_rewritten(old, new, Pseudonymiser(key))
        assert_as_by_intake(events, new, key)
        assert_kept_by_the_smallest(new)
        assert_same_figures(old, new, rules, AS_OF[2:3])
        assert_same_causes(old, new, rules, chance)
        known = sorted({event.received_at for event in heard(old)})[len(events) // 4]
        figures = []
        for archive in (old, new):
            with open_source((archive.files.url,), need_instants=None) as source:
                figures.append(by_sql(source, AS_OF[2], known, rules, None))
        assert figures[0] == figures[1]
        report = verify(new, NOTHING, previous=old)
        assert report.is_ok, report.findings
        assert report.succession is not None
        assert report.succession.compared == plan(old, Pseudonymiser(key)).persons > len(events) / 10
