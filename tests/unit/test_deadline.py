"""A worker that is asked to stop in the middle of a long batch ends within its deadline all the same."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agents.app import EXIT_FAILED
from tests.brokers import ROOT

BATCH_SECONDS = 20.0
SHUTDOWN_SECONDS = 1

WORKER = """
import asyncio, sys, time
from pathlib import Path
from agents.app import Worker, create_app
from agents.settings import Settings

app = create_app("ledger", Settings(data_dir=Path(sys.argv[1]), shutdown_seconds=int(sys.argv[2])))
loop = asyncio.new_event_loop()
Worker(app, loop=loop).install_signal_handlers()

async def batch():
    print("at work", flush=True)
    until = time.monotonic() + float(sys.argv[3])
    while time.monotonic() < until:
        pass

loop.run_until_complete(batch())
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_deadline_begins_with_the_signal_not_after_the_batch(tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-c", WORKER, str(tmp_path), str(SHUTDOWN_SECONDS), str(BATCH_SECONDS)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as worker:
        assert worker.stdout is not None and worker.stdout.readline() == "at work\n"
        began = time.monotonic()
        worker.send_signal(number)
        assert worker.wait(2 * BATCH_SECONDS) == EXIT_FAILED
        assert time.monotonic() - began < BATCH_SECONDS / 2
