"""An opening balance folds everybody of a partition again; meanwhile others have their turns, and the partition may go."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from agents import desk as desks
from agents import turns
from agents.desk import Desk
from agents.driver import Fetch, fetches, give_up, is_current
from agents.producer import Record
from agents.topics import ANOMALIES
from stream.calendar import ordinal
from stream.ledger import Day, encode_record
from tests.counters import accept
from tests.unit.test_due import FIRST, Interrupted, desk_over, registered
from tests.unit.test_new_epoch import control, fetch
from tests.unit.test_not_begun import FETCH, HERE, at_work
from tests.unit.test_older_store import event

PEOPLE = 40


class Collected(Interrupted):
    """Keeps the records of each transaction."""

    def __init__(self) -> None:
        super().__init__()
        self.transactions: list[list[Record]] = []

    async def publish(self, records: Any) -> None:
        self.transactions.append(list(records))


def balance() -> bytes:
    """Of the district."""
    (admitted,), _ = accept(
        [event("opening_balance", "balance", region=FIRST[:8], counts={"population": 1000, "obliged": 700})]
    )
    return encode_record(admitted.subject, admitted.event, 0)


def recorded(number: int) -> bytes:
    """Of somebody of whom nothing else is known: an anomaly, until a balance may hold them."""
    (admitted,), _ = accept([event("recording", f"recording-{number}", nik=f"16050242031900{number:02}", region=FIRST)])
    return encode_record(admitted.subject, admitted.event, 0)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = desk_over(tmp_path / "store", Collected())
    people = [registered(number, FIRST) for number in range(1, PEOPLE + 1)]
    made.apply(fetch(0, control(Day(ordinal("2024-01-01"))), *people))
    yield made
    made.store.close()


def in_turns(desk: Desk, log: Fetch, is_wanted: Callable[[], bool], other: Callable[[], None]) -> int | None:
    """Apply a fetch, while something else is done as often as it has a turn."""

    async def others() -> None:
        while True:
            other()
            await asyncio.sleep(0)

    async def both() -> int | None:
        beside = asyncio.create_task(others())
        try:
            return await turns.in_turns(desk.steps(log), is_wanted)
        finally:
            beside.cancel()

    return asyncio.run(both())


def test_others_have_turns_while_everybody_is_folded_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "STEPS", 10)
    seen: list[int] = []
    log = fetch(PEOPLE + 1, balance())
    assert in_turns(desk, log, lambda: True, lambda: seen.append(desk.meta.next_offset)) == 0
    assert seen == [PEOPLE + 1] * (PEOPLE // 10), "nothing changes before all are folded"
    assert desk.meta.next_offset == PEOPLE + 2 and desk.store.balances() != []


def test_a_partition_that_is_taken_away_in_the_middle_is_as_before(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "STEPS", 10)
    seen: list[None] = []
    log = fetch(PEOPLE + 1, balance())
    assert in_turns(desk, log, lambda: len(seen) < 2, lambda: seen.append(None)) is None
    assert desk.meta.next_offset == PEOPLE + 1 and desk.store.meta == desk.meta and desk.store.balances() == []
    # Whoever has it next begins the same batch again.
    assert desk.apply(log) == 0
    assert desk.store.balances() != []


def test_a_publication_in_the_middle_is_of_before(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The courier goes on meanwhile: what it gives out is as of the offset it says, and what comes after is due again."""
    monkeypatch.setattr(turns, "STEPS", 10)
    producer = cast(Collected, desk.producer)

    async def run() -> None:
        steps = desk.steps(fetch(PEOPLE + 1, balance()))
        for _ in range(PEOPLE // 2):
            next(steps)
        await desk.publish()
        assert desk.meta.published_through == PEOPLE + 1 and not desk.due_columns
        await turns.in_turns(steps, lambda: True)

    asyncio.run(run())
    assert len(producer.transactions) == 1
    assert desk.meta.published_through == PEOPLE + 1 and desk.meta.next_offset == PEOPLE + 2
    assert {column.partition("@")[0] for column in desk.due_columns} >= {FIRST, FIRST[:8]}


def test_the_lists_a_balance_changes_go_out_a_few_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There may be as many as people."""
    monkeypatch.setattr(desks, "LISTS_MAX", 3)
    producer = Collected()
    desk = desk_over(tmp_path / "store", producer)
    desk.apply(fetch(0, control(Day(ordinal("2024-01-01"))), *(recorded(number) for number in range(1, 9))))
    while desk.due:
        asyncio.run(desk.publish())
    assert _newest(producer) == [["unplaced"]] * 8
    producer.transactions.clear()
    desk.apply(fetch(9, balance()))
    assert desk.lists_wait
    while desk.due:
        asyncio.run(desk.publish())
    assert _newest(producer) == [["birth_date_unknown"]] * 8
    assert max(_lists(records) for records in producer.transactions) == 3
    assert not desk.lists_wait and desk.store.due_subjects(10) == []
    desk.store.close()


def _lists(records: list[Record]) -> int:
    return sum(record.topic == ANOMALIES for record in records)


def _newest(producer: Collected) -> list[list[str]]:
    """The kinds of the anomalies in each person's last list."""
    newest = {
        record.key: json.loads(record.value or b"")["anomalies"]
        for records in producer.transactions
        for record in records
        if record.topic == ANOMALIES
    }
    return [[one["kind"] for one in anomalies] for anomalies in newest.values()]


def test_a_fetch_that_is_given_up_is_not_done(tmp_path: Path) -> None:
    """What is done tells how far the log is known to hold nothing else: a store would be said to go on behind it."""

    async def run() -> None:
        app, consumer = at_work(tmp_path)

        class Stream:
            def noack(self) -> Stream:
                return self

            async def events(self) -> Any:
                for _ in range(2):
                    yield type("Event", (), {"app": app, "value": FETCH})()

        handed = 0
        async for one in fetches(Stream()):
            assert is_current(app, one)
            handed += 1
            if handed == 1:
                consumer.flow_active = False
                assert not is_current(app, one)
                give_up(app, one)
                assert consumer.done[HERE] == 449 and consumer._idle.is_set()
                consumer.flow_active = True
        assert handed == 2, "it is handed out again"
        assert consumer.done[HERE] == 450

    asyncio.run(run())
