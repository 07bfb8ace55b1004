"""Figures of another day are of a whole country: however many ask at once, one answer is made at a time.

Few may wait for theirs, nothing is done for who has gone away, and a worker goes on with all else meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import date
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest

from agents import other_days, rollup, turns
from agents.app import create_app
from agents.barrier import LedgerIdentity
from agents.desk import Desk
from agents.figures import Figures
from agents.health import Web
from agents.ledger import LedgerAgent
from agents.other_days import PATH, WAITING_MAX, Answer, Kept, Lines, NotAnswered, Turns, add_route, ask
from agents.rollup import RollupAgent
from agents.settings import Settings
from agents.store import Store
from agents.turns import at_once
from agents.view import View
from lampit import reference
from lampit.broker import free_port
from lampit.web import mount
from stream.calendar import ordinal
from stream.ledger import Day
from stream.opening import Book
from stream.partials import HeadRecord, encode_head, head_key
from stream.partition import on_day
from stream.places import NO_CHANGES
from stream.rollup import Rollup
from stream.rules import Rules
from tests.unit.test_due import FIRST, SECOND, Interrupted, desk_over, registered
from tests.unit.test_new_epoch import control, fetch

DAY = date(2019, 3, 28)
DAYS = [date(2020, 1, number) for number in range(1, WAITING_MAX + 3)]
"""One that is answered, those that wait, and one too many."""


def rollup_in(folder: Path, **settings: Any) -> RollupAgent:
    """Of one partition, whose head is there."""
    known = reference.load()
    agent = RollupAgent(Settings(data_dir=folder, **settings), LedgerIdentity("a", 1, Rules(), known.digest), known)
    agent._batches.heads[0] = HeadRecord(0, 1, 9, DAY, "")
    return agent


def test_answers_are_made_one_at_a_time_and_each_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = rollup_in(tmp_path)
    head = agent._heads[0]
    asked: list[date] = []
    under_way: list[int] = [0, 0]

    async def ask(day: date, heads: Mapping[int, HeadRecord], partitions: int, empty: Rollup) -> Answer:
        asked.append(day)
        under_way[0] += 1
        under_way[1] = max(under_way)
        await asyncio.sleep(0)
        under_way[0] -= 1
        return Answer(empty, {0: head})

    monkeypatch.setattr(rollup, "ask", ask)
    days = [date(2019, 3, number) for number in (1, 1, 2, 1, 2, 3)]

    async def all_at_once() -> Collection[object]:
        return await asyncio.gather(*map(agent.on_day, days))

    views = list(asyncio.run(all_at_once()))
    assert under_way == [0, 1]
    assert asked == sorted(set(days))
    assert views[0] is views[1] is views[3] and views[2] is views[4]


def of_regions(count: int) -> View:
    """Figures of so many regions."""
    view = View()
    view.update({"region": f"16.05.02.{number:04}"} for number in range(count))
    return view


def test_what_is_kept_of_other_days_is_bounded_by_its_regions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(other_days, "REGIONS_KEPT_MAX", 10)
    kept, at, days = Kept(), ((0, 1),), [date(2020, 1, number) for number in range(1, 8)]
    for day in days:
        kept.add(day, at, of_regions(3))
    assert [kept.get(day, at) is not None for day in days] == [False] * 4 + [True] * 3
    kept.add(days[0], at, of_regions(11))  # one at least: who has just asked gets it
    assert [kept.get(day, at) is not None for day in days] == [True] + [False] * 6
    assert kept.get(days[0], ((0, 2),)) is None  # something has come since
    kept.add(days[1], ((0, 2),), of_regions(3))
    assert kept.get(days[0], at) is None


class Workers:
    """Stands for those that are asked, by the roll-up or of their partitions: answers when it is told to."""

    def __init__(self) -> None:
        self.asked: list[date] = []
        self.given_up: list[date] = []
        self.may_answer = asyncio.Event()

    async def ask(self, day: date, heads: Mapping[int, HeadRecord], partitions: int, empty: Rollup) -> Answer:
        await self.lines(day)
        return Answer(empty, dict(heads))

    async def lines(self, day: date) -> list[bytes]:
        self.asked.append(day)
        try:
            await self.may_answer.wait()
        except asyncio.CancelledError:
            self.given_up.append(day)
            raise
        return []


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0)


def test_who_asks_for_a_day_that_is_being_answered_gets_that_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With something coming in all the time each had an answer made of their own, one after the other."""

    async def run() -> None:
        agent, workers = rollup_in(tmp_path), Workers()
        monkeypatch.setattr(rollup, "ask", workers.ask)
        first = asyncio.create_task(agent.on_day(DAYS[0]))
        await until(lambda: workers.asked)
        agent._batches.heads[0] = HeadRecord(0, 1, 10, DAY, "")
        second = asyncio.create_task(agent.on_day(DAYS[0]))
        await asyncio.sleep(0)
        first.cancel()  # the other one still wants it
        await asyncio.sleep(0)
        workers.may_answer.set()
        assert "ID" in (await second).records
        assert (workers.asked, workers.given_up) == ([DAYS[0]], [])
        await agent.on_day(DAYS[0])
        assert len(workers.asked) == 2, "it is of before what has come meanwhile"

    asyncio.run(run())


@asynccontextmanager
async def listening(web: Web) -> AsyncIterator[str]:
    """A process's own web server."""
    await web.start_server()
    try:
        yield f"http://127.0.0.1:{web.app.conf.web_port}"
    finally:
        await web.stop_server()


async def assert_bounded(workers: Workers, page: str, turns: Turns[Any]) -> None:
    """Of one more than may wait one is refused; of the others, gone but for one, only that one is still answered."""
    async with aiohttp.ClientSession() as session, asyncio.timeout(60):
        asking = {asyncio.create_task(session.get(page, params={"as_of": str(day)})): day for day in DAYS}
        done, waiting = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
        (refused,) = done
        answer = await refused
        assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
        assert "Too many other days are being asked for" in await answer.text()
        (first,) = workers.asked
        stays, *gone = sorted(waiting, key=lambda task: asking[task] == first)
        *others, at_work = gone
        for reader in others:
            reader.cancel()
        # The turn of one that the server does not know yet to have gone would come.
        await until(lambda: len(turns._tasks) == len((stays, at_work)))
        at_work.cancel()
        try:
            await until(lambda: workers.asked == [first, asking[stays]])
        finally:
            workers.may_answer.set()  # the server ends when all are answered
        assert workers.given_up == [first]
        assert (await stays).status == 200


def test_of_the_roll_up_few_may_ask_and_who_has_gone_away_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        agent, workers = rollup_in(tmp_path, web_port=free_port()), Workers()
        monkeypatch.setattr(rollup, "ask", workers.ask)
        mount(agent.app, agent.view, Figures(agent.view), agent.on_day)
        async with listening(cast(Web, agent.app.web)) as url:
            await assert_bounded(workers, f"{url}/api/coverage/ID", agent._answers)

    asyncio.run(run())


def test_of_a_worker_few_may_ask_and_who_has_gone_away_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        workers, turns = Workers(), Turns[Any]()
        monkeypatch.setattr(other_days, "Turns", lambda: turns)
        async with worker(tmp_path, workers.lines) as url:
            await assert_bounded(workers, f"{url}{PATH}", turns)

    asyncio.run(run())


@asynccontextmanager
async def worker(folder: Path, lines: Lines) -> AsyncIterator[str]:
    """A ledger worker's web server."""
    web = cast(Web, create_app("ledger", Settings(data_dir=folder, web_port=free_port())).web)
    add_route(web.web_app.router, lines)
    async with listening(web) as url:
        yield url


def test_an_answer_of_two_epochs_is_none(tmp_path: Path) -> None:
    """Its parts were counted under different settings."""
    epochs = [1, 1]

    async def lines(day: date) -> list[bytes]:
        heads = [HeadRecord(number, epoch, 9, day) for number, epoch in enumerate(epochs)]
        return [head_key(head.partition) + b"	" + encode_head(head) for head in heads]

    async def run() -> None:
        async with worker(tmp_path, lines) as url:
            heads = {number: HeadRecord(number, 1, 9, DAY, url) for number in range(2)}
            assert len((await ask(DAY, heads, 2, Rollup())).heads) == 2
            epochs[1] = 2
            with pytest.raises(NotAnswered, match=r"^Ledger workers are between two epochs: ask again\.$"):
                await ask(DAY, heads, 2, Rollup())

    asyncio.run(run())


def test_a_worker_that_too_many_ask_is_not_said_to_be_out_of_reach(tmp_path: Path) -> None:
    async def lines(day: date) -> list[bytes]:
        raise NotAnswered

    async def run() -> None:
        async with worker(tmp_path, lines) as url:
            with pytest.raises(NotAnswered, match="Too many other days"):
                await ask(DAY, {0: HeadRecord(0, 1, 9, DAY, url)}, 1, Rollup())

    asyncio.run(run())


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """With people in one village; closed unless the test has done so."""
    made = desk_over(tmp_path / "store", Interrupted())
    made.apply(fetch(0, control(Day(ordinal("2024-01-01"))), *(registered(number, FIRST) for number in range(1, 40))))
    yield made
    made.store.close()


def test_what_is_applied_while_a_desk_reads_is_not_in_its_answer(desk: Desk) -> None:
    """Neither in the sums of the present day nor in the days, and the position says so."""
    for day in (date(2010, 1, 1), date(2030, 1, 1)):
        before = at_once(desk.on_day(day))
        steps = desk.on_day(day)
        next(steps)
        begin = desk.meta.next_offset
        desk.apply(fetch(begin, registered(50 + begin, SECOND), control(Day((desk.meta.day or 0) + 1))))
        assert at_once(steps) == before != at_once(desk.on_day(day))


def test_days_are_read_step_by_step() -> None:
    """Compiled too, where a generator expression is a list."""
    read: list[int] = []

    def between() -> Iterator[tuple[tuple[int, str], int]]:
        for day in range(100):
            read.append(day)
            yield (day, FIRST), 1

    steps = on_day(0, 100, [(FIRST, 100)], between(), Book((), NO_CHANGES))
    for _ in range(3):
        next(steps)
    assert 0 < len(read) < 20
    assert at_once(steps)[FIRST].own == 0 and len(read) == 100


def test_a_partition_counted_under_other_settings_than_the_ledgers_is_left_out(desk: Desk) -> None:
    """Its process ends with its first publication, half a second later; it was asked until then, after every start."""
    agent: Any = object.__new__(LedgerAgent)
    agent.desks, agent._locks, desk.epoch_differs = {0: desk}, {}, True
    assert asyncio.run(agent._on_day(DAYS[0])) == []


def test_others_have_turns_while_a_worker_reads_and_its_partition_may_go(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is left out then, and its store can be opened again at once."""
    monkeypatch.setattr(turns, "STEPS", 1)

    async def run() -> None:
        agent: Any = object.__new__(LedgerAgent)
        agent.desks, agent._locks = {0: desk}, {}
        whole = await agent._on_day(DAYS[0])
        assert len(whole) == 2
        found = asyncio.create_task(agent._on_day(DAYS[0]))
        for _ in range(2):
            await asyncio.sleep(0)
        assert not found.done()
        del agent.desks[0]
        assert await found == []

    asyncio.run(run())
    desk.store.close()
    desk.store = Store(desk.store.path)
