"""Warm copies: one that is still being fetched holds up no takeover, and none is gone on with out of order."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiokafka.structs import ConsumerRecord

from agents.barrier import LedgerIdentity, control, rules_of
from agents.driver import Fetch
from agents.ledger import LedgerAgent
from agents.settings import Settings
from agents.snapshots import Snapshots
from agents.store import FORMAT, Store
from agents.topics import LEDGER
from lampit import reference
from stream.ledger import Genesis
from stream.snapshot import MANIFEST, VERSION, Snapshot, SnapshotFile

PARTITION = 5
LARGE_BYTES = 2**40
"""Of a file without content: no machine reads it in the time of this test, and it takes no room."""

TAKEOVER_SECONDS_MAX = 100.0
"""Far less than it takes to read the file."""


def test_a_copy_that_is_being_fetched_is_given_up_at_a_takeover_and_its_files_stay(tmp_path: Path) -> None:
    """The takeover waited for the fetch, which has no time limit, until the process ended by that of the takeover."""
    settings = Settings(
        partitions=PARTITION + 1,
        data_dir=tmp_path / "data",
        first_period="2019-01",
        snapshot_url=str(tmp_path / "snapshots"),
        standby_partitions=str(PARTITION),
    )
    places = reference.load()
    identity = LedgerIdentity("ours", settings.partitions, rules_of(settings), places.digest)
    large = SnapshotFile("000009.sst", LARGE_BYTES, "0" * 64)
    snapshot = Snapshot(VERSION, "ours", PARTITION, FORMAT, identity.settings_digest, 0, 7, 1_700_000_000, (large,))
    manifest = f"ours/partition={PARTITION:05}/{snapshot.name}{MANIFEST}"
    Snapshots(str(tmp_path / "snapshots"), "ours").files.put(manifest, snapshot.encode())

    async def take_over() -> None:
        agent = LedgerAgent(settings, identity, places)
        standby, path = agent._standby, agent._stores.path(PARTITION)
        # What an earlier attempt has left is read to its end before anything is fetched; what is not of it goes first.
        fetched = path.with_name(f"{path.name}.fetched")
        fetched.mkdir(parents=True)
        with (fetched / large.name).open("wb") as file:
            file.truncate(LARGE_BYTES)
        (fetched / "of-another").touch()
        standby.live = set()
        following = asyncio.create_task(standby._open_missing())
        while (fetched / "of-another").exists():
            assert not following.done()
            await asyncio.sleep(0.01)
        try:
            async with asyncio.timeout(TAKEOVER_SECONDS_MAX):
                await standby.leave({PARTITION})
            await following  # goes on with the copies of other partitions
        finally:
            following.cancel()
        assert not standby._desks
        assert (fetched / large.name).stat().st_size == LARGE_BYTES, "`begin` need not fetch it again"
        Store(path).close()  # would find it locked

    asyncio.run(take_over())


def test_a_copy_that_is_handed_records_again_is_given_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings = Settings(partitions=1, data_dir=tmp_path, standby_partitions="0")
    places = reference.load()
    agent = LedgerAgent(settings, LedgerIdentity("ours", 1, rules_of(settings), places.digest), places)
    standby = agent._standby
    standby.live = set()
    first = control(0, Genesis("ours", 1, 0, "fingerprint"))
    record = ConsumerRecord(LEDGER, 0, 0, 0, 0, first.key, first.value, None, 0, 0, ())
    fetch = Fetch(LEDGER, 0, 0, 1, (record,), 0)

    async def run() -> None:
        standby._desks[0] = desk = agent._copy(0, Store(agent._stores.path(0)))
        await standby._apply(desk, fetch)
        assert standby._desks == {0: desk}
        assert desk.meta.next_offset == 1
        await standby._apply(desk, fetch)
        assert not standby._desks
        assert "records from 0 on came again, expected was 1" in caplog.text
        Store(agent._stores.path(0)).close()  # would find it locked

    asyncio.run(run())
