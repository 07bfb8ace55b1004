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

BATCH_SECONDS = 600.0
"""Whoever waits for it is found out, however slow the machine is."""

ENDS_SECONDS_MAX = 100.0
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
        worker.send_signal(number)
        assert exit_code(worker) == EXIT_FAILED


def exit_code(worker: subprocess.Popen[str]) -> int:
    """Of a process that is to end by itself, long before its batch would."""
    try:
        return worker.wait(ENDS_SECONDS_MAX)
    finally:
        worker.kill()


@pytest.mark.parametrize("snapshot_url", [None, "snapshots"])
def test_a_takeover_has_as_long_with_snapshots_as_without(snapshot_url: str | None, tmp_path: Path) -> None:
    """Either way it reads the lists of anomalies: 64 partitions of 40,000 people each take 24 s beside a broker."""
    app = create_app("ledger", Settings(data_dir=tmp_path, snapshot_url=snapshot_url))
    assert app.conf.broker_request_timeout == BEGIN_SECONDS_MAX


FAILURE = """
import os, threading
from agents.app import die
from agents.errors import Fenced
from agents.logs import configure_logging

configure_logging()
reading, writing = os.pipe()
os.dup2(writing, 2)
os.set_blocking(2, False)
try:
    while True:
        os.write(2, b"x")
except BlockingIOError:
    os.set_blocking(2, True)
print("full", flush=True)
die(Fenced("a newer worker writes here now"))
"""


def ended(program: str, said_first: str) -> int:
    """The exit code of a program that ends by itself after its first line."""
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None and worker.stdout.readline() == f"{said_first}\n"
        return exit_code(worker)


def test_a_failure_ends_the_process_though_nobody_reads_its_log() -> None:
    """The last line waited for a reader, and the worker that is no longer to write anything with it."""
    assert ended(FAILURE, said_first="full") == EXIT_FAILED


TWO_SIGNALS = """
import sys, threading
from agents.app import ending_after

begin_to_end = ending_after(0.2)

def in_the_middle(frame, event, _):
    # At every line of Python's own `threading`, as a signal may come.
    if frame.f_code.co_filename == threading.__file__:
        if event == "line":
            sys.settrace(None)
            begin_to_end()
            sys.settrace(in_the_middle)
        return in_the_middle

print("at work", flush=True)
sys.settrace(in_the_middle)
begin_to_end()
sys.settrace(None)
threading.Event().wait()
"""


def test_a_signal_in_the_middle_of_another_one_does_not_hold_up_the_end() -> None:
    """The handler of the second waited for a lock that the first one held, and with it the process, for ever."""
    assert ended(TWO_SIGNALS, said_first="at work") == EXIT_FAILED
