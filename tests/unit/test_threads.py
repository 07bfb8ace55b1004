"""Work in threads that a stop does not wait for."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from agents.threads import in_daemon
from lampit.broker import free_port
from tests.brokers import ROOT

LOOKS: str = """
import asyncio
from functools import partial
from agents.settings import Settings
from agents.threads import in_daemon
from agents.topics import LEDGER, topic_ids

async def look():
    async with asyncio.timeout(1):
        await asyncio.wrap_future(in_daemon(partial(topic_ids, Settings(bootstrap_servers="127.0.0.1:{port}"), [LEDGER])))

try:
    asyncio.run(look())
except TimeoutError:
    print("left")
"""


def test_a_process_ends_while_it_looks_for_a_broker_in_vain() -> None:
    """Its client asks for half a minute, longer than a process may take to stop."""
    program = [sys.executable, "-c", LOOKS.format(port=free_port())]
    ended = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=20, check=True)
    assert ended.stdout == "left\n"


def test_it_gives_the_result_and_the_error_of_what_it_calls() -> None:
    def fail() -> None:
        raise ValueError("no")

    assert in_daemon(threading.current_thread).result() is not threading.main_thread()
    with pytest.raises(ValueError, match="no"):
        in_daemon(fail).result()
