"""Figures of another day than the present one, as they are known now.

A ledger worker keeps its columns by day, the roll-up keeps sums of the present day only. So the roll-up asks every worker
for its partitions' parts on the day, over HTTP, and adds them up as it adds up the topic.
In: a day; the heads, which say where each partition's worker listens. Out: `add_route` for the worker, `ask`, `Turns` and
`Kept` for the roll-up. The lines of an answer are records of `lampit.partials`, each partition's closed by its head:
`key TAB value`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Generator, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from typing import Final, Generic, TypeVar

import aiohttp
import msgspec
from aiohttp import web

from agents.errors import LampitError
from agents.turns import in_turns
from agents.view import View
from stream.partials import HeadRecord, PartialRecord, decode
from stream.rollup import Rollup

PATH: Final = "/internal/partials"
ANSWER_SECONDS_MAX: Final = 60.0
WAITING_MAX: Final = 4
"""Days behind the one that is being answered, each of which takes seconds; who asks for one more is to come again."""

RETRY: Final = {"Retry-After": "5"}
"""Header of a NotAnswered."""

_TOO_MANY: Final = "Too many other days are being asked for at this moment: ask again."

REGIONS_KEPT_MAX: Final = 100_000
"""Of all days together: a little more than the country has, which take a quarter of a gigabyte."""

Lines = Callable[[date], Awaitable[list[bytes]]]
"""A worker's answer: the lines of all its partitions."""

Made = TypeVar("Made")


class NotAnswered(LampitError):
    """Some partition's figures of the day are not to be had now; the message says why."""


@dataclass
class Answer:
    """The parts of all partitions on one day, added up; heads: where each partition stood."""

    rollup: Rollup
    heads: dict[int, HeadRecord] = field(default_factory=dict)

    def add(self, lines: Iterable[bytes], partitions: Collection[int]) -> Generator[None, None, None]:
        """Take the lines of one worker, of the partitions that are its own: a frozen one may believe in more. In steps."""
        for line in lines:
            key, _, value = line.partition(b"\t")
            record = decode(key, value)
            if record.partition not in partitions:
                continue
            if isinstance(record, PartialRecord):
                self.rollup.apply(record.partition, record.region, record.partial())
            else:
                self.heads[record.partition] = record
            yield


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


class Turns(Generic[Made]):
    """Answers, made one at a time, and each for all who ask for it meanwhile. One whose readers have all gone is given up.

    One at a time: each is of a whole country, a quarter of a gigabyte, and a handful at once would end the process.
    """

    def __init__(self) -> None:
        """Nobody asks."""
        self._turn = asyncio.Lock()
        self._tasks: dict[Hashable, asyncio.Task[Made]] = {}
        self._readers: Counter[Hashable] = Counter()

    async def get(self, key: Hashable, make: Callable[[], Awaitable[Made]]) -> Made:
        """The answer of that key, made when it is its turn; NotAnswered at once where too many wait for theirs."""
        if key not in self._tasks:
            if len(self._tasks) > WAITING_MAX:
                raise NotAnswered(_TOO_MANY)
            self._tasks[key] = asyncio.create_task(self._make(make))
        task = self._tasks[key]
        self._readers[key] += 1
        try:
            return await asyncio.shield(task)
        finally:
            self._readers[key] -= 1
            if not self._readers[key]:
                del self._readers[key], self._tasks[key]
                task.cancel()

    async def _make(self, make: Callable[[], Awaitable[Made]]) -> Made:
        async with self._turn:
            return await make()


def add_route(router: web.UrlDispatcher, lines: Lines) -> None:
    """Let a ledger worker answer."""
    turns: Turns[list[bytes]] = Turns()

    async def partials(request: web.Request) -> web.Response:
        try:
            day = date.fromisoformat(request.query.get("as_of", ""))
        except ValueError:
            return web.Response(status=400, text="as_of=YYYY-MM-DD is missing.\n")
        try:
            # Not shared: one that was begun earlier may be of before what the roll-up knows by now.
            found = await turns.get(object(), partial(lines, day))
        except NotAnswered as error:
            return web.Response(status=503, text=str(error), headers=RETRY)
        return web.Response(body=b"\n".join(found), content_type="application/x-ndjson")

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
            await in_turns(answer.add(lines, own))
    except (aiohttp.ClientError, TimeoutError, msgspec.MsgspecError) as error:
        raise NotAnswered(
            f"A ledger worker did not answer ({type(error).__name__}): see that the roll-up reaches each at its LAMPIT_WEB_URL."
        ) from error
    missing = sorted(set(range(partitions)) - answer.heads.keys())
    if missing:
        raise NotAnswered(f"Partitions {missing} are moving between ledger workers: ask again.")
    if len({head.epoch for head in answer.heads.values()}) > 1:
        raise NotAnswered("Ledger workers are between two epochs: ask again.")
    return answer


async def _lines(session: aiohttp.ClientSession, worker: str, day: date) -> list[bytes]:
    async with session.get(f"{worker}{PATH}", params={"as_of": day.isoformat()}) as response:
        if response.status == 503:
            raise NotAnswered(_TOO_MANY)
        response.raise_for_status()
        return (await response.read()).splitlines()
