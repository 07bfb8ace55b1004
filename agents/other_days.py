"""Figures of another day than the present one, as they are known now.

A ledger worker keeps its columns by day, the roll-up keeps sums of the present day only. So the roll-up asks every worker
for its partitions' parts on the day, over HTTP, and adds them up as it adds up the topic.
In: a day; the heads, which say where each partition's worker listens. Out: `add_route` for the worker, `ask` and
`Kept` for the roll-up. The lines of an answer are records of `lampit.partials`, each partition's closed by its head:
`key TAB value`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Final

import aiohttp
import msgspec
from aiohttp import web

from agents.errors import LampitError
from agents.view import View
from stream.partials import HeadRecord, PartialRecord, decode
from stream.rollup import Rollup

PATH: Final = "/internal/partials"
ANSWER_SECONDS_MAX: Final = 60.0
REGIONS_KEPT_MAX: Final = 100_000
"""Of all days together: a little more than the country has, which take a quarter of a gigabyte."""

Lines = Callable[[date], Awaitable[list[bytes]]]
"""A worker's answer: the lines of all its partitions."""


class NotAnswered(LampitError):
    """Some partition's figures of the day are not to be had now; the message says why."""


@dataclass
class Answer:
    """The parts of all partitions on one day, added up; heads: where each partition stood."""

    rollup: Rollup
    heads: dict[int, HeadRecord] = field(default_factory=dict)

    def add(self, lines: Iterable[bytes], partitions: Collection[int]) -> None:
        """Take the lines of one worker, of the partitions that are its own: a frozen one may believe in more."""
        for line in lines:
            key, _, value = line.partition(b"\t")
            record = decode(key, value)
            if record.partition not in partitions:
                continue
            if isinstance(record, PartialRecord):
                self.rollup.apply(record.partition, record.region, record.partial())
            else:
                self.heads[record.partition] = record


KnownBy = tuple[tuple[int, int], ...]
"""Where each partition stood."""


class Kept:
    """The newest answers until something comes: as many as have REGIONS_KEPT_MAX regions together, one at least."""

    def __init__(self) -> None:
        """None."""
        self._views: dict[date, View] = {}
        self._known_by: KnownBy = ()

    def get(self, day: date, known_by: KnownBy) -> View | None:
        """The figures of a day, if they are still those that would be given now."""
        return self._views.get(day) if self._known_by == known_by else None

    def add(self, day: date, known_by: KnownBy, view: View) -> None:
        """Keep an answer."""
        if self._known_by != known_by:
            self._views.clear()
        self._known_by = known_by
        self._views[day] = view
        while len(self._views) > 1 and sum(len(kept.records) for kept in self._views.values()) > REGIONS_KEPT_MAX:
            del self._views[next(iter(self._views))]


def add_route(router: web.UrlDispatcher, lines: Lines) -> None:
    """Let a ledger worker answer."""
    one_at_a_time = asyncio.Lock()

    async def partials(request: web.Request) -> web.Response:
        try:
            day = date.fromisoformat(request.query.get("as_of", ""))
        except ValueError:
            return web.Response(status=400, text="as_of=YYYY-MM-DD is missing.\n")
        async with one_at_a_time:
            body = b"\n".join(await lines(day))
        return web.Response(body=body, content_type="application/x-ndjson")

    router.add_get(PATH, partials)


async def ask(day: date, heads: Mapping[int, HeadRecord], partitions: int, rollup: Rollup) -> Answer:
    """Every partition's parts on a day, added to an empty roll-up; NotAnswered when one is missing."""
    answer = Answer(rollup)
    workers: dict[str, list[int]] = {}
    for partition, head in heads.items():
        if head.worker:
            workers.setdefault(head.worker, []).append(partition)
    timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS_MAX)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session:
            answers = await asyncio.gather(*(_lines(session, worker, day) for worker in workers))
        for lines, own in zip(answers, workers.values(), strict=True):
            answer.add(lines, own)
    except (aiohttp.ClientError, TimeoutError, msgspec.MsgspecError) as error:
        raise NotAnswered(
            f"A ledger worker did not answer ({type(error).__name__}): see that the roll-up reaches each at its LAMPIT_WEB_URL."
        ) from error
    missing = sorted(set(range(partitions)) - answer.heads.keys())
    if missing:
        raise NotAnswered(f"Partitions {missing} are moving between ledger workers: ask again.")
    return answer


async def _lines(session: aiohttp.ClientSession, worker: str, day: date) -> list[bytes]:
    async with session.get(f"{worker}{PATH}", params={"as_of": day.isoformat()}) as response:
        response.raise_for_status()
        return (await response.read()).splitlines()
