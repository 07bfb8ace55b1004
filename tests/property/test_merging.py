"""People with several NIKs over several partitions: through any order and any kill, the figures of the whole set at once."""

from __future__ import annotations

import json
import os
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lampit import reference
from stream.admission import Admitted, admit
from stream.engine import Engine
from stream.pseudonym import Pseudonymiser
from stream.rules import Rules
from tests.property.lives import histories
from tests.property.partitions import Cluster, Desk, Lists

LONG = int(os.environ.get("LAMPIT_FUZZ_MERGES", "1500"))
DAY = date(2019, 3, 28)
NIKS = tuple(f"160902410180000{number}" for number in range(6))
STEPS = ("apply", "apply", "publish", "publish", "killed", "restart", "lose", "change")

Json = dict[str, Any]


@st.composite
def changes_of_nik(draw: Any) -> list[Json]:
    """Changes of NIK: chains, cycles, stars, and some that lose a conflict and join nobody."""
    changes = []
    for _ in range(draw(st.integers(1, 7))):
        old, new = draw(st.lists(st.sampled_from(NIKS), min_size=2, max_size=2, unique=True))
        changes.append(
            {
                "specversion": "1.0",
                "id": f"event-{draw(st.integers(0, 9))}",
                "source": draw(st.sampled_from(("/siak/1605", "/siak/1609"))),
                "type": "lampit.nik_change.v1",
                "time": f"2019-0{draw(st.integers(1, 9))}-10T10:00:00+07:00",
                "data": {"nik": old, "occurred_on": "2019-01-01", "new_nik": new},
            }
        )
    return changes


@settings(max_examples=150)
@given(histories(), changes_of_nik(), st.randoms(use_true_random=False), st.integers(1, 4), st.integers(0, 20))
def test_families_over_partitions(
    events: list[Json], changes: list[Json], chance: Any, partitions: int, key: int
) -> None:
    """Chains, cycles and conflicting changes, before and after the events, with kills: as counted at once."""
    merge(events + changes, chance, partitions, key)


@pytest.mark.fuzz
@pytest.mark.timeout(0)
@settings(max_examples=LONG, suppress_health_check=list(HealthCheck))
@given(histories(), changes_of_nik(), st.randoms(use_true_random=False), st.integers(1, 4), st.integers(0, 20))
def test_families_at_length(events: list[Json], changes: list[Json], chance: Any, partitions: int, key: int) -> None:
    """The same, as long as is asked for."""
    merge(events + changes, chance, partitions, key)


def merge(events: list[Json], chance: Any, partitions: int, key: int) -> None:
    """Events arrive while partitions apply, publish, are killed and rebuilt; in the end nothing differs."""
    pseudonymise = Pseudonymiser(b"a key that only the tests use, 32 bytes or more %d" % key)
    outcomes = [admit(json.dumps(event).encode(), pseudonymise) for event in events]
    accepted = [one for one in outcomes if isinstance(one, Admitted)]
    accepted += chance.sample(accepted, len(accepted) // 4)
    chance.shuffle(accepted)
    engine = Engine(Rules(), reference.load())
    for admitted in accepted:
        engine.add(admitted.subject, admitted.event)
    turn = chance.choice((0, chance.randrange(len(accepted) + 1)))
    with tempfile.TemporaryDirectory() as folder:
        cluster = Cluster(partitions, Path(folder))
        for number, admitted in enumerate(accepted):
            if number == turn:
                cluster.turn(DAY)
            cluster.accept(admitted)
            for _ in range(chance.randrange(4)):
                step(chance.choice(cluster.desks), chance.choice(STEPS), chance.randrange(1, 5))
        if turn == len(accepted):
            cluster.turn(DAY)
        cluster.settle()
        live, lists = cluster.records(DAY), cluster.lists
        cluster.close()
    counted = engine.count(DAY)
    for record in counted.regions:
        assert live.get(record["region"]) == record
    empty = dict.fromkeys(("M", "F", "unknown", "total"), 0)
    for region in live.keys() - {record["region"] for record in counted.regions}:
        assert live[region]["population"] in (empty, dict.fromkeys(empty)), f"nobody is in {region}"
    expected: Lists = {}
    for anomaly in counted.anomalies:
        if anomaly.subject is not None:
            expected.setdefault(anomaly.subject, set()).add(anomaly[1:])
    assert {subject: kinds for subject, kinds in lists.items() if kinds} == expected


def step(desk: Desk, what: str, count: int) -> None:
    """One thing that happens to a partition."""
    match what:
        case "apply":
            desk.apply(count)
        case "publish":
            desk.publish()
        case "killed":
            desk.publish(killed=True)
        case "restart":
            desk.restart()
        case "change":
            desk.change_worker()
        case _:
            desk.lose_store()
