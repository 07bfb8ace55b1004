"""Batch by batch through a real store, the figures are those of the whole set counted at once."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents.store import FORMAT, Meta, Store
from agents.turns import at_once
from lampit import reference
from stream import coverage
from stream.admission import Admitted
from stream.engine import Engine
from stream.events import OpeningBalance
from stream.opening import Book
from stream.partition import Draft
from stream.regions import TRANSIT
from stream.rollup import Partial, Rollup
from stream.rules import Rules
from tests.counters import accept
from tests.property.lives import histories

LONG = int(os.environ.get("LAMPIT_FUZZ_BATCHES", "2500"))
compared: Counter[str] = Counter()
DAYS = (date(2018, 12, 31), date(2019, 2, 28), date(2019, 3, 1), date(2019, 3, 28), date(2020, 6, 30))


@settings(max_examples=150)
@given(histories(with_nik_changes=False), st.randoms(use_true_random=False), st.integers(1, 7))
def test_batches_add_up_to_the_count(events: list[dict[str, Any]], chance: Any, size: int) -> None:
    """Events in any order and any batches, the day turned between them: every region's record equals the engine's."""
    add_up(events, chance, size)


@pytest.mark.fuzz
@pytest.mark.timeout(0)
@settings(max_examples=LONG, suppress_health_check=list(HealthCheck))
@given(histories(with_nik_changes=False), st.randoms(use_true_random=False), st.integers(1, 7))
def test_batches_add_up_at_length(events: list[dict[str, Any]], chance: Any, size: int) -> None:
    """The same, as long as is asked for."""
    add_up(events, chance, size)
    compared.update(histories=1, events=len(events))


@pytest.fixture(scope="module", autouse=True)
def _summary(pytestconfig: pytest.Config) -> Iterator[None]:
    """What the long search compared."""
    yield
    if compared:
        with pytestconfig.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():  # type: ignore[union-attr]
            print(
                f"\nbatches through a store compared on {compared['histories']:,} histories of {compared['events']:,} events"
            )


def add_up(events: list[dict[str, Any]], chance: Any, size: int) -> None:
    """What is written batch by batch is what is counted at once."""
    accepted, _ = accept(events)
    chance.shuffle(accepted)
    turns = sorted(chance.randrange(len(accepted) + 1) for _ in DAYS)
    engine = Engine(Rules(), reference.load())
    for admitted in accepted:
        engine.add(admitted.subject, admitted.event)
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "store")
        partition = Partition(store)
        for number, day in enumerate(DAYS):
            begin = turns[number - 1] if number else 0
            for start in range(begin, turns[number], size):
                partition.write(accepted[start : min(start + size, turns[number])], None)
            partition.write([], day)
            if number == len(DAYS) - 1:
                partition.write(accepted[turns[number] :], None)
        expected = {record["region"]: record for record in engine.count(DAYS[-1]).regions}
        live = partition.newest
        store.close()
    for region, record in expected.items():
        assert live.get(region) == record


class Partition:
    """What a desk and the roll-up do, without Kafka: drafts over a store, and each region's newest record."""

    def __init__(self, store: Store, rules: Rules | None = None) -> None:
        """Nothing applied."""
        self.store = store
        self.rules = rules or Rules()
        self.book = Book()
        self.day: int | None = None
        self.due: set[str] = set()
        self.rollup = Rollup(places=reference.load().places)
        self.rollup.apply(0, TRANSIT, Partial())
        self.newest: dict[str, dict[str, Any]] = {}

    def write(self, batch: list[Admitted], day: date | None) -> None:
        """Apply events in runs between balances, then the day, and write it all."""
        draft = Draft(self.store, self.rules, reference.load(), self.book, self.day)
        for admitted in batch:
            if isinstance(admitted.event, OpeningBalance):
                at_once(draft.add_balances([admitted.event]))
            else:
                draft.add_events([(admitted.subject or "", admitted.event)])
        if day is not None:
            draft.advance(day.toordinal())
        self.store.write(draft, Meta(FORMAT, "ledger", 0, "settings", day=draft.day), draft.columns)
        self.book, self.day = draft.book, draft.day
        self.due |= draft.columns
        if self.day is not None:
            self._give_out(date.fromordinal(self.day), turned=day is not None)

    def _give_out(self, day: date, *, turned: bool) -> None:
        """What changed, on top of what the roll-up was told before; on a new day everything."""
        draft = Draft(self.store, self.rules, reference.load(), self.book, self.day)
        for region, part in draft.partials(self.due).items():
            self.rollup.apply(0, region, part)
        self.due.clear()
        if turned:
            self.rollup.all_dirty()
        names = coverage.Names(reference.load(), day.toordinal())
        for code, figure in self.rollup.take_changed(day.toordinal()):
            self.newest[code] = coverage.record(code, figure, names)
