"""Closings beside the roll-up: what `stream.closer` finds new at a day that turned, on `lampit.closings`.

In: the closing parts among the records of `lampit.partials`; what is on `lampit.closings` already, read once after a takeover.
Out: closings and their revisions, then the record that says the day is closed, then tombstones. Called by `agents.rollup`.

A kill in between loses nothing: the next roll-up finds the day not closed, makes the same closings again, and publishes
those that are not there yet.
"""

from __future__ import annotations

import sys
import time
import zlib
from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from datetime import date
from typing import Any, Final

import msgspec

from agents import metrics
from agents.barrier import LedgerIdentity
from agents.errors import LampitError
from agents.producer import Record
from agents.reading import newest
from agents.settings import Settings
from agents.topics import CLOSINGS, PARTIALS
from agents.turns import Result, in_turns, made_in_turns
from stream import closing_parts
from stream.closer import Closer
from stream.partials import HeadRecord
from stream.periods import Periods
from stream.reference import Reference

RECORDS_MAX: Final = 1_000
"""In one transaction; a month of the whole country is eighty of them."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode

Publish = Callable[[Iterable[Record]], Awaitable[None]]


class TakenOver(LampitError):
    """Another roll-up is the active one now; it closes what is left."""


class Published:
    """The latest revision of every closing, as it is on the topic; packed, because most are never looked at again."""

    def __init__(self) -> None:
        """Nothing published."""
        self._latest: dict[str, dict[str, bytes]] = {}
        self._packing: _Packing | None = None
        self.regions: set[str] = set()
        self.through: int | None = None

    def latest(self, region: str, period: str) -> Mapping[str, Any] | None:
        """The record, or None."""
        packed = self._latest.get(period, {}).get(region)
        return None if packed is None or self._packing is None else _decode(self._packing.unpack(packed))

    def add(self, value: bytes) -> None:
        """Take a record, in the order of the topic."""
        record = _decode(value)
        if self._packing is None:
            self._packing = _Packing(value)
        region = sys.intern(record["region"])
        self._latest.setdefault(record["period"], {})[region] = self._packing.pack(value)
        self.regions.add(region)
        known_day = date.fromisoformat(record["known_day"]).toordinal()
        self.through = max(known_day, self.through or known_day)


class _Packing:
    """Compresses what is like one record: a closing is mostly names and zeros, which are those of any other."""

    def __init__(self, like: bytes) -> None:
        """like: one of them."""
        self._like = like

    def pack(self, value: bytes) -> bytes:
        """What is not as in the other."""
        packing = zlib.compressobj(zdict=self._like)
        return packing.compress(value) + packing.flush()

    def unpack(self, packed: bytes) -> bytes:
        """The record."""
        return zlib.decompressobj(zdict=self._like).decompress(packed)


class Closings:
    """The closings of one takeover; a later one begins with a new object."""

    def __init__(self, settings: Settings, identity: LedgerIdentity, periods: Periods, reference: Reference) -> None:
        """Nothing read."""
        self._settings = settings
        self._closer = Closer(identity.rules, periods, reference, identity.partitions, identity.settings_name)
        self._published: Published | None = None

    def add(self, part: closing_parts.ClosingPart) -> None:
        """Take one record of `lampit.partials`."""
        self._closer.add(part)

    def head(self, head: HeadRecord) -> None:
        """Take the head of a partition, in the order of the topic with the parts."""
        self._closer.head(head.partition, head.settings)

    async def close(self, publish: Publish, is_wanted: Callable[[], bool]) -> None:
        """Close every day that all partitions have reached; everything that was there at the takeover has been added.

        publish: one transaction; may raise TakenOver. is_wanted: whether these closings are still for this process to make;
        TakenOver where they are not.
        """
        if self._published is None:
            published = Published()
            async for record in newest(self._settings, CLOSINGS, 0):
                if record.value is not None:
                    published.add(record.value)
            begun = await _done(self._closer.take_over(published.through), is_wanted)
            await publish(Record(PARTIALS, 0, one.key, closing_parts.encode(one)) for one in begun)
            self._published = published
        while (day := self._closer.next_day()) is not None:
            await self._close_day(day, self._published, publish, is_wanted)

    async def _close_day(self, day: int, published: Published, publish: Publish, is_wanted: Callable[[], bool]) -> None:
        began = time.perf_counter()
        work = await _done(self._closer.begin(day), is_wanted)
        async with aclosing(made_in_turns(self._closer.closings(work, published), RECORDS_MAX, is_wanted)) as made:
            async for some in made:
                values = [_encode(record) for record in some]
                await publish(
                    Record(CLOSINGS, 0, _key(record), value) for record, value in zip(some, values, strict=True)
                )
                for value in values:
                    published.add(value)
                metrics.closings(record["revision"] for record in some)
        if not is_wanted():
            raise TakenOver
        closed, superseded = self._closer.finish(work)
        await publish([Record(PARTIALS, 0, closed.key, closing_parts.encode(closed))])
        for keys in _batches(superseded):
            await publish(Record(PARTIALS, 0, key, None) for key in keys)
        metrics.batch("close", time.perf_counter() - began)


async def _done(steps: Generator[None, None, Result], is_wanted: Callable[[], bool]) -> Result:
    found = await in_turns(steps, is_wanted)
    if found is None:
        raise TakenOver
    return found


def _batches(items: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    return (items[begin : begin + RECORDS_MAX] for begin in range(0, len(items), RECORDS_MAX))


def _key(record: Mapping[str, Any]) -> bytes:
    return f"{record['region']}|{record['period']}|{record['known_day']}".encode()
