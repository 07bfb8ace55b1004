"""Sends the events of the demonstration, and knows what has to come of them.

In: events, days. Out: records on the intake topics and day records on the ledger; beside that, what intake has to make of
each event, by the same code, so that a check can wait for it and count it again. Called by `lampit.demo.play`.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from datetime import date
from typing import Any, Final

import msgspec

from agents.barrier import day_record
from agents.producer import Producer, Record
from lampit import reference
from lampit.demo.system import System
from schemas.events import TYPES
from stream.admission import Admitted, admit
from stream.engine import Counted, Engine
from stream.events import OpeningBalance
from stream.rules import Rules

_FIRST_RECORDS: Final = 2
"""Genesis and epoch stand in every partition before any event."""


class Feed:
    """What was sent so far. expected: the end that every ledger partition has to reach; rejected: how many rejects."""

    def __init__(self, system: System, producer: Producer) -> None:
        """Nothing sent; the producer is started by the caller."""
        self._system = system
        self._producer = producer
        self._partitions = system.settings.partitions
        self._engine = Engine(Rules(), reference.load())
        self.expected = dict.fromkeys(range(self._partitions), _FIRST_RECORDS)
        self.sent = self.rejected = 0

    async def send(self, events: Iterable[dict[str, Any]]) -> None:
        """Send events to the topics of their families; return when they are acknowledged."""
        records = []
        for event in events:
            value = msgspec.json.encode(event)
            family = TYPES.get(event["type"], "civil")
            key = str(event["data"].get("nik", event["id"])).encode()
            partition = zlib.crc32(key) % self._partitions
            records.append(Record(f"lampit.intake.{family}", partition, key, value))
            self._expect(value)
        self.sent += len(records)
        await self._producer.send_all(records)

    async def begin_day(self, day: date) -> None:
        """Turn the business day of every partition."""
        await self._producer.send_all([day_record(partition, day) for partition in range(self._partitions)])
        for partition in self.expected:
            self.expected[partition] += 1

    def count(self, day: date) -> Counted:
        """The figures of all accepted events, counted at once in this process."""
        return self._engine.count(day)

    def _expect(self, value: bytes) -> None:
        admitted = admit(value, self._system.pseudonymise)
        if not isinstance(admitted, Admitted):
            self.rejected += 1
            return
        self._engine.add(admitted.subject, admitted.event)
        if isinstance(admitted.event, OpeningBalance):
            targets: Iterable[int] = self.expected
        else:
            targets = (int((admitted.subject or "")[:8], 16) % self._partitions,)
        for partition in targets:
            self.expected[partition] += 1
