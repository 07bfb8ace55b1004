"""`lampit day` and `lampit epoch`: append control records to every partition of the ledger.

In: a day, or the settings in force. Out: records on `lampit.ledger` that the ledger workers act upon. For operators.
"""

from __future__ import annotations

import asyncio
from datetime import date

import click
import msgspec
from aiokafka.errors import TopicAuthorizationFailedError

from agents.barrier import DAY_AHEAD_MAX, LedgerIdentity, control, day_record, ensure_ledger, newest_heads, today
from agents.epochs import epoch_of
from agents.producer import Producer, Record
from agents.settings import Settings, load_settings
from agents.topics import LEDGER
from lampit import tables
from lampit.audit import log
from lampit.reference import load
from lampit.words import Day
from stream.pseudonym import Pseudonymiser


async def append_day(settings: Settings, day: date) -> None:
    """Turn the business day of every partition forward; a day already reached changes nothing."""
    await _append(settings, [day_record(partition, day) for partition in range(settings.partitions)])


async def day_reached(settings: Settings) -> date | None:
    """The business day that every partition has reached, as far as the ledger workers have told; None before the first.

    None too for a user who may not read it, whom only the ledger's own topic concerns.
    """
    try:
        heads = await newest_heads(settings)
    except TopicAuthorizationFailedError:
        return None
    if heads.keys() < set(range(settings.partitions)):
        return None
    return min(head.day for head in heads.values())


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
    """The highest number that any epoch has: of the newest heads, or of what no worker has come to yet.

    The ledger is read behind the heads: one begun a moment ago by the same command, all of those of a ledger just replayed.
    """
    heads = await newest_heads(settings)
    highest = max((head.epoch for head in heads.values()), default=1)
    begins = {number: heads[number].offset if number in heads else 0 for number in range(settings.partitions)}
    done = 0
    with tables.progress("Reading the ledger", None, "records") as progress:
        async for _, records in log.stretch(settings, LEDGER, begins):
            for record in records:
                begun = epoch_of(record)
                if begun is not None:
                    highest = max(highest, begun.epoch)
            done += len(records)
            progress(done, done)
    return highest


@click.command()
@click.argument("day", type=Day(), metavar="DAY")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="The business day, partitions, and whether it was appended, as one JSON object.",
)
def day(day: date, as_json: bool) -> None:
    """Turn the business day of the ledger to DAY (with LAMPIT_DAY_SOURCE=manual; with "clock" it turns by itself).

    It turns forward only: where all partitions have reached DAY or a later one, nothing is appended, and the day they have
    reached is said.

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

    async def run() -> date | None:
        """The day that all have reached, if it is not before DAY."""
        await _identity(settings)
        reached = await day_reached(settings)
        if reached is not None and reached >= day:
            return reached
        await append_day(settings, day)
        return None

    reached = asyncio.run(run())
    if as_json:
        said = {"day": reached or day, "partitions": settings.partitions, "appended": reached is None}
        click.echo(msgspec.json.encode(said))
    elif reached is None:
        click.echo(f"business day {day.isoformat()} appended to {settings.partitions} partitions")
    else:
        click.echo(f"business day already at {reached.isoformat()}: nothing appended")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="The number of the epoch as a JSON object.")
def epoch(as_json: bool) -> None:
    """Begin a new epoch with the settings in force (LAMPIT_TRANSIT_EXPIRY_DAYS, LAMPIT_LEAP_BIRTHDAY, LAMPIT_CLOSING_DAY,
    LAMPIT_FIRST_PERIOD, the region reference).

    Stop the ledger workers first; started again with the same settings, they rebuild their stores from the log.

    \b
    Example: LAMPIT_LEAP_BIRTHDAY=feb28 lampit epoch
    """
    number = asyncio.run(begin_epoch(load_settings()))
    click.echo(msgspec.json.encode({"epoch": number}) if as_json else f"epoch {number} begun")
