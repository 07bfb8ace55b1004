"""The archive holds a ledger to account: verified against its broker, replayed into another one, counted there alike."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

from agents.signing import make_key
from agents.topics import COVERAGE, LEDGER
from lampit.audit.archive import Archive
from tests.brokers import ROOT, Broker, KafkaBroker, topics
from tests.live import Event, Live
from tests.scenario_files import load_scenarios

PARTITIONS = 2
DAYS = (date(2019, 3, 1), date(2019, 3, 28))
NOT_MERGED = "lampit.nik_change.v1"


def events() -> list[Event]:
    """The events of all scenarios that need no setting of their own."""
    return [
        event
        for scenario in load_scenarios()
        if not scenario.settings and not any(event["type"] == NOT_MERGED for event in scenario.events)
        for event in scenario.events
    ]


def lampit(live: Live, *arguments: str | Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "lampit", *map(str, arguments)]
    environment = live.environment("command", 6066) | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    del environment["LAMPIT_BOOTSTRAP_SERVERS"]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def answer(live: Live, *arguments: str | Path) -> tuple[int, dict[str, Any]]:
    process = lampit(live, *arguments, "--json")
    said, complained = process.communicate(timeout=300)
    assert said, complained
    return process.returncode, json.loads(said)


def wait_until_counted(live: Live, as_of: date) -> dict[str, Event]:
    """The coverage that covers the last record of every partition, without where it was counted."""
    ends = live._last_offsets(LEDGER, PARTITIONS)

    def is_counted() -> bool:
        country = live.coverage().get("ID", {})
        position = country.get("position", {})
        return country.get("as_of") == as_of.isoformat() and all(
            position.get(str(number), 0) >= end for number, end in ends.items()
        )

    live.wait_until(is_counted, "the coverage of everything")
    return {
        region: {name: value for name, value in record.items() if name != "position"}
        for region, record in live.coverage().items()
    }


def test_archived_verified_replayed_and_counted_alike(kafka: Broker, tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    make_key(tmp_path / "archive.key", tmp_path / "archive.key.pub")
    settings = {
        "LAMPIT_ARCHIVE_URL": str(archive),
        "LAMPIT_ARCHIVE_KEY_FILE": str(tmp_path / "archive.key"),
        "LAMPIT_ARCHIVE_SEGMENT_RECORDS": "64",
    }
    sent = events()
    with Live(kafka, tmp_path, partitions=PARTITIONS, settings=settings) as live:
        for role in ("intake", "ledger", "rollup", "archive"):
            live.start(role)
        live.turn_day(DAYS[0])
        live.publish(sent[: len(sent) // 2])
        live.wait_until_counted(DAYS[0])
        live.publish(sent[len(sent) // 2 :])
        live.wait_until_counted(DAYS[0])
        verify = (
            "audit",
            "verify",
            "--public-key",
            tmp_path / "archive.key.pub",
            "--bootstrap",
            kafka.bootstrap_servers,
        )
        live.wait_until(lambda: _is_begun(archive), "the archive")
        # What waits for the end of its segment is compared too: it is read from the log.
        code, report = answer(live, *verify)
        assert (code, report["agreement"]["status"]) == (0, "equal"), report
        assert report["agreement"]["from_the_log"] > 0

        live.turn_day(DAYS[1])
        original = wait_until_counted(live, DAYS[1])
        live.wait_until(lambda: _is_archived(archive, live), "the archive of the last day")
        live.wait_until(lambda: answer(live, *verify)[1]["heads"] == len(DAYS) * PARTITIONS, "the heads")
        code, report = answer(live, *verify)
        assert (code, report["agreement"]["status"], report["findings"]) == (0, "equal", [])
        assert report["agreement"]["regions"] == len(original) > 20
        assert report["agreement"]["from_the_log"] == 0

        _what_nobody_published_is_found(live, *verify)

    with KafkaBroker() as second:
        (tmp_path / "second").mkdir()
        other = Live(second.broker, tmp_path / "second", partitions=PARTITIONS)
        replay = ("replay", "--archive", archive, "--to", second.bootstrap_servers)
        killed = lampit(other, *replay, "--rate", "20")  # a minute: it is killed in the middle of it on any machine
        live.wait_until(lambda: LEDGER in topics(second.bootstrap_servers), "the topics of the replay")
        live.wait_until(lambda: len(other.read(LEDGER, PARTITIONS)) > 100, "some records of the replay")
        killed.send_signal(signal.SIGKILL)
        killed.communicate()
        there = len(other.read(LEDGER, PARTITIONS))
        code, summary = answer(other, *replay)
        kept = list(Archive.open(str(archive)).records())
        assert (code, summary["already"], summary["replayed"]) == (0, there, len(kept) - there)
        assert 100 < there < len(kept)
        there_now = other.read(LEDGER, PARTITIONS)
        assert [(one.partition, one.key, one.value, one.timestamp) for one in there_now] == [
            (one.partition, one.key, one.value, one.timestamp_ms) for one in kept
        ]
        assert answer(other, *replay)[1]["replayed"] == 0
        refused = lampit(other, *replay, "--region", "16.05")
        assert "use a fresh cluster" in refused.communicate(timeout=120)[1]
        assert refused.returncode == 2

        with other:
            other.start("ledger")
            other.start("rollup")
            assert wait_until_counted(other, DAYS[1]) == original


def _what_nobody_published_is_found(live: Live, *verify: str | Path) -> None:
    with live.producer() as forger:
        forger.send(COVERAGE, b"{", key=b"16.05", partition=0)
    code, report = answer(live, *verify)
    (difference,) = report["agreement"]["differences"]
    assert (code, report["findings"]) == (1, [])
    assert re.fullmatch(r"lampit.coverage offset [0-9]+: no coverage record that Lampit published", difference)


def _is_begun(archive: Path) -> bool:
    """Whether every partition has its first segment: the folder is there before the manifest."""
    ledger = archive / "ledger"
    return all((ledger / f"partition={number:05}" / "manifest.jsonl").exists() for number in range(PARTITIONS))


def _is_archived(archive: Path, live: Live) -> bool:
    ends = live._last_offsets(LEDGER, PARTITIONS)
    return Archive.open(str(archive)).next_offsets() == ends
