"""Roll-ups and ledger workers with other settings than those of the ledger's epoch, on real Kafka.

A roll-up ends, or waits for the ledger workers of an epoch of its own. A worker gives up no store that is right.
"""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from agents.app import EXIT_REFUSED
from agents.barrier import LedgerIdentity, ensure_ledger, rules_of
from agents.desk import Desk
from agents.driver import Fetch
from agents.errors import ConfigurationError
from agents.producer import Producer, Record
from agents.reading import newest
from agents.snapshots import Until
from agents.stores import Stores
from agents.topics import COVERAGE, LEDGER, PARTIALS
from lampit import reference
from lampit.control import begin_epoch
from stream import partials
from stream.partials import HeadRecord
from stream.pseudonym import Pseudonymiser
from tests.brokers import Broker
from tests.live import KEY, WAIT_SECONDS_MAX, Live, Process, settings_of

OF_BEFORE = "0123abcd"


def health(process: Process) -> str:
    """What the process says of itself; empty before it listens."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{process.port}/health/ready", timeout=5) as response:
            return str(response.read().decode())
    except urllib.error.HTTPError as error:
        return error.read().decode()
    except OSError:
        return ""


def test_it_ends_or_waits_for_the_workers_of_an_epoch_of_its_own(kafka: Broker, tmp_path: Path) -> None:
    """The figures stay those of before until a ledger worker of the new epoch gives out its own."""
    settings = settings_of(kafka, tmp_path)
    ours = LedgerIdentity("any", 1, rules_of(settings), reference.load().digest).settings_name

    async def tell(epoch: int, name: str, offset: int) -> None:
        head = HeadRecord(0, epoch, offset, date(2024, 1, 1), None, name)
        async with Producer(settings, name="worker") as producer:
            await producer.send_all([Record(PARTIALS, 0, partials.head_key(0), partials.encode_head(head))])

    with Live(kafka, tmp_path, partitions=1, settings={"LAMPIT_SESSION_TIMEOUT_SECONDS": "6"}) as live:
        asyncio.run(tell(1, OF_BEFORE, 2))
        refused = live.start("rollup")
        assert refused.popen.wait(timeout=WAIT_SECONDS_MAX) == EXIT_REFUSED
        assert "LAMPIT_LEAP_BIRTHDAY" in refused.log.read_text()
        assert asyncio.run(begin_epoch(settings)) == 2
        waiting = live.start("rollup")
        live.wait_until(lambda: "the epoch of these settings" in health(waiting), "the roll-up that waits")
        assert live.read(COVERAGE) == []
        asyncio.run(tell(2, ours, 3))
        live.wait_until(lambda: bool(live.read(COVERAGE)), "coverage")
        assert {json.loads(record.value)["epoch"] for record in live.read(COVERAGE)} == {2}
        asyncio.run(tell(3, OF_BEFORE, 4))
        assert waiting.popen.wait(timeout=WAIT_SECONDS_MAX) == EXIT_REFUSED


def test_a_store_is_given_up_for_an_epoch_and_not_for_a_slip_in_a_setting(kafka: Broker, tmp_path: Path) -> None:
    """It was set aside first, and the right settings of before found nothing to go on with."""
    right = settings_of(kafka, tmp_path)
    wrong = right.model_copy(update={"leap_birthday": "feb28"})
    read = reference.load()

    async def run() -> None:
        fingerprint = Pseudonymiser(KEY.encode()).fingerprint
        identity = await ensure_ledger(right, fingerprint, read)
        other = await ensure_ledger(wrong, fingerprint, read)
        producer: Any = None  # nothing is published here
        store = await Stores(right, identity).open(0, Until())
        desk = Desk(0, store, producer, identity, identity.rules, read, "here", 9)
        records = [record async for record in newest(right, LEDGER, 0)]
        desk.apply(Fetch(LEDGER, 0, 0, records[-1].offset + 1, tuple(records), 0))
        store.close()
        with pytest.raises(ConfigurationError, match="LAMPIT_LEAP_BIRTHDAY"):
            await Stores(wrong, other).open(0, Until())
        store = await Stores(right, identity).open(0, Until())
        assert store.meta == desk.meta
        store.close()
        await begin_epoch(wrong)
        store = await Stores(wrong, other).open(0, Until())
        assert store.meta is None
        store.close()

    asyncio.run(run())
