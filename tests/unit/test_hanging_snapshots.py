"""A place of snapshots that hangs, as a file server can, holds up no takeover: the store is built from the log."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from agents import stores
from agents.barrier import LedgerIdentity, rules_of
from agents.settings import Settings
from agents.snapshots import Until
from agents.stores import Stores
from lampit import reference
from stream.snapshot import MANIFEST

PARTITION = 1


@pytest.mark.timeout(30)
def test_a_place_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe that nobody writes to stands for it: to open it waits for ever, and no deadline was looked at meanwhile."""
    monkeypatch.setattr(stores, "HANG_SECONDS_MAX", 0.2)
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
