"""What a process owes those it tells that it is ready: whatever was in its log as it was started is given out, or admitted.

Intake also owes whatever has been there for LATE_SECONDS by then. In: the processes of a world, after each of their callbacks.
Out: a defect of the world for each that says so too early. Looked at whenever one says it that did not say so before. Called
by `tests.simulation.world`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from faust.types import TP

from agents.health import LATE_SECONDS
from agents.intake import IntakeAgent
from agents.ledger import LedgerAgent
from agents.rollup import RollupAgent
from agents.topics import INTAKE_TOPICS, LEDGER, PARTIALS
from stream.partials import HeadRecord, decode
from stream.regions import COUNTRY
from tests.simulation.broker import timestamp
from tests.simulation.loop import Owner

if TYPE_CHECKING:
    from tests.simulation.world import World


class Watch:
    """Of all processes of a world."""

    def __init__(self, world: World) -> None:
        """Nothing started."""
        self._world = world
        self._owed: dict[Owner, Mapping[Any, int]] = {}
        self._ready: set[Owner] = set()
        self.seen = 0

    def begin(self, owner: Owner) -> None:
        """A process is started: what is there now it has to have given out before it is ready."""
        if owner.name.startswith("ledger"):
            logs = {number: self._world.broker.log(LEDGER, number) for number in range(self._world.partitions)}
            self._owed[owner] = {
                number: max((record.offset + 1 for record in log.committed(0)), default=0)
                for number, log in logs.items()
            }
        elif owner.name.startswith("intake"):
            logs = {TP(*tp): log for tp, log in self._world.broker.logs.items() if tp.topic in INTAKE_TOPICS}
            self._owed[owner] = {tp: log.end_offset for tp, log in logs.items()}
        elif owner.name.startswith("rollup"):
            self._owed[owner] = _offsets(self._world.broker.log(PARTIALS).committed(0))

    def look(self, owner: Owner) -> None:
        """After each callback of a process."""
        app = self._world.apps.get(owner)
        if app is None or owner not in self._owed:
            return
        if not app.health.ready:
            self._ready.discard(owner)
        elif owner not in self._ready:
            self._ready.add(owner)
            self.seen += 1
            given_out, owed = self._given_out(app), self._owed[owner]
            behind = {one: at for one, at in given_out.items() if at < owed.get(one, 0)}
            if behind:
                self._world.defects.append(f"{owner.name} says it is ready at {behind}; as it began there was {owed}")
            if isinstance(app.agent, IntakeAgent):
                owed = {tp: self._old(tp) for tp in given_out}
                late = {tp: at for tp, at in given_out.items() if at < owed[tp]}
                if late:
                    self._world.defects.append(f"{owner.name} says it is ready at {late}; since long there was {owed}")

    def _old(self, tp: TP) -> int:
        """The end of a log LATE_SECONDS ago."""
        before = timestamp(self._world.loop.now - LATE_SECONDS)
        entries = reversed(self._world.broker.log(tp.topic, tp.partition).history)
        return next((one.offset + 1 for one in entries if one.record and one.record.timestamp < before), 0)

    def _given_out(self, app: Any) -> Mapping[Any, int]:
        """Per partition that is its own, how far what it gives out is."""
        agent = app.agent
        if isinstance(agent, IntakeAgent):
            return dict(app.consumer.done)
        if isinstance(agent, LedgerAgent):
            # Also behind a transaction of another worker that is still open: its own are committed, or markers are under way.
            broker = self._world.broker
            decided = {one.producer for one in broker.transactions.values() if one.state == "committed"}
            heads = _offsets(
                entry.record
                for entry in broker.log(PARTIALS).history
                if entry.record
                and (entry.state == "committed" or (entry.state == "open" and entry.producer in decided))
            )
            # Before the first day there is nothing to give out.
            return {number: heads.get(number, 0) for number, desk in agent.desks.items() if desk.meta.day is not None}
        assert isinstance(agent, RollupAgent)
        country = agent.view.records.get(COUNTRY, {"position": {}})
        return {number: country["position"].get(str(number), 0) for number in range(self._world.partitions)}


def _offsets(records: Iterable[Any]) -> Mapping[int, int]:
    """Of the newest head of each partition."""
    heads = [decode(one.key, one.value) for one in records if one.key.startswith(b"head|") and one.value is not None]
    return {head.partition: head.offset for head in heads if isinstance(head, HeadRecord)}
