"""Where a report's closings come from: event files, or `lampit.closings`.

In: files, or the settings of a Kafka; a region and a period. Out: a `Report`. A region without figures, or a month that is not
closed, is a `ReportError` that says so. Called by `lampit.report`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any, Final

import msgspec

from agents.errors import ConfigurationError, LampitError
from agents.settings import Settings
from lampit import reference
from lampit.collecting import no_collection
from lampit.count import Rejected, pseudonymiser, read_events
from lampit.files import EventFile
from lampit.report.layout import Report
from stream.closing import IdentityError, check
from stream.delay import delays
from stream.engine import Engine
from stream.periods import Periods
from stream.regions import parent
from stream.rules import Rules

IDLE_MILLISECONDS: Final = 500


class ReportError(LampitError):
    """There is nothing to report."""


def from_files(
    files: list[EventFile], settings: Settings, rules: Rules, region: str, period: str, by: str, *, children: bool
) -> tuple[Report, list[Rejected]]:
    """Close the month over event files, by the engine of the agents; with the lines that were no events."""
    engine = Engine(rules, reference.load())
    periods = Periods.since(period, rules.closing_day)
    with no_collection():
        rejected = read_events(files, pseudonymiser(settings)[0], engine.add)
        records = {record["region"]: record for record in engine.closings(periods, [period])[period]}
        month = periods.period(0)
        places, by_report = reference.load().places, by == "report"
        found = delays(engine.flows(), region, month.opened_on + 1, month.closed_on, places, by_report=by_report)
    if region not in records:
        raise ReportError(f"No event and no balance in these files names {region} or a place in it: check the code.")
    return Report(
        by, records[region], _children(records.values(), region, children), found, "from event files"
    ), rejected


def _children(records: Iterable[Mapping[str, Any]], region: str, wanted: bool) -> list[Mapping[str, Any]]:
    found = [record for record in records if wanted and parent(record["region"]) == region]
    return sorted(found, key=lambda record: str(record["region"]))


async def from_topic(
    settings: Settings, region: str, period: str, by: str, known_day: date | None, *, children: bool
) -> Report:
    """The latest revision on `lampit.closings`, or the latest known by the end of a day."""
    latest: dict[str, Mapping[str, Any]] = {}
    months: dict[str, set[str]] = {}
    async for key, value in _records(settings):
        code, _, rest = key.partition("|")
        named, _, known = rest.partition("|")
        months.setdefault(code, set()).add(named)
        if named != period or (known_day is not None and known > known_day.isoformat()):
            continue
        if code == region or (children and parent(code) == region):
            record = msgspec.json.decode(value)
            if code not in latest or latest[code]["revision"] <= record["revision"]:
                latest[code] = record
    if region not in latest:
        raise ReportError(_missing(region, period, known_day, months))
    try:
        for record in latest.values():
            check(record)
    except IdentityError as error:
        raise ReportError(f"{error} This record of lampit.closings was not written by Lampit as it is.") from None
    return Report(by, latest[region], _children(latest.values(), region, children))


def _missing(region: str, period: str, known_day: date | None, months: Mapping[str, set[str]]) -> str:
    """Why the topic has no such closing, by the months that it has of each region."""
    if not months:
        return (
            "lampit.closings holds no month yet: they are closed from LAMPIT_FIRST_PERIOD on, the day after their last; "
            "to close one from event files, name them."
        )
    if region not in months:
        return f"lampit.closings holds no month of {region}: check the code; it has {len(months):,} other regions."
    first, last = min(months[region]), max(months[region])
    if period in months[region]:
        return (
            f"{period} of {region} was not yet on lampit.closings by the end of {known_day}: give a later --known-day."
        )
    held = first if first == last else f"{first} to {last}"
    return (
        f"{period} of {region} is not on lampit.closings, which holds {held} of it: months are closed from LAMPIT_FIRST_PERIOD "
        "on, the day after their last; to close another one from event files, name them."
    )


async def _records(settings: Settings) -> Any:
    """(key, value) of every committed record of the topic, oldest first."""
    # What goes wrong is said below, in one sentence.
    logging.getLogger("aiokafka").addHandler(logging.NullHandler())
    from aiokafka.errors import KafkaConnectionError, KafkaError
    from aiokafka.structs import TopicPartition

    from agents.reading import reader
    from agents.topics import CLOSINGS
    from lampit.audit import log

    partition = TopicPartition(CLOSINGS, 0)
    try:
        async with reader(settings) as consumer:
            if CLOSINGS not in await consumer.topics():
                raise ReportError("There is no topic lampit.closings: start the agents once, which make it.")
            consumer.assign([partition])
            # Told by its number: whoever asks where "the beginning" is waits for a broker without end.
            consumer.seek(partition, (await consumer.beginning_offsets([partition]))[partition])
            end = (await consumer.end_offsets([partition]))[partition]
            heard = time.monotonic()
            # The embedded broker names the beginning of the last batch as the end: go on while records come.
            while time.monotonic() - heard < log.SILENCE_SECONDS_MAX:
                found = (await consumer.getmany(partition, timeout_ms=IDLE_MILLISECONDS)).get(partition, ())
                for record in found:
                    if record.value is not None:
                        yield record.key.decode(), record.value
                if found:
                    heard = time.monotonic()
                elif await consumer.position(partition) >= end:
                    return
        raise ConfigurationError(
            f"lampit.closings could not be read to its end from {settings.bootstrap_servers}: check that all its brokers run."
        )
    except KafkaConnectionError:
        raise ConfigurationError(
            f"No Kafka broker answers at {settings.bootstrap_servers}: check LAMPIT_BOOTSTRAP_SERVERS, or name event files."
        ) from None
    except KafkaError as error:
        raise ConfigurationError(
            f"lampit.closings cannot be read from {settings.bootstrap_servers} ({type(error).__name__}): check the settings of "
            "its user."
        ) from None
