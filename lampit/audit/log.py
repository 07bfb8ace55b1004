"""Whole stretches of a broker's topics, for the audit: read once, beside all consumer groups.

In: settings, a topic, where to begin and end. Out: committed records in order. Called by verify and replay.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from agents.errors import ConfigurationError
from agents.reading import reader
from agents.settings import Settings

SILENCE_SECONDS_MAX: Final = 30.0
EMBEDDED_TAIL_SECONDS: Final = 0.4


async def stretch(
    settings: Settings, topic: str, begins: Mapping[int, int], ends: Mapping[int, int] | None = None
) -> AsyncIterator[tuple[int, list[Any]]]:
    """(partition, records) from `begins` up to, not including, `ends`, or to where the log ends now."""
    async with _open(settings) as consumer:
        partitions = {TopicPartition(topic, number): begin for number, begin in begins.items()}
        there = await consumer.end_offsets(list(partitions))
        wanted = {tp: there[tp] if ends is None else min(ends[tp.partition], there[tp]) for tp in partitions}
        consumer.assign(list(partitions))
        for tp, begin in partitions.items():
            consumer.seek(tp, max(begin, (await consumer.beginning_offsets([tp]))[tp]))
        silent = 0.0
        while silent < SILENCE_SECONDS_MAX:
            if all([await consumer.position(tp) >= end for tp, end in wanted.items()]) and (
                # The embedded broker tells the beginning of its last batch for the end.
                settings.transactions or ends is not None or silent >= EMBEDDED_TAIL_SECONDS
            ):
                return
            batches = await consumer.getmany(timeout_ms=200)
            silent = 0.0 if batches else silent + 0.2
            for tp, batch in batches.items():
                records = [record for record in batch if ends is None or record.offset < ends[tp.partition]]
                if records:
                    yield tp.partition, records
        raise ConfigurationError(
            f"{topic} could not be read to its end from {settings.bootstrap_servers}: check that all its brokers run."
        )


def read(
    settings: Settings, topic: str, begins: Mapping[int, int], ends: Mapping[int, int] | None = None
) -> list[tuple[int, Any]]:
    """The same at once: (partition, record). For topics that fit into memory."""

    async def run() -> list[tuple[int, Any]]:
        found = stretch(settings, topic, begins, ends)
        return [(partition, record) async for partition, records in found for record in records]

    return asyncio.run(run())


@asynccontextmanager
async def _open(settings: Settings) -> AsyncIterator[Any]:
    """A reader; a broker or topic that is not there is one sentence, without aiokafka's own beside it."""
    logging.getLogger("aiokafka").addHandler(logging.NullHandler())
    try:
        async with reader(settings) as consumer:
            yield consumer
    except (KafkaError, OSError) as error:
        raise ConfigurationError(
            f"Nothing can be read from {settings.bootstrap_servers} ({type(error).__name__}): "
            "check --bootstrap, that the broker runs and that Lampit's topics are there."
        ) from None
