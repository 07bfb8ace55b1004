"""`lampit doctor` on a real Kafka: an installation that is well, one with things broken, and that it changes nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient

from agents.topics import LEDGER, REJECTED
from lampit.broker import free_port
from lampit.run import AGENTS
from tests.broker.test_run import CASES, DAY, Lampit
from tests.broker.workers import wait_for
from tests.brokers import Broker, delete_topics, topics

SECONDS_MAX = 120


@pytest.fixture
def lampit(kafka: Broker, tmp_path: Path) -> Lampit:
    installation = Lampit(kafka, tmp_path)
    installation.environment["LAMPIT_SNAPSHOT_URL"] = str(tmp_path / "snapshots")
    return installation


@pytest.fixture
def stopped(lampit: Lampit) -> Iterator[Lampit]:
    """An installation that has counted a few events, and was then stopped; asked by `doctor` while it ran."""
    delete_topics(lampit.broker.bootstrap_servers)
    process = lampit.start()
    try:
        wait_for(lambda: "started" in (lampit.log.read_text() if lampit.log.exists() else ""), "agents", SECONDS_MAX)
        lampit("day", DAY)
        lampit.wait_ready(process)
        events = lampit.folder / "events.jsonl"  # publishing leaves its progress beside the file
        events.write_bytes((CASES / "exact-redelivery" / "events.jsonl").read_bytes())
        lampit("publish", events)
        addresses = [f"http://127.0.0.1:{lampit.port + number}" for number in range(len(AGENTS))]

        def is_well() -> dict[str, dict[str, Any]]:
            """What was found, once all is well."""
            assert process.poll() is None, lampit.log.read_text()
            code, found = asked(lampit, *addresses)
            # How much room this machine's disk has is no matter of the test.
            room = found.pop("disk")["status"]
            is_well = code == (room == "problem") and {one["status"] for one in found.values()} == {"ok"}
            return found if is_well else {}

        found = wait_for(is_well, "doctor finds nothing", SECONDS_MAX)
        assert {"settings", "broker", "genesis", "clock", "store 0", "store 1", LEDGER} <= found.keys()
        assert found["snapshots"]["saw"].startswith("2 of 2 partitions have one")
        assert found["genesis"]["saw"].endswith("2 partitions, the key is the one it was begun with")
        assert found["epoch"]["saw"] == "epoch 1 is counted under these settings and this region reference"
    finally:
        process.terminate()
        process.wait(SECONDS_MAX)
    yield lampit


def asked(
    lampit: Lampit, *addresses: str, broker_seconds: int = 60, **settings: str
) -> tuple[int, dict[str, dict[str, Any]]]:
    """The exit code, and what was found by name of the check."""
    options = [word for address in addresses for word in ("--process", address)]
    done = subprocess.run(
        [sys.executable, "-m", "lampit", "doctor", "--json", "--broker-seconds", str(broker_seconds), *options],
        env=lampit.environment | {f"LAMPIT_{name.upper()}": value for name, value in settings.items()},
        cwd=lampit.folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS_MAX,
    )
    assert done.returncode in (0, 1), done.stderr
    return done.returncode, {one["check"]: one for one in json.loads(done.stdout)["checks"]}


def held(lampit: Lampit) -> tuple[set[str], set[str], dict[str, bytes]]:
    """Everything that a question could change: topics, groups, the files of the stores."""
    admin = KafkaAdminClient(bootstrap_servers=lampit.broker.bootstrap_servers)
    try:
        groups = {one["group_id"] for one in admin.list_groups()}
    finally:
        admin.close()
    files = {str(path): path.read_bytes() for path in lampit.folder.glob("data/**/*") if path.is_file()}
    return topics(lampit.broker.bootstrap_servers), groups, files


def test_a_broker_without_lampit_stays_so(lampit: Lampit) -> None:
    """Before the first start: nothing is wrong, nothing is made."""
    delete_topics(lampit.broker.bootstrap_servers)
    before = held(lampit)
    code, found = asked(lampit, archive_url=str(lampit.folder / "archive"))
    assert {check for check, one in found.items() if one["status"] == "problem"} <= {"disk"}
    assert found["topics"]["status"] == found["archive"]["status"] == "warning"
    assert held(lampit) == before
    code, found = asked(lampit, bootstrap_servers=f"127.0.0.1:{free_port()}", broker_seconds=1)
    assert code == 1
    assert found["broker"]["status"] == "problem"
    assert "LAMPIT_BOOTSTRAP_SERVERS" in found["broker"]["todo"]


def test_what_is_broken_is_found_and_left_as_it_is(stopped: Lampit) -> None:
    """A retention that loses the history, no topic, a wrong key, other settings, a damaged store, no snapshot, no process."""
    admin = KafkaAdminClient(bootstrap_servers=stopped.broker.bootstrap_servers)
    try:
        admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, LEDGER, {"retention.ms": "86400000"})])
        admin.delete_topics([REJECTED])
    finally:
        admin.close()
    wait_for(lambda: REJECTED not in topics(stopped.broker.bootstrap_servers), "the topic is gone", SECONDS_MAX)
    (current,) = stopped.folder.glob("data/**/partition-1/CURRENT")
    current.write_bytes(b"no manifest\n")
    (manifest,) = stopped.folder.glob("snapshots/*/partition=00001/*.json")
    manifest.unlink()
    nobody = f"http://127.0.0.1:{free_port()}"
    before = held(stopped)

    code, found = asked(stopped, nobody, pseudonym_key_file=str(other_key(stopped.folder)), closing_day="27")

    assert code == 1
    assert {check for check, one in found.items() if one["status"] == "problem"} - {"disk"} == {
        LEDGER, REJECTED, "genesis", "epoch", "store 1", f"process {nobody}"
    }  # fmt: skip
    # The key being another one, it is not known which ledger the snapshots have to be of.
    assert found["snapshots"]["status"] == "ok" and "not known" in found["snapshots"]["saw"]
    _, found_with_key = asked(stopped)
    assert found_with_key["snapshots"]["status"] == "warning"
    assert found_with_key["snapshots"]["saw"].startswith("1 of 2 partitions have one")
    assert found[LEDGER]["saw"] == "retention.ms=86400000, expected is -1"
    assert "LAMPIT_PSEUDONYM_KEY_FILE" in found["genesis"]["todo"]
    assert "LAMPIT_CLOSING_DAY" in found["epoch"]["todo"]
    assert all(one["todo"] for one in found.values() if one["status"] != "ok")
    assert held(stopped) == before


def other_key(folder: Path) -> Path:
    """A key that the ledger was not begun with."""
    path = folder / "other.key"
    path.write_text("another key that only this test uses, of 32 bytes\n")
    return path


def test_settings_that_do_not_fit_are_said_as_at_start(lampit: Lampit) -> None:
    """One sentence, without anything else being asked."""
    code, found = asked(lampit, partitions="none")
    assert code == 1
    assert found.keys() == {"settings"}
    assert "LAMPIT_PARTITIONS" in found["settings"]["saw"] + found["settings"]["todo"]
