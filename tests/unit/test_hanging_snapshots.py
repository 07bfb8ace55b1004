"""A place of snapshots that hangs, as a file server can, holds nobody up: a store is built from the log, none is saved."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from agents import threads
from agents.app import create_app
from agents.barrier import LedgerIdentity, rules_of
from agents.saving import Saver
from agents.settings import Settings
from agents.snapshots import Snapshots, Until
from agents.stores import Stores
from lampit import reference
from lampit.doctor import local
from lampit.doctor.cluster import Log
from stream.ledger import Genesis
from stream.snapshot import MANIFEST

PARTITION = 1


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Settings]:
    """A pipe that nobody writes to: to open it waits for ever, and no deadline was looked at meanwhile."""
    folder = tmp_path / "snapshots" / "ours" / f"partition={PARTITION:05}"
    folder.mkdir(parents=True)
    manifest = folder / f"{7:020}-3-{0:016x}{MANIFEST}"
    os.mkfifo(manifest)
    yield Settings(partitions=2, data_dir=tmp_path / "data", snapshot_url=str(tmp_path / "snapshots"))
    # The thread that waits ends, and with it this process can.
    with suppress(OSError):
        os.close(os.open(manifest, os.O_WRONLY | os.O_NONBLOCK))


@pytest.mark.timeout(60)
def test_a_worker_goes_on_without_writing_snapshots(
    place: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(threads, "HANG_SECONDS_MAX", 0.2)

    async def run() -> None:
        snapshots = Snapshots(place.snapshot_url or "", "ours")
        app = create_app("ledger", place)
        saver = Saver(app, snapshots, 3600.0, {}, lambda _: asyncio.Lock(), lambda _: place.data_dir, "")
        await saver._turn(PARTITION)
        assert caplog.messages == [f"partition {PARTITION}: no snapshot is written: their place does not answer"]
        waiting = threading.active_count()
        await saver._turn(PARTITION)  # while that thread is away no other is sent after it
        assert threading.active_count() == waiting
        assert saver._left is not None and not saver._left.done()
        os.close(os.open(next(snapshots_of(place)), os.O_WRONLY | os.O_NONBLOCK))
        await asyncio.wait({saver._left})
        next(snapshots_of(place)).unlink()
        await saver._turn(PARTITION)
        assert len(caplog.messages) == 2  # the third one was asked again

    asyncio.run(run())


def snapshots_of(place: Settings) -> Iterator[Path]:
    """The manifests there."""
    return Path(place.snapshot_url or "").rglob(f"*{MANIFEST}")


@pytest.mark.timeout(60)
def test_doctor_says_that_a_place_hangs(place: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "PLACE_SECONDS_MAX", 0.2)
    log = Log({PARTITION: 100}, Genesis("ours", 2, 0, "fingerprint"))
    found = local._snapshots(place, place.snapshot_url or "", log)
    assert (found.status, found.saw) == ("problem", "LAMPIT_SNAPSHOT_URL does not answer within 0 s")


@pytest.mark.timeout(30)
def test_a_place_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe that nobody writes to stands for it: to open it waits for ever, and no deadline was looked at meanwhile."""
    monkeypatch.setattr(threads, "HANG_SECONDS_MAX", 0.2)
    settings = Settings(partitions=2, data_dir=tmp_path / "data", snapshot_url=str(tmp_path / "snapshots"))
    identity = LedgerIdentity("ours", 2, rules_of(settings), reference.load().digest)
    folder = tmp_path / "snapshots" / "ours" / f"partition={PARTITION:05}"
    folder.mkdir(parents=True)
    manifest = folder / f"{7:020}-3-{0:016x}{MANIFEST}"
    os.mkfifo(manifest)

    def let_go() -> None:
        """The thread that waits ends, and with it this process can."""
        os.close(os.open(manifest, os.O_WRONLY | os.O_NONBLOCK))

    async def open_in_time() -> None:
        opened = Stores(settings, identity)
        store = await opened.open(PARTITION, Until(time.monotonic() + 0.2))
        assert store.meta is None
        store.close()
        # What waits there may still write: it is not asked a second time.
        assert opened.snapshots is None
        store = await opened.open(PARTITION, Until())
        store.close()

    async def give_up() -> None:
        """As the next rebalance does."""
        opening = asyncio.create_task(Stores(settings, identity).open(PARTITION, Until()))
        await asyncio.sleep(0.2)
        opening.cancel()
        done, _ = await asyncio.wait({opening}, timeout=10)
        assert done and opening.cancelled()

    async def run() -> None:
        for one in (open_in_time, give_up):
            try:
                await one()
            finally:
                let_go()

    asyncio.run(run())
