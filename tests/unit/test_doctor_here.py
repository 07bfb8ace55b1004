"""What `lampit doctor` makes of this machine, and of a process that answers, one thing wrong at a time."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from agents.settings import Settings
from lampit.doctor import local

READY = {"caught_up": {"ok": True}}
BEHIND = {"assigned": {"ok": True}, "caught_up": {"ok": False, "why": "records wait for 40 s"}}


class Answers(HTTPServer):
    """A process whose page says what it is told to, by a clock of its own."""

    status: int = 200
    conditions: object = READY
    ahead = timedelta()


class _Page(BaseHTTPRequestHandler):
    server: Answers

    def do_GET(self) -> None:
        """`/health/ready`."""
        assert self.path == "/health/ready"
        page = {} if self.server.conditions is None else {"conditions": self.server.conditions}
        body = json.dumps(page).encode()
        self.send_response_only(self.server.status)
        self.send_header("Date", format_datetime(datetime.now(UTC) + self.server.ahead, usegmt=True))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *values: object) -> None:
        """No lines."""


@pytest.fixture
def process() -> Iterator[Answers]:
    with Answers(("127.0.0.1", 0), _Page) as server:
        serving = threading.Thread(target=server.serve_forever, daemon=True)
        serving.start()
        yield server
        server.shutdown()
        serving.join()


@pytest.mark.parametrize(
    ("status", "conditions", "ahead", "expected", "saw"),
    [
        (200, READY, 0, "ok", "ready"),
        (200, READY, 60, "problem", "its clock says"),
        (200, READY, -60, "problem", "its clock says"),
        (503, BEHIND, 0, "warning", "not ready (caught_up: records wait for 40 s)"),
        (503, {"assigned": {"ok": False}}, 0, "warning", "not ready (assigned)"),
        (200, None, 0, "problem", "no answer (KeyError)"),
    ],
)
def test_a_process(process: Answers, status: int, conditions: object, ahead: int, expected: str, saw: str) -> None:
    process.status, process.conditions, process.ahead = status, conditions, timedelta(seconds=ahead)
    found = local._process(f"http://127.0.0.1:{process.server_port}/")
    assert found.status == expected
    assert saw in found.saw
    assert bool(found.todo) == (expected != "ok")


@pytest.mark.parametrize(
    ("least", "much", "expected"), [(0, 0, "ok"), (0, 2**63, "warning"), (2**63, 2**63, "problem")]
)
def test_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, least: int, much: int, expected: str) -> None:
    """Of the disk of a data directory, also of one that is not there yet."""
    monkeypatch.setattr(local, "FREE_PROBLEM_BYTES", least)
    monkeypatch.setattr(local, "FREE_WARNING_BYTES", much)
    found = local._disk(Settings(data_dir=tmp_path / "not" / "there"))
    assert found.status == expected
    assert found.saw == f"{shutil.disk_usage(tmp_path).free / local.GIB:,.1f} GiB free for LAMPIT_DATA_DIR"
