"""A worker that cannot stop, in the middle of a long batch or of a line of its log, ends within its deadline all the same."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from agents.app import BEGIN_SECONDS_MAX, EXIT_FAILED, create_app
from agents.settings import Settings
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
    if sys.argv[4] == "log":
        sys.stderr.write("x" * 10_000_000)
    until = time.monotonic() + float(sys.argv[3])
    while time.monotonic() < until:
        pass

loop.run_until_complete(batch())
"""


@pytest.mark.parametrize(
    ("held_up_by", "number"), [("batch", signal.SIGTERM), ("batch", signal.SIGINT), ("log", signal.SIGTERM)]
)
def test_the_deadline_begins_with_the_signal(tmp_path: Path, held_up_by: str, number: signal.Signals) -> None:
    """Not after the batch; nor does it wait for a log that nobody reads any more."""
    command = [sys.executable, "-c", WORKER, str(tmp_path), str(SHUTDOWN_SECONDS), str(BATCH_SECONDS), held_up_by]
    log = subprocess.PIPE if held_up_by == "log" else subprocess.DEVNULL
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True) as worker:
        assert worker.stdout is not None and worker.stdout.readline() == "at work\n"
        while held_up_by == "log" and psutil.Process(worker.pid).status() != psutil.STATUS_SLEEPING:
            time.sleep(0.01)  # until the log takes no more
        began = time.monotonic()
        worker.send_signal(number)
        assert worker.wait(2 * BATCH_SECONDS) == EXIT_FAILED
        assert time.monotonic() - began < BATCH_SECONDS / 2


@pytest.mark.parametrize("snapshot_url", [None, "snapshots"])
def test_a_takeover_has_as_long_with_snapshots_as_without(snapshot_url: str | None, tmp_path: Path) -> None:
    """Either way it reads the lists of anomalies: 64 partitions of 40,000 people each take 24 s beside a broker."""
    app = create_app("ledger", Settings(data_dir=tmp_path, snapshot_url=snapshot_url))
    assert app.conf.broker_request_timeout == BEGIN_SECONDS_MAX
