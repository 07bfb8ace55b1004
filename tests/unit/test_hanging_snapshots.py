"""A place of snapshots that hangs, as a file server can, holds nobody up: a store is built from the log, none is saved."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

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
    if manifest.exists():
        let_go(manifest)


def let_go(manifest: Path) -> None:
    """The thread that waits at the pipe ends, and with it this process can. One that comes later finds no pipe."""
    both_ends = os.open(manifest, os.O_RDWR)  # to open the one of who writes fails as long as nobody is there who reads
    manifest.unlink()
    os.close(both_ends)


def test_a_worker_goes_on_without_writing_snapshots(
    place: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(threads, "HANG_SECONDS_MAX", 0.2)
    sent: list[Callable[[], Any]] = []
    to_thread = asyncio.to_thread

    async def counted(call: Callable[[], Any]) -> Any:
        sent.append(call)
        return await to_thread(call)

    monkeypatch.setattr(asyncio, "to_thread", counted)

    async def run() -> None:
        snapshots = Snapshots(place.snapshot_url or "", "ours")
        app = create_app("ledger", place)
        saver = Saver(app, snapshots, 3600.0, {}, lambda _: asyncio.Lock(), lambda _: place.data_dir, "")
        await saver._turn(PARTITION)
        assert caplog.messages == [f"partition {PARTITION}: no snapshot is written: their place does not answer"]
        assert len(sent) == 1
        await saver._turn(PARTITION)  # while that thread is away no other is sent after it
        assert len(sent) == 1
        assert saver._left is not None and not saver._left.done()
        let_go(next(snapshots_of(place)))
        await asyncio.wait({saver._left})
        monkeypatch.setattr(threads, "HANG_SECONDS_MAX", 3600.0)  # a place that answers may take its time
        del saver._due[PARTITION]  # as of one that is new here
        await saver._turn(PARTITION)
        assert len(sent) == 2  # it was asked again
        assert len(caplog.messages) == 2

    asyncio.run(run())


def snapshots_of(place: Settings) -> Iterator[Path]:
    """The manifests there."""
    return Path(place.snapshot_url or "").rglob(f"*{MANIFEST}")


def test_doctor_says_that_a_place_hangs(place: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "PLACE_SECONDS_MAX", 0.2)
    log = Log({PARTITION: 100}, Genesis("ours", 2, 0, "fingerprint"))
    found = local._snapshots(place, place.snapshot_url or "", log)
    assert (found.status, found.saw) == ("problem", "LAMPIT_SNAPSHOT_URL does not answer within 0 s")


def test_a_place_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe that nobody writes to stands for it: to open it waits for ever, and no deadline was looked at meanwhile."""
    monkeypatch.setattr(threads, "HANG_SECONDS_MAX", 0.2)
    settings = Settings(partitions=2, data_dir=tmp_path / "data", snapshot_url=str(tmp_path / "snapshots"))
    identity = LedgerIdentity("ours", 2, rules_of(settings), reference.load().digest)
    folder = tmp_path / "snapshots" / "ours" / f"partition={PARTITION:05}"
    folder.mkdir(parents=True)
    manifest = folder / f"{7:020}-3-{0:016x}{MANIFEST}"
    is_there = threading.Event()
    fitting = Snapshots.fitting

    def looked_at(*asked: Any) -> Any:
        is_there.set()
        return fitting(*asked)

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

        async def ended(thread: asyncio.Future[Any], *_: Any) -> None:
            """It is not found to hang before it is given up, however late that comes."""
            await asyncio.wait({thread})

        monkeypatch.setattr(threads, "_ended", ended)
        monkeypatch.setattr(Snapshots, "fitting", looked_at)
        opening = asyncio.create_task(Stores(settings, identity).open(PARTITION, Until()))
        while not is_there.is_set():
            await asyncio.sleep(0.01)
        opening.cancel()
        await asyncio.wait({opening})
        assert opening.cancelled()

    async def run() -> None:
        for one in (open_in_time, give_up):
            os.mkfifo(manifest)
            try:
                await one()
            finally:
                let_go(manifest)

    asyncio.run(run())
