"""What `lampit doctor` makes of a cluster's answers, one thing wrong at a time, in the form that kafka-python gives them."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.structs import TopicPartition
from kafka.errors import GroupIdNotFoundError

from agents.settings import Settings
from agents.topics import LEDGER, REJECTED, Topic, topics_of
from lampit.doctor import cluster
from lampit.doctor.findings import Finding

REPLICATED = Settings(partitions=2, replication_factor=3)
LEDGER_TOPIC, REJECTED_TOPIC = (
    next(topic for topic in topics_of(REPLICATED) if topic.name == name) for name in (LEDGER, REJECTED)
)
RIGHT = {"cleanup.policy": "delete", "min.insync.replicas": "2", **LEDGER_TOPIC.config}


def partitions(number: int, *, copies: int = 3, in_step: int = 3, leader: int = 1) -> list[dict[str, Any]]:
    """As `describe_topics` says it."""
    one = {"replica_nodes": list(range(copies)), "isr_nodes": list(range(in_step)), "leader_id": leader}
    return [one] * number


@pytest.mark.parametrize(
    ("given", "config", "status", "saw", "todo"),
    [
        (partitions(2), {}, "ok", "2 partitions, 3 copies", ""),
        (partitions(4), {}, "problem", "4 partitions, expected are 2", "set LAMPIT_PARTITIONS"),
        (partitions(2), {"cleanup.policy": "compact"}, "problem", "cleanup.policy=compact", "kafka-configs.sh"),
        (partitions(2), {"retention.ms": "1000"}, "problem", "retention.ms=1000, expected is -1", "retention.ms=-1"),
        (partitions(2, leader=-1), {}, "problem", "2 partitions have no leader", "start the brokers"),
        (partitions(2, in_step=1), {}, "problem", "1 copies are in step, 2 are needed", "start the brokers"),
        (partitions(2, copies=2, in_step=2), {}, "warning", "2 copies, LAMPIT_REPLICATION_FACTOR is 3", "reassign"),
        (partitions(2, in_step=2), {}, "warning", "2 of 3 copies are in step", "a broker is down or slow"),
        (partitions(2), {"min.insync.replicas": "1"}, "warning", "min.insync.replicas=1", "set it to 2"),
    ],
)
def test_a_topic(given: list[Any], config: Mapping[str, str], status: str, saw: str, todo: str) -> None:
    assert_says(cluster._topic(LEDGER_TOPIC, given, {**RIGHT, **config}, REPLICATED), LEDGER, status, saw, todo)


def test_a_shorter_retention_of_what_was_refused_is_a_choice() -> None:
    topic = Topic(REJECTED, 1, "delete", {"retention.ms": "-1"})
    found = cluster._topic(topic, partitions(1), {"cleanup.policy": "delete", "retention.ms": "5"}, REPLICATED)
    assert_says(found, REJECTED, "warning", "retention.ms=5, expected is -1", "retention.ms=-1")


@pytest.mark.parametrize(("nodes", "status", "todo"), [(3, "ok", ""), (2, "problem", "start more brokers")])
def test_brokers(nodes: int, status: str, todo: str) -> None:
    assert_says(cluster._broker(REPLICATED, nodes), "broker", status, f"{nodes} at", todo)


class Admin:
    """Answers of a group coordinator."""

    def __init__(self, members: int, committed: int | None) -> None:
        self._members = members
        self._committed = committed

    def list_group_offsets(self, groups: list[str]) -> dict[str, Any]:
        if self._committed is None:
            raise GroupIdNotFoundError
        return {groups[0]: {TopicPartition(LEDGER, 0): SimpleNamespace(offset=self._committed)}}

    def describe_groups(self, groups: list[str]) -> dict[str, Any]:
        return {groups[0]: {"members": [{}] * self._members}}


@pytest.mark.parametrize(
    ("members", "committed", "status", "saw", "todo"),
    [
        (2, 95, "ok", "2 members, 5 records behind", ""),
        (2, 80, "warning", "2 members, 20 records behind, 20 of them in lampit.ledger 0", "start another worker"),
        (0, 95, "warning", "0 members, 5 records behind", "start `lampit run ledger`"),
        (0, 80, "problem", "0 members, 20 records behind", "start `lampit run ledger`"),
        (0, None, "warning", "0 members, 100 records behind", "start `lampit run ledger`"),
    ],
)
def test_a_group(members: int, committed: int | None, status: str, saw: str, todo: str) -> None:
    """Nobody in a group that has worked before, and much waiting: figures stand still."""
    found = cluster._group(Admin(members, committed), "lampit.ledger", {TopicPartition(LEDGER, 0): 100}, lag_max=10)
    assert_says(found, "group lampit.ledger", status, saw, todo)


def test_nothing_to_read_is_nothing_behind() -> None:
    assert cluster._group(Admin(1, 0), "lampit.ledger", {}, lag_max=10).status == "ok"


def assert_says(found: Finding, check: str, status: str, saw: str, todo: str) -> None:
    """The check and its status, and in what it saw and what is to be done these words; nothing to do where all is well."""
    assert (found.check, found.status) == (check, status)
    assert saw in found.saw
    assert todo in found.todo
    assert bool(found.todo) == (status != "ok")
