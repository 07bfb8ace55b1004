"""What was given out of a partition before it was taken over, which the store that goes on may know nothing of.

In: `lampit.anomalies` and `lampit.partials`, each from its beginning. Out: the people with a list, the regions with a part.
Called by the ledger worker when it takes partitions over, to give out again what another store or ledger had given out.
Uncommitted: the workers of other partitions write there too, and behind an open transaction of one of them lies what the last
owner gave out. Which record of a key counts is not known then: what any names is given out, at worst as it stands there.
"""

from __future__ import annotations

import asyncio

import msgspec

from agents.reading import newest
from agents.settings import Settings
from agents.topics import ANOMALIES, PARTIALS
from stream.partials import HeadRecord, decode


async def lists(settings: Settings, partition: int) -> dict[str, bool]:
    """The people whose anomalies were given out, and whether there may be any now: others' stores may have been further."""
    found: dict[str, bool] = {}
    async for record in newest(settings, ANOMALIES, partition, uncommitted=True):
        if record.key is not None and record.value is not None:
            is_any = bool(msgspec.json.decode(record.value)["anomalies"])
            subject = record.key.decode()
            found[subject] = found.get(subject, False) or is_any
    return found


class Regions:
    """The regions of all partitions, read once for those that are taken over together.

    What older owners give out after that need not be known: of this ledger the store has it due by itself.
    """

    def __init__(self, settings: Settings) -> None:
        """Nothing is read yet."""
        self._settings = settings
        self._reading = asyncio.Lock()
        self._found: dict[int, set[str]] | None = None

    async def of(self, partition: int) -> set[str]:
        """Those with a part of it in its newest epoch; the roll-up has forgotten those of older ones."""
        async with self._reading:
            if self._found is None:
                self._found = await self._read()
        return self._found.get(partition, set())

    async def _read(self) -> dict[int, set[str]]:
        found: dict[int, dict[str, int]] = {}
        epochs: dict[int, int] = {}
        async for record in newest(self._settings, PARTIALS, 0, uncommitted=True):
            if record.key is None or record.value is None or record.key.count(b"|") != 1:
                continue  # keys of closings have more parts
            figures = decode(record.key, record.value)
            epochs[figures.partition] = max(figures.epoch, epochs.get(figures.partition, 0))
            if not isinstance(figures, HeadRecord):
                found.setdefault(figures.partition, {})[figures.region] = figures.epoch
        return {
            number: {region for region, epoch in parts.items() if epoch == epochs[number]}
            for number, parts in found.items()
        }
