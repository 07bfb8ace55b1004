"""Whether the ledger workers keep up, as the roll-up sees it: what was in their log a while ago is in their heads by now.

In: how far the heads say that each partition is. Out: why not, or None. Called by the roll-up, whose own log is quiet when
all ledger workers are gone: its figures were called those of now for as long as nobody started one.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from aiokafka.structs import TopicPartition
from faust.types import TP

from agents.app import App
from agents.backlog import Backlog
from agents.driver import Reached
from agents.health import LATE_SECONDS
from agents.reading import next_record, reader
from agents.settings import Settings
from agents.topics import LEDGER

logger = logging.getLogger("lampit.rollup")

LOOK_SECONDS: Final = 1.0
RETRY_SECONDS: Final = 5.0
FETCH_BYTES: Final = 16 * 1024
"""Of a partition at once, or its first batch where that is larger: whether there is a record is all that is asked."""


class Upstream:
    """Looks once a second, in a task beside the agent: a delivery does not wait for it."""

    def __init__(self, app: App, settings: Settings, partitions: int, heads: Callable[[], Mapping[int, int]]) -> None:
        """Starts and ends with the app. heads: by partition the offset up to which the ledger is counted; none while that is
        not this process's to know."""
        self._app = app
        self._settings = settings
        self._places = [TopicPartition(LEDGER, number) for number in range(partitions)]
        self._heads = heads
        self.forget()
        app.task(self._run)

    def forget(self) -> None:
        """The heads are read anew: what was seen before says nothing of them."""
        self._backlog = Backlog()
        self._empty_until: dict[TopicPartition, int] = {}
        self._waits_at: dict[TopicPartition, int] = {}
        self._looked: float | None = None
        self._why: str | None = None

    def why_not(self) -> str | None:
        """Why the heads are not those of now; None where they are."""
        if self._looked is None:
            return "where the ledger ends is not known yet"
        silence = time.monotonic() - self._looked
        if silence > LATE_SECONDS:
            return f"where the ledger ends has not been known for {silence:.0f} s"
        return self._why

    async def _run(self) -> None:
        while not self._app.should_stop:
            try:
                async with reader(self._settings, max_partition_fetch_bytes=FETCH_BYTES) as consumer:
                    while not self._app.should_stop:
                        await self._look(consumer)
                        await asyncio.sleep(LOOK_SECONDS)
            except Exception as error:  # the figures go on without; they are not called those of now any more
                logger.warning("the end of the ledger cannot be looked at, again in %.0f s: %s", RETRY_SECONDS, error)
                await asyncio.sleep(RETRY_SECONDS)

    async def _look(self, consumer: Any) -> None:
        heads, backlog = self._heads(), self._backlog
        if not heads:
            return
        asked = time.monotonic()
        ends = await consumer.end_offsets(self._places)
        why = self._compare(backlog, heads, ends, asked)
        if why is not None and await self._pass_markers(consumer, heads, ends):
            why = self._compare(backlog, heads, ends, asked)
        if backlog is self._backlog:
            self._looked, self._why = time.monotonic(), why

    def _through(self, tp: TopicPartition, heads: Mapping[int, int]) -> int:
        return max(heads.get(tp.partition, 0), self._empty_until.get(tp, 0))

    def _compare(
        self, backlog: Backlog, heads: Mapping[int, int], ends: Mapping[TopicPartition, int], asked: float
    ) -> str | None:
        found = {TP(*tp): Reached(self._through(tp, heads), end, end) for tp, end in ends.items()}
        return backlog.why_not(found, asked, time.monotonic())

    async def _pass_markers(self, consumer: Any, heads: Mapping[int, int], ends: Mapping[TopicPartition, int]) -> bool:
        """Whether some of what seemed to wait are markers of transactions, of which no head tells."""
        before = dict(self._empty_until)
        for tp, end in ends.items():
            through = self._through(tp, heads)
            if through < end and self._waits_at.get(tp) != through:
                self._empty_until[tp], is_record = await next_record(consumer, tp, through, end)
                if is_record:
                    self._waits_at[tp] = self._empty_until[tp]
        return self._empty_until != before
