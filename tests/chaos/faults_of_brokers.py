"""What happens to brokers: killed, stopped, lost, slow, coordinators moved, logs compacted."""

from __future__ import annotations

from random import Random
from typing import Final

from agents.topics import COVERAGE, PARTIALS
from tests.chaos.cluster import NODES
from tests.chaos.faults_of_workers import moments, take_over_rollup
from tests.chaos.field import Field

COMPACTED_SOON: Final = {
    "min.cleanable.dirty.ratio": "0.01",
    "segment.ms": "500",
    "min.compaction.lag.ms": "0",
    "delete.retention.ms": "0",
}


def kill(live: Field, chance: Random) -> None:
    """A power cut of one."""
    node = chance.choice(NODES)
    live.at(chance.uniform(0.05, 0.4))
    live.cluster.kill(node)
    live.at(0.7)
    live.cluster.start_nodes(node)


def stop_each(live: Field, chance: Random) -> None:
    """A rolling restart: the next one when all is in sync."""
    nodes = list(NODES)
    chance.shuffle(nodes)
    for moment, node in zip(moments(chance, len(nodes), 0.05, 0.7), nodes, strict=True):
        live.at(moment)
        live.cluster.stop_node(node)
        live.pause(chance.random() * 2)
        live.cluster.start_nodes(node)
        live.cluster.wait_until_replicated()


def lose(live: Field, chance: Random) -> None:
    """A machine burns; a new one takes its place; then another is killed, and all that was acknowledged is still there."""
    first, second = chance.sample(NODES, 2)
    live.at(chance.uniform(0.05, 0.3))
    live.cluster.lose(first)
    live.at(0.5)
    live.cluster.replace(first)
    live.cluster.wait_until_replicated()
    live.cluster.kill(second)
    live.at(1.0)


def slow_down(live: Field, chance: Random) -> None:
    """Pauses below the session of a broker, as of a collector or a disk, and one beyond it."""
    for moment, seconds in zip(moments(chance, 4), (0.5, 1.5, 2.5, 6.0), strict=True):
        live.at(moment)
        node = chance.choice(NODES)
        live.cluster.pause(node)
        try:
            live.pause(seconds)
        finally:
            live.cluster.resume(node)


def kill_all(live: Field, chance: Random) -> None:
    """Power for the whole room."""
    live.at(chance.uniform(0.05, 0.6))
    for node in NODES:
        live.cluster.kill(node)
    live.pause(3.0)
    live.cluster.start_nodes(*NODES)


def move_coordinators(live: Field, chance: Random) -> None:
    """Of each group: the broker stops, another one coordinates."""
    groups = [live.intake_group().replace("intake", role) for role in ("intake", "ledger", "rollup")]
    chance.shuffle(groups)
    for moment, group in zip(moments(chance, len(groups), 0.05, 0.6), groups, strict=True):
        live.at(moment)
        node = live.cluster.coordinator(group)
        live.cluster.stop_node(node)
        found: list[int] = []

        def is_moved(group: str = group, found: list[int] = found) -> bool:
            found[:] = [live.cluster.coordinator(group)]
            return True

        live.wait_until(is_moved, "another coordinator")
        assert found != [node]
        live.pause(2.0)
        live.cluster.start_nodes(node)
        live.cluster.wait_until_replicated()


def compact(live: Field, chance: Random) -> None:
    """Roll-ups that take over read what the cleaner left, while it goes on."""
    before = {record.offset for record in live.read(PARTIALS)}
    for topic in (PARTIALS, COVERAGE):
        live.cluster.alter_topic(topic, COMPACTED_SOON)
    take_over_rollup(live, chance)
    live.at(1.0)
    # Markers leave gaps too: only what was there and is not any more tells.
    assert before - {record.offset for record in live.read(PARTIALS)}, "nothing was compacted"
