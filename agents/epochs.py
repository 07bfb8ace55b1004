"""Other settings than those of the ledger's epoch: what is said of them, and whether an epoch of ours is still to come.

In: the ledger behind some offsets. Called by the ledger worker, before it gives up a store of other settings, by the roll-up,
which reads figures only, and by `lampit epoch`, which numbers the next one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from aiokafka.structs import ConsumerRecord

from agents.barrier import LedgerIdentity
from agents.errors import ConfigurationError
from agents.reading import newest
from agents.settings import Settings
from agents.topics import LEDGER
from stream.ledger import ControlRecord, Epoch, decode_record

EPOCH_KEY: Final = b"control|epoch"


def not_the_epochs() -> ConfigurationError:
    """Said by whoever meets an epoch of other settings than its own."""
    return ConfigurationError(
        "The settings that change figures (LAMPIT_TRANSIT_EXPIRY_DAYS, LAMPIT_LEAP_BIRTHDAY, LAMPIT_CLOSING_DAY, "
        "LAMPIT_FIRST_PERIOD) or the region reference are not those of the ledger's epoch: set them as they were, "
        "or begin a new epoch with `lampit epoch`."
    )


def epoch_of(record: ConsumerRecord) -> Epoch | None:
    """The epoch that a record of the ledger begins; None for any other."""
    if record.key != EPOCH_KEY:
        return None
    decoded = decode_record(record.value or b"")
    return decoded.control if isinstance(decoded, ControlRecord) and isinstance(decoded.control, Epoch) else None


async def is_to_come(settings: Settings, identity: LedgerIdentity, offsets: Mapping[int, int]) -> bool:
    """Whether the newest epoch that is in the ledger from these offsets on, by partition, is one of these settings."""
    found = await asyncio.gather(*(_behind(settings, partition, offset) for partition, offset in offsets.items()))
    last = max((epoch for epochs in found for epoch in epochs), key=lambda epoch: epoch.epoch, default=None)
    return last is not None and last == identity.epoch(last.epoch)


async def _behind(settings: Settings, partition: int, offset: int) -> list[Epoch]:
    """The epochs from an offset on, also behind a transaction that is still open: they are written outside of any."""
    records = newest(settings, LEDGER, partition, since=offset, uncommitted=True)
    return [epoch async for record in records if (epoch := epoch_of(record)) is not None]
