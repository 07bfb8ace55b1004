"""A process is live from its start on, however long its group and its first `begin` take."""

from __future__ import annotations

import asyncio
from pathlib import Path

from agents.app import create_app
from agents.health import LOOP_SILENCE_SECONDS_MAX
from agents.settings import Settings


def test_a_process_is_live_before_its_first_recovery_is_over(tmp_path: Path) -> None:
    """Faust starts an app's tasks behind that; after 60 s of it, /health/live had the process started again."""

    async def run() -> None:
        app = create_app("ledger", Settings(data_dir=tmp_path))
        app.health.last_beat -= LOOP_SILENCE_SECONDS_MAX
        assert not app.health.live
        await app.on_start()  # nothing else of the app has been started
        async with asyncio.timeout(60):
            while not app.health.live:
                await asyncio.sleep(0)
        app._stopped.set()
        await app._stop_futures()

    asyncio.run(run())
