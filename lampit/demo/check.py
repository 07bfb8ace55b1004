"""Whether the figures that came out are those that the same events give when counted at once.

In: the topics, and what was sent. Out: the published coverage records once they cover every record of the ledger, and what
differs. Called by `lampit demo --once`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import msgspec
from aiokafka.structs import TopicPartition

from agents.reading import reader
from agents.settings import Settings
from agents.topics import COVERAGE, LEDGER, REJECTED
from lampit.demo.system import DemoError, covers
from stream.coverage import totals
from stream.regions import COUNTRY
from stream.tally import MEASURES

SECONDS_MAX: Final = 60.0
_STAMP: Final = frozenset({"epoch", "position"})

Records = dict[str, dict[str, Any]]


class Difference(NamedTuple):
    """A region whose published record is not the one counted; None where there is none."""

    region: str
    published: dict[str, Any] | None
    counted: dict[str, Any] | None


async def wait_for_ledger(settings: Settings, expected: Mapping[int, int], rejected: int) -> dict[int, int]:
    """Return the ends of the ledger's partitions when everything sent is in the ledger or the rejects.

    Reads the records themselves: the embedded broker names the beginning of the last batch when asked for the end.
    """
    wanted = {TopicPartition(LEDGER, partition): end for partition, end in expected.items()}
    wanted[TopicPartition(REJECTED, 0)] = rejected
    ends = dict.fromkeys(wanted, 0)
    try:
        async with asyncio.timeout(SECONDS_MAX), reader(settings) as consumer:
            consumer.assign([*wanted])
            await consumer.seek_to_beginning(*wanted)
            while any(ends[partition] < end for partition, end in wanted.items()):
                for partition, records in (await consumer.getmany(timeout_ms=200)).items():
                    ends[partition] = records[-1].offset + 1
    except TimeoutError:
        raise DemoError(
            f"Intake did not take in everything within {SECONDS_MAX:.0f} seconds: "
            f"{sum(ends.values()):,} records came of {sum(wanted.values()):,}."
        ) from None
    return {partition.partition: end for partition, end in ends.items() if partition.topic == LEDGER}


async def covering(settings: Settings, ends: Mapping[int, int]) -> Records:
    """The published record of every region, once that of the country covers these ends of the ledger.

    The country comes last in a batch, and every batch has it.
    """
    latest: Records = {}
    topic = TopicPartition(COVERAGE, 0)
    try:
        async with asyncio.timeout(SECONDS_MAX), reader(settings) as consumer:
            consumer.assign([topic])
            await consumer.seek_to_beginning(topic)
            while not covers(latest.get(COUNTRY), ends):
                for records in (await consumer.getmany(topic, timeout_ms=200)).values():
                    latest |= {record.key.decode(): msgspec.json.decode(record.value) for record in records}
    except TimeoutError:
        raise DemoError(f"No figures covered the whole ledger within {SECONDS_MAX:.0f} seconds.") from None
    return latest


def differences(published: Records, counted: Iterable[dict[str, Any]]) -> list[Difference]:
    """The regions whose records differ, by code; a region without any figures may be absent on either side."""
    once = {record["region"]: record for record in counted}
    found = []
    for region in sorted(published.keys() | once.keys()):
        live, expected = _figures(published.get(region)), _figures(once.get(region))
        if live != expected and not (_is_empty(live) and _is_empty(expected)):
            found.append(Difference(region, live, expected))
    return found


def _figures(record: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if record is None else {key: value for key, value in record.items() if key not in _STAMP}


def _is_empty(record: Mapping[str, Any] | None) -> bool:
    return record is None or not any(count for measure in MEASURES for count in record[measure].values())


def describe(difference: Difference) -> str:
    """One line of totals."""
    published, counted = (None if one is None else totals(one) for one in difference[1:])
    return f"{difference.region}: published {published}, counted {counted}"
