"""What the chaos suite does to a worker from within can still be done: a function that got another name would end it before."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from tests.brokers import ROOT
from tests.chaos.worker import CRASHED, POINTS

ARM_ALL = """
from tests.chaos import worker
for point in worker.POINTS:
    worker.arm(point, 10**9)
worker.slow_down(0.0)
"""

CLOCK_AHEAD = """
import asyncio, time
from datetime import timedelta
from agents import barrier, ledger
from agents.producer import Producer, Record
from tests.chaos.worker import put_clock_ahead

now, today, sent = time.time(), barrier.today(), []

async def send_partition(self, topic, partition, records):
    sent.extend(records)

Producer._send_partition = send_partition
put_clock_ahead(1)
asyncio.run(Producer._send_partition(None, "topic", 0, [Record("topic", 0, b"key", b"value")]))
assert sent[0].timestamp_ms / 1000 > now + 86_000
assert ledger.today() >= today + timedelta(days=1)
"""

COPIES = """
from agents.store import Store
from tests.chaos import worker

def sent(self, forwards):
    print("sent", forwards, flush=True)

Store.sent = sent
worker.arm("ledger-after-copies", 2)
for forwards in ([], [1], [], [2], [3]):
    Store.sent(None, forwards)
"""


def run(program: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: functions are replaced, or it is to die."""
    return subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=150, check=False
    )


@pytest.mark.parametrize("program", [ARM_ALL, CLOCK_AHEAD], ids=["every crash point", "a clock ahead"])
def test_it_can_be_done(program: str) -> None:
    done = run(program)
    assert done.returncode == 0, done.stderr


def test_a_process_dies_at_its_point_and_says_so() -> None:
    """When copies are sent for the second time, before the store knows of it; what has no copies does not count."""
    done = run(COPIES)
    assert done.returncode == -signal.SIGKILL
    assert done.stdout.split("\n") == ["sent []", "sent [1]", "sent []", ""]
    assert done.stderr.splitlines()[-1] == f"{CRASHED}ledger-after-copies"
    assert "ledger-after-copies" in POINTS
