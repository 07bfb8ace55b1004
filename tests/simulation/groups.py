"""One consumer group as its coordinator sees it.

In: joins, heartbeats, time. Out: generations, and who has which partition in each. Called by `tests.simulation.broker`.

| guarantee (Kafka's words) | here |
| --- | --- |
| in one generation a partition belongs to one member | `assign` |
| a rebalance waits for every member, but not longer than the rebalance timeout | `advance` |
| a member not heard of for the session timeout is out; it learns so when it asks again | `advance`, `heartbeat` |
| a commit of another generation is refused | `require` |

Nothing here stops a member that is out from going on with what it had: that is what a zombie is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Final

from aiokafka.errors import CommitFailedError
from aiokafka.structs import TopicPartition

SESSION_SECONDS: Final = 3.0
REBALANCE_SECONDS: Final = 10.0
"""Shorter than those of the agents' settings, so that several takeovers fit into a run."""


@dataclass
class Group:
    """members: when each was last heard of; joined: those that wait for the next generation."""

    members: dict[str, float] = field(default_factory=dict)
    joined: set[str] = field(default_factory=set)
    generation: int = 0
    assignment: dict[str, list[TopicPartition]] = field(default_factory=dict)
    rebalancing_since: float | None = None

    def join(self, member: str, now: float) -> None:
        """JoinGroup: wait for the next generation."""
        self.members[member] = now
        self.joined.add(member)
        self.rebalance(now)

    def leave(self, member: str, now: float) -> None:
        """LeaveGroup."""
        if self.members.pop(member, None) is not None:
            self.joined.discard(member)
            self.rebalance(now)

    def rebalance(self, now: float) -> None:
        """Let a new generation begin."""
        if self.rebalancing_since is None:
            self.rebalancing_since = now

    def heartbeat(self, member: str, generation: int, now: float) -> bool:
        """Whether the member may go on; if not it has to let go of everything and join."""
        if member not in self.members:
            return False
        self.members[member] = now
        return self.rebalancing_since is None and generation == self.generation

    def assigned(self, member: str, now: float) -> tuple[int, list[TopicPartition]] | None:
        """SyncGroup: (generation, partitions) once the member's round is complete. Another round may have begun meanwhile."""
        if member not in self.members or self.rebalancing_since is not None:
            self.join(member, now)
        self.members[member] = now
        if member in self.joined:
            return None
        return self.generation, self.assignment.get(member, [])

    def require(self, member: str, generation: int) -> None:
        """Raise unless the member is one of the present generation."""
        if member not in self.members or generation != self.generation or self.rebalancing_since is not None:
            raise CommitFailedError

    def advance(self, now: float, partitions: list[TopicPartition], chance: Random) -> None:
        """Time goes on: leave out who is silent, and begin the next generation once everyone is there."""
        for member in [one for one, heard in self.members.items() if now - heard > SESSION_SECONDS]:
            self.leave(member, now)
        if self.rebalancing_since is None or not self.joined:
            return
        if len(self.joined) == len(self.members) or now - self.rebalancing_since > REBALANCE_SECONDS:
            for member in self.members.keys() - self.joined:
                del self.members[member]
            self._assign(partitions, chance)
            self.generation += 1
            self.joined.clear()
            self.rebalancing_since = None

    def _assign(self, partitions: list[TopicPartition], chance: Random) -> None:
        """Mostly to whoever had it, so that stores stay where they are; sometimes to anybody."""
        members = sorted(self.members)
        before = {tp: member for member, kept in self.assignment.items() for tp in kept if member in self.members}
        sticky = chance.random() < 0.7
        shuffled = chance.sample(partitions, len(partitions))
        share = -(-len(partitions) // len(members))
        self.assignment = {member: [] for member in members}
        for tp in shuffled:
            wanted = before.get(tp) if sticky else None
            if wanted is None or len(self.assignment[wanted]) >= share:
                wanted = min(members, key=lambda one: (len(self.assignment[one]), chance.random()))
            self.assignment[wanted].append(tp)
        for kept in self.assignment.values():
            kept.sort()
