"""The control records of the ledger: genesis, epochs, business days.

In: settings and what is already in the log. Out: `ensure_ledger` makes topics and the first records where the ledger is new
and refuses a ledger that does not fit; `day_record`, `epoch_records` are appended later; `newest_heads` says how far the ledger
workers are. Called by every process at its start, by the ledger worker at midnight, and by commands.
"""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone
from functools import cached_property
from typing import Final

import msgspec
from aiokafka.structs import ConsumerRecord

from agents.errors import ConfigurationError, Fenced, LostWrite
from agents.producer import FencedProducer, Record
from agents.reading import newest
from agents.settings import Settings
from agents.topics import (
    ANOMALIES,
    LEDGER,
    METADATA_SECONDS_MAX,
    PARTIALS,
    ensure_topics,
    first_record,
    is_partition_empty,
    topic_ids,
    topics_of,
)
from stream.closing_parts import SETTINGS_DIGITS
from stream.ledger import (
    Control,
    ControlRecord,
    Day,
    Epoch,
    EpochSettings,
    Genesis,
    control_key,
    decode_record,
    encode_control,
)
from stream.partials import HEAD, HeadRecord, decode
from stream.reference import Reference
from stream.rules import RULES_VERSION, Rules

GENESIS_SECONDS_MAX: Final = 30.0
WIB: Final = timezone(timedelta(hours=7))

DAY_AHEAD_MAX: Final = 1
"""A day record may be at most this many days past the day on which the broker took it: a wrong clock moves nothing."""


@dataclass(frozen=True)
class LedgerIdentity:
    """What a process has to agree on with the log before it touches anything.

    topic_ids: by name, of all topics, as they were at its start; none where the brokers give no ids.
    """

    ledger_id: str
    partitions: int
    rules: Rules
    reference_digest: str
    topic_ids: Mapping[str, str] = field(default_factory=dict)

    def epoch(self, number: int) -> Epoch:
        """The epoch that these settings begin."""
        return Epoch(number, RULES_VERSION, EpochSettings.of(self.rules), self.reference_digest)

    @cached_property
    def settings_digest(self) -> str:
        """Of everything but the events that figures depend on; a store made under another one is of no use."""
        return hashlib.sha256(msgspec.json.encode(self.epoch(0), order="sorted")).hexdigest()[:32]

    @cached_property
    def topics_digest(self) -> str:
        """Of the topics that a store is made from and speaks for in what it has given out; empty where one has no id."""
        ids = [self.topic_ids.get(name) for name in (LEDGER, PARTIALS, ANOMALIES)]
        return hashlib.sha256(msgspec.json.encode(ids)).hexdigest()[:32] if all(ids) else ""

    @property
    def settings_name(self) -> str:
        """The beginning of that digest, as the records of `lampit.partials` have it."""
        return self.settings_digest[:SETTINGS_DIGITS]


def rules_of(settings: Settings) -> Rules:
    """The settings that change figures."""
    return Rules(
        settings.transit_expiry_days,
        settings.leap_birthday,
        closing_day=settings.closing_day,
        first_period=settings.first_period,
    )


async def ensure_ledger(settings: Settings, fingerprint: str, reference: Reference) -> LedgerIdentity:
    """Make the topics and the first records of a new ledger; of one that is there, check that it is ours."""
    await asyncio.to_thread(ensure_topics, settings)
    found = await first_record(settings, LEDGER, 0)
    if found is None:
        await _refuse_leftovers(settings)
        # Of several processes that find it empty one writes; the others, fenced, wait for what that one wrote.
        with suppress(Fenced):
            await _begin(settings, fingerprint, reference)
        found = await _wait_for_genesis(settings)
        if found is None:  # the one that writes it has ended, or is slow: that is no setting, and a restart mends it
            raise LostWrite(
                f"the genesis record of the ledger is not there after {GENESIS_SECONDS_MAX:.0f} s: starting again"
            )
    genesis = checked_genesis(found.value, settings, fingerprint)
    names = [topic.name for topic in topics_of(settings)]
    ids = await asyncio.to_thread(topic_ids, settings, names, seconds_max=METADATA_SECONDS_MAX)
    return LedgerIdentity(genesis.ledger_id, settings.partitions, rules_of(settings), reference.digest, ids)


def checked_genesis(value: bytes | None, settings: Settings, fingerprint: str) -> Genesis:
    """The ledger's first record, if the ledger is the one that the settings and the key are for; else ConfigurationError."""
    genesis = _genesis(value)
    if genesis is None:
        raise ConfigurationError(
            "Topic lampit.ledger does not begin with a genesis record: delete it, or use another cluster."
        )
    if genesis.partitions != settings.partitions:
        raise ConfigurationError(
            f"LAMPIT_PARTITIONS is {settings.partitions}, the ledger was made with {genesis.partitions}: set that."
        )
    if genesis.key_fingerprint != fingerprint:
        raise ConfigurationError(_wrong_key(genesis))
    return genesis


async def _refuse_leftovers(settings: Settings) -> None:
    """Figures without the events they were made of: the ledger was deleted, and beginning another would hide that."""
    if await is_partition_empty(settings, PARTIALS, 0):
        return
    # Another process may have begun a new ledger since, and figures of it be there already.
    if await first_record(settings, LEDGER, 0) is None:
        raise ConfigurationError(
            "Topic lampit.ledger is empty, but lampit.partials is not: restore the ledger from a backup, "
            "or delete all lampit topics and publish the events again."
        )


def _wrong_key(genesis: Genesis) -> str:
    if genesis.keys == 1:
        return (
            "The pseudonym key is not the one this ledger was begun with: set LAMPIT_PSEUDONYM_KEY_FILE to the file of that "
            "key alone, or LAMPIT_BOOTSTRAP_SERVERS to the ledger that it was rotated into."
        )
    return (
        f"The pseudonym keys are not those of this ledger, which was rotated to its key number {genesis.keys}: "
        f"name the files of all {genesis.keys} keys in LAMPIT_PSEUDONYM_KEY_FILE, oldest first, separated by commas."
    )


def _genesis(value: bytes | None) -> Genesis | None:
    try:
        decoded = decode_record(value or b"")
    except (msgspec.MsgspecError, ValueError):
        return None
    return decoded.control if isinstance(decoded, ControlRecord) and isinstance(decoded.control, Genesis) else None


async def _wait_for_genesis(settings: Settings) -> ConsumerRecord | None:
    deadline = asyncio.get_running_loop().time() + GENESIS_SECONDS_MAX
    while asyncio.get_running_loop().time() < deadline:
        found = await first_record(settings, LEDGER, 0)
        if found is not None:
            return found
        await asyncio.sleep(0.2)
    return None


async def _begin(settings: Settings, fingerprint: str, reference: Reference) -> None:
    """Write genesis and the first epoch to every partition in one transaction; of two that try, one is fenced or comes late."""
    producer = FencedProducer(settings, transactional_id="lampit-genesis")
    await producer.start()
    try:
        if await first_record(settings, LEDGER, 0) is not None:
            return
        ledger_id = str(uuid.uuid4())
        identity = LedgerIdentity(ledger_id, settings.partitions, rules_of(settings), reference.digest)
        records: list[Record] = []
        for partition in range(settings.partitions):
            records.append(control(partition, Genesis(ledger_id, settings.partitions, partition, fingerprint)))
            records.append(control(partition, identity.epoch(1)))
        await producer.publish(records)
    finally:
        await producer.stop()


def control(partition: int, record: Control) -> Record:
    """A control record of one partition, ready to send."""
    now = int(datetime.now(UTC).timestamp() * 1_000_000)
    return Record(LEDGER, partition, control_key(record), encode_control(record, now))


def day_record(partition: int, day: date) -> Record:
    """The record that turns the business day of a partition."""
    return control(partition, Day(day.toordinal()))


async def newest_heads(settings: Settings) -> dict[int, HeadRecord]:
    """The newest head on `lampit.partials` of every partition that has one."""
    found = {}
    async for record in newest(settings, PARTIALS, 0):
        if record.key is not None and record.value is not None and record.key.startswith(f"{HEAD}|".encode()):
            head = decode(record.key, record.value)
            assert isinstance(head, HeadRecord)
            found[head.partition] = head
    return found


def wib_day(unix_seconds: float) -> int:
    """The day in WIB, where the business day of the whole country turns, as an ordinal."""
    return datetime.fromtimestamp(unix_seconds, WIB).date().toordinal()


def is_ahead(day: int, timestamp_ms: int) -> bool:
    """Whether a day, an ordinal, is refused: too far past the one on which the broker took its record."""
    return day > wib_day(timestamp_ms / 1000) + DAY_AHEAD_MAX


def today() -> date:
    """Today in WIB."""
    return datetime.now(WIB).date()
