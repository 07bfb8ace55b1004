"""Closings over partitions that run ahead, are killed and rebuilt: each is what the events before its barrier say at once."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from datetime import date, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents.turns import at_once
from lampit import reference
from stream import closing_parts
from stream.closer import Closer
from stream.engine import Engine
from stream.events import OpeningBalance
from stream.rules import Rules
from tests.closings import assert_known, assert_revisions
from tests.counters import accept
from tests.property.lives import histories
from tests.property.partitions import Cluster
from tests.property.test_merging import STEPS, step

LONG = int(os.environ.get("LAMPIT_FUZZ_LIVE_CLOSINGS", "1000"))
FIRST = "2019-01"
DAYS = tuple(date(2019, 1, 27) + timedelta(days=days) for days in (0, 1, 2, 3, 30, 32, 33, 62))
FINAL_DAY = date(2019, 5, 29)

Json = dict[str, Any]


class Rollup:
    """What `agents.closings` does, without Kafka; published: every closing, in order.

    needs: how much of the topic of parts has to be seen for what was closed.
    """

    def __init__(self, cluster: Cluster, published: list[Json], seen: int | None = None) -> None:
        """A takeover: all is read again, at first only what is seen: the rest is behind a transaction that is still open."""
        self.cluster = cluster
        self.published = published
        rules, periods = cluster.rules, cluster.rules.periods
        assert periods is not None
        self.closer = Closer(rules, periods, reference.load(), cluster.partitions, "settings")
        self._read = cluster.closing_parts[:seen]
        self.needs = len(self._read)
        for key, value in self._read:
            self._add(key, value)
        days = [date.fromisoformat(record["known_day"]).toordinal() for record in published]
        for begun in at_once(self.closer.take_over(max(days, default=None))):
            self._tell(begun.key, closing_parts.encode(begun))

    def _add(self, key: bytes, value: bytes | None) -> None:
        part = None if value is None else closing_parts.decode(key, value)
        if part is not None:
            self.closer.add(part)

    @property
    def regions(self) -> set[str]:
        return {record["region"] for record in self.published}

    def latest(self, region: str, period: str) -> Mapping[str, Any] | None:
        of_period = [one for one in self.published if (one["region"], one["period"]) == (region, period)]
        return of_period[-1] if of_period else None

    def taken_over(self, chance: Any) -> Rollup:
        """The next roll-up. What this one wrote behind all that it needed may not be seen yet."""
        if chance.random() < 0.5:
            return Rollup(self.cluster, self.published, chance.randint(self.needs, len(self.cluster.closing_parts)))
        self.cluster.compact()
        return Rollup(self.cluster, self.published)

    def close(self, chance: Any, *, sees_all: bool = True) -> bool:
        """Close what can be; given up now and then, to be begun again, or cut short by a kill. Whether it lives."""
        more = self.cluster.closing_parts[len(self._read) :] if sees_all else []
        for key, value in more:
            self._add(key, value)
        if more:
            self._read = list(self.cluster.closing_parts)
            self.needs = len(self._read)
        while (day := self.closer.next_day()) is not None:
            if chance.random() < 0.1:
                for _ in islice(self.closer.begin(day), chance.randrange(20)):
                    pass
            work = at_once(self.closer.begin(day))
            given_up_after = chance.randrange(300) if chance.random() < 0.1 else None
            together, made = chance.choice((1, 4, 1_000)), []
            for number, record in enumerate(self.closer.closings(work, self)):
                if record is not None:
                    made.append(record)
                    if chance.random() < 0.02:
                        return False
                if len(made) == together:
                    self.published += made
                    made = []
                if number == given_up_after:
                    return True
            self.published += made
            closed, superseded = self.closer.finish(work)
            self._tell(closed.key, closing_parts.encode(closed))
            for key in superseded:
                self._tell(key, None)
                if chance.random() < 0.02:
                    return False
        return True

    def _tell(self, key: bytes, value: bytes | None) -> None:
        self.cluster.closing_parts.append((key, value))


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(histories(), st.randoms(use_true_random=False), st.integers(1, 3))
def test_closings_over_partitions(events: list[Json], chance: Any, partitions: int) -> None:
    """Any order, any kill, days that some partitions have not come to yet: every closing is the one counted at once."""
    prove(events, chance, partitions)


@pytest.mark.fuzz
@pytest.mark.timeout(0)
@settings(max_examples=LONG, suppress_health_check=list(HealthCheck))
@given(histories(), st.randoms(use_true_random=False), st.integers(1, 3))
def test_closings_at_length(events: list[Json], chance: Any, partitions: int) -> None:
    """The same, as long as is asked for."""
    prove(events, chance, partitions)


def prove(events: list[Json], chance: Any, partitions: int) -> None:
    """Live closings against the engine."""
    accepted, _ = accept(events)
    chance.shuffle(accepted)
    joins = any(event["type"] == "lampit.nik_change.v1" for event in events)
    turns = sorted(chance.randrange(len(accepted) + 1) for _ in DAYS)
    rules = Rules(first_period=FIRST)
    with tempfile.TemporaryDirectory() as folder:
        cluster = Cluster(partitions, Path(folder), rules=rules)
        published: list[Json] = []
        rollup = Rollup(cluster, published)
        for number in range(len(accepted) + 1):
            for day, turn in zip(DAYS, turns, strict=True):
                if turn == number:
                    cluster.turn(day)
            if number < len(accepted):
                cluster.accept(accepted[number])
            for _ in range(chance.randrange(4)):
                step(chance.choice(cluster.desks), chance.choice(STEPS), chance.randrange(1, 9))
            sees_all = chance.random() < 0.7
            if chance.random() < 0.1 or (chance.random() < 0.5 and not rollup.close(chance, sees_all=sees_all)):
                rollup = rollup.taken_over(chance)
        cluster.settle()
        cluster.turn(FINAL_DAY)
        cluster.settle()
        while not (lives := rollup.close(chance)) or rollup.closer.next_day() is not None:
            if not lives:
                rollup = rollup.taken_over(chance)
        cluster.close()
    assert_revisions(published)
    for known_day in sorted({record["known_day"] for record in published}):
        is_last = known_day == (FINAL_DAY - timedelta(days=1)).isoformat()
        if is_last or not joins:
            day = date.fromisoformat(known_day)
            assert_known(published, day, counted_before(cluster, day + timedelta(days=1)), rules)


def counted_before(cluster: Cluster, day: date) -> Engine:
    """The engine with the events that the logs hold before a day record; of the copies only a change of NIK is one."""
    engine = Engine(cluster.rules, reference.load())
    for log in cluster.logs:
        for arrival in log[: log.index(day)]:
            if isinstance(arrival, OpeningBalance):
                engine.add(None, arrival)
            elif not isinstance(arrival, date) and arrival[0] == arrival[1]:
                engine.add(arrival[1], arrival[2])
    return engine
