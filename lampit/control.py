"""`lampit day` and `lampit epoch`: append control records to every partition of the ledger.

In: a day, or the settings in force. Out: records on `lampit.ledger` that the ledger workers act upon. For operators.
"""

from __future__ import annotations

import asyncio
from datetime import date

import click

from agents.barrier import DAY_AHEAD_MAX, LedgerIdentity, control, day_record, ensure_ledger, today
from agents.producer import Producer, Record
from agents.reading import reader
from agents.settings import Settings, load_settings
from agents.topics import PARTIALS
from lampit.reference import load
from lampit.words import Day
from stream.partials import HEAD
from stream.pseudonym import Pseudonymiser


async def append_day(settings: Settings, day: date) -> None:
    """Turn the business day of every partition forward; a day already reached changes nothing."""
    await _append(settings, [day_record(partition, day) for partition in range(settings.partitions)])


async def _append(settings: Settings, records: list[Record]) -> None:
    async with Producer(settings, name="lampit-control") as producer:
        await producer.send_all(records)


async def _identity(settings: Settings) -> LedgerIdentity:
    fingerprint = Pseudonymiser(*settings.pseudonym_keys()).fingerprint
    return await ensure_ledger(settings, fingerprint, load())


async def begin_epoch(settings: Settings) -> int:
    """Begin the next epoch with the settings in force; its number."""
    identity = await _identity(settings)
    epoch = 1 + await _last_epoch(settings)
    await _append(settings, [control(partition, identity.epoch(epoch)) for partition in range(settings.partitions)])
    return epoch


async def _last_epoch(settings: Settings) -> int:
    """The epoch of the newest heads; 1 before any."""
    import msgspec
    from aiokafka.structs import TopicPartition

    newest = 1
    tp = TopicPartition(PARTIALS, 0)
    async with reader(settings) as consumer:
        consumer.assign([tp])
        await consumer.seek_to_beginning(tp)
        end = (await consumer.end_offsets([tp]))[tp]
        while await consumer.position(tp) < end:
            for records in (await consumer.getmany(tp, timeout_ms=200)).values():
                for record in records:
                    if record.key.startswith(f"{HEAD}|".encode()):
                        newest = max(newest, msgspec.json.decode(record.value)["epoch"])
    return newest


@click.command()
@click.argument("day", type=Day(), metavar="DAY")
def day(day: date) -> None:
    """Turn the business day of the ledger to DAY (with LAMPIT_DAY_SOURCE=manual; with "clock" it turns by itself).

    \b
    Example: lampit day 2019-03-28
    """
    settings = load_settings()
    if (day - today()).days > DAY_AHEAD_MAX:  # it would be appended, and refused by every worker in its log
        raise click.BadParameter(
            f"{day.isoformat()} is more than a day ahead of this machine's clock, and such a day is refused: give one up to "
            "tomorrow.",
            param_hint="DAY",
        )

    async def run() -> None:
        await _identity(settings)
        await append_day(settings, day)

    asyncio.run(run())
    click.echo(f"business day {day.isoformat()} appended to {settings.partitions} partitions")


@click.command()
def epoch() -> None:
    """Begin a new epoch with the settings in force (LAMPIT_TRANSIT_EXPIRY_DAYS, LAMPIT_LEAP_BIRTHDAY, LAMPIT_CLOSING_DAY,
    LAMPIT_FIRST_PERIOD, the region reference).

    Stop the ledger workers first; started again with the same settings, they rebuild their stores from the log.

    \b
    Example: LAMPIT_LEAP_BIRTHDAY=feb28 lampit epoch
    """
    number = asyncio.run(begin_epoch(load_settings()))
    click.echo(f"epoch {number} begun")
