"""`lampit demo`, from end to end: the embedded broker, the real agents, the page; and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from lampit.demo.check import differences
from tests.brokers import ROOT

SECONDS_MAX = 150.0
STOP_SECONDS_MAX = 90.0
"""Each of its four processes has ten seconds to end by itself."""

ANSWER_SECONDS_MAX = 60.0


@contextmanager
def demo(*options: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """The command, with every file it makes under `folder`."""
    process = subprocess.Popen(
        [sys.executable, "-m", "lampit", "demo", "--json", *options],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                process.kill()
        process.communicate()


def test_once_gives_what_a_count_at_once_gives(tmp_path: Path) -> None:
    with demo("--once", "--days", "3", folder=tmp_path) as process:
        out, err = process.communicate(timeout=SECONDS_MAX)
    assert process.returncode == 0, err
    result = json.loads(out)
    assert result["equal"] is True
    assert result["differences"] == []
    assert result["as_of"] == "2019-04-04"
    assert result["rejected"] == 3
    regions = {record["region"]: record for record in result["regions"]}
    assert len(regions) > 300
    assert regions["16.09"]["obliged"]["total"] < 270_764 < regions["15"]["obliged"]["total"]
    assert sum(regions["ID"]["position"].values()) > result["events"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_live_shows_the_page_and_stops_without_leaving_anything(tmp_path: Path, number: signal.Signals) -> None:
    with demo("--speed", "60", "--days", "2", folder=tmp_path) as process:
        assert process.stdout is not None
        where = json.loads(process.stdout.readline())
        assert b"<title>Lampit</title>" in get(where["page"])
        assert b'lampit_obliged{level="regency",region="16.09"} 270' in get(where["metrics"])
        assert json.loads(get(f"{where['page']}api/coverage/16.09/children"))["region"]["note"]["label"] == "published"
        assert json.loads(process.stdout.readline())["day"] == "2019-04-01"
        # A reader of changes must not keep it from stopping.
        with urllib.request.urlopen(f"{where['page']}api/changes", timeout=ANSWER_SECONDS_MAX) as stream:
            stream.readline()
            children = psutil.Process(process.pid).children(recursive=True)
            assert len(children) == 4, "the broker and three agents"
            process.send_signal(number)
            process.wait(STOP_SECONDS_MAX)
    assert process.returncode == 0
    assert psutil.wait_procs(children, timeout=STOP_SECONDS_MAX)[1] == []
    assert list(tmp_path.iterdir()) == []


INTERRUPTED_AT_A_FORK = """
import os, signal, sys
from lampit.cli import lampit
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell lets what it starts in the background ignore it
forks = []
def interrupt():
    forks.append(1)
    if len(forks) == int(sys.argv[1]):
        signal.raise_signal(signal.SIGINT)
os.register_at_fork(after_in_parent=interrupt)
lampit(["demo", "--json"], prog_name="lampit")
"""


@pytest.mark.parametrize("fork", [1, 3], ids=["broker", "agent"])
def test_an_interruption_while_a_process_is_begun_is_not_lost(tmp_path: Path, fork: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_AT_A_FORK, str(fork)],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )
    assert done.returncode == 130, done.stderr
    assert "Interrupted." in done.stderr and "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=ANSWER_SECONDS_MAX) as answer:
        body: bytes = answer.read()
    return body


def test_a_port_in_use_is_refused_with_a_sentence(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with demo("--port", str(taken.getsockname()[1]), folder=tmp_path) as process:
            _, err = process.communicate(timeout=SECONDS_MAX)
    assert process.returncode == 2
    assert "--port" in err


def record(region: str, recorded: int) -> dict[str, Any]:
    count = {"M": None, "F": None, "unknown": None, "total": 0}
    measures = ("population", "obliged", "recorded_early", "print_ready", "issued")
    return {"region": region, **dict.fromkeys(measures, count), "recorded": {**count, "total": recorded}}


def test_a_difference_is_found_wherever_it_is() -> None:
    published = {region: {**record(region, 1), "epoch": 1, "position": {"0": 7}} for region in ("15", "16")}
    assert differences(published, [record("15", 1), record("16", 1)]) == []
    assert [one.region for one in differences(published, [record("15", 1), record("16", 2)])] == ["16"]
    assert [one.region for one in differences(published, [record("15", 1)])] == ["16"]
    assert [one.region for one in differences(published, [*map(published.get, published), record("17", 1)])] == ["17"]
    assert differences(published, [*map(published.get, published), record("17", 0)]) == [], "zeros are nothing"
