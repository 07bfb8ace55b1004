"""A warm copy whose log is not the one it was made from any more: it is never gone on with, whoever takes over from it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, TopicPartition

from agents import standby
from agents.barrier import LedgerIdentity, control, rules_of
from agents.ledger import LedgerAgent
from agents.producer import Producer, Record
from agents.settings import Settings
from agents.topics import LEDGER, Topic, ensure_topics
from lampit import reference
from stream.admission import Admitted, admit
from stream.ledger import Genesis, encode_record
from stream.pseudonym import Pseudonymiser
from tests.brokers import Broker, delete_topics
from tests.live import KEY

PSEUDONYMISE = Pseudonymiser(KEY.encode())
SECONDS_MAX = 120.0

pytestmark = pytest.mark.parametrize("empty_broker", ["kafka"], indirect=True)


def birth(number: int) -> Admitted:
    """Of a person of their own."""
    person = {"birth_date": "1990-01-01", "sex": "F"}
    data = {"nik": f"16050242031{number:05d}", "occurred_on": "2019-03-02", "region": "16.05.02.2001", "person": person}
    event = {"specversion": "1.0", "id": f"e{number}", "source": "/siak/1605", "type": "lampit.register.v1"}
    admitted = admit(json.dumps({**event, "time": "2019-03-05T09:12:00+07:00", "data": data}).encode(), PSEUDONYMISE)
    assert isinstance(admitted, Admitted)
    return admitted


def subjects(numbers: Iterable[int]) -> set[str]:
    return {birth(number).subject or "" for number in numbers}


class Case:
    """A log of one partition, and a worker that copies it."""

    def __init__(self, broker: Broker, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """No topic yet."""
        monkeypatch.setattr(standby, "RETRY_SECONDS", 0.3)
        self.servers = broker.bootstrap_servers
        self.settings = Settings(bootstrap_servers=self.servers, data_dir=folder, partitions=1, standby_partitions="0")
        places = reference.load()
        identity = LedgerIdentity("ours", 1, rules_of(self.settings), places.digest)
        self.agent = LedgerAgent(self.settings, identity, places)
        self.standby = self.agent._standby

    async def make(self, ledger_id: str, numbers: Iterable[int]) -> None:
        """The log anew: its first record, then a person for each number."""
        delete_topics(self.servers)
        ensure_topics(self.settings, [Topic(LEDGER, 1, "delete")])
        admitted = [birth(number) for number in numbers]
        records = [
            Record(LEDGER, 0, (one.subject or "").encode(), encode_record(one.subject, one.event, 0))
            for one in admitted
        ]
        async with Producer(self.settings, name="test") as producer:
            await producer.send_all([control(0, Genesis(ledger_id, 1, 0, "fingerprint")), *records])

    def copied(self) -> set[str]:
        """The people in the copy."""
        desk = self.standby._desks.get(0)
        return set() if desk is None else {subject for subject, _ in desk.store.every_person()}

    @asynccontextmanager
    async def copying(self) -> AsyncIterator[None]:
        """While the copy is kept up."""
        self.standby.live = set()
        following = asyncio.create_task(self.standby._run())
        try:
            yield
        finally:
            following.cancel()
            with suppress(asyncio.CancelledError):
                await following


async def until(condition: Callable[[], bool], what: str) -> None:
    """Fails when it does not become true."""
    deadline = asyncio.get_running_loop().time() + SECONDS_MAX
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, what
        await asyncio.sleep(0.05)


def test_a_copy_of_a_log_that_lost_its_end_is_made_anew(
    empty_broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It read the shorter log from its beginning, on top of people who were not in it any more, and passed for sound."""

    async def run() -> None:
        case = Case(empty_broker, tmp_path, monkeypatch)
        await case.make("ours", range(50))
        async with case.copying():
            await until(lambda: case.copied() == subjects(range(50)), "the log to be copied")
            await case.make("ours", [*range(40), 90, 91])
            left = subjects([*range(40), 90, 91])
            await until(lambda: subjects([91]) <= case.copied(), "the shorter log to be read")
            assert case.copied() == left
            path = case.agent._stores.path(0)
            assert path.with_name(f"{path.name}.set-aside").exists()

    asyncio.run(run())


def test_a_copy_is_not_made_of_what_another_ledger_has_in_its_place(
    empty_broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        case = Case(empty_broker, tmp_path, monkeypatch)
        await case.make("ours", range(20))
        async with case.copying():
            await until(lambda: case.copied() == subjects(range(20)), "the log to be copied")
            await case.make("another", range(20, 25))
            await until(lambda: "belongs to another ledger" in caplog.text, "the other ledger to be seen")
            assert not case.copied()
        assert "stand still" not in caplog.text

    asyncio.run(run())


def test_a_copy_is_not_made_of_a_log_without_its_beginning(
    empty_broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where records were removed by age. It was made of what was left, and passed for sound."""

    async def run() -> None:
        case = Case(empty_broker, tmp_path, monkeypatch)
        await case.make("ours", range(10))
        admin = KafkaAdminClient(bootstrap_servers=case.servers)
        admin.delete_records({TopicPartition(LEDGER, 0): 5})
        admin.close()
        async with case.copying():
            await until(lambda: "the log has nothing at offset 0" in caplog.text or bool(case.copied()), "a refusal")
            assert not case.copied()
        assert "stand still" not in caplog.text

    asyncio.run(run())
