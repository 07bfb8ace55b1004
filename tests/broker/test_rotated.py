"""A ledger goes on under a newer key: replayed, counted on by processes with all its keys, and by no others."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from agents.barrier import ensure_ledger
from agents.errors import ConfigurationError
from agents.settings import Settings
from lampit import reference
from lampit.broker import EmbeddedBroker
from lampit.cli import lampit
from stream.pseudonym import Pseudonymiser
from tests.brokers import ROOT, Broker
from tests.counters import KEY
from tests.live import Event, Live
from tests.rotations import NEW_KEY, archived, fitting_key, made, rotate
from tests.scenario_files import load_scenarios

PARTITIONS = 2
DAY = date(2019, 6, 30)


class Rotated(Live):
    """A ledger whose processes get their keys from files."""

    key_files = ""

    def environment(self, name: str, port: int) -> dict[str, str]:
        environment = super().environment(name, port) | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
        del environment["LAMPIT_PSEUDONYM_KEY"]
        return environment | {"LAMPIT_PSEUDONYM_KEY_FILE": self.key_files}


def settings_of(broker: EmbeddedBroker) -> Settings:
    return Settings(bootstrap_servers=broker.bootstrap_servers, transactions=False, partitions=PARTITIONS)


def refusal(settings: Settings, *keys: bytes) -> str:
    """What a process with these keys says."""
    with pytest.raises(ConfigurationError) as refused:
        asyncio.run(ensure_ledger(settings, Pseudonymiser(*keys).fingerprint, reference.load()))
    return str(refused.value)


def events() -> list[Event]:
    """Those of all stories that need no setting."""
    return [event for scenario in load_scenarios() if not scenario.settings for event in scenario.events]


def test_a_rotated_ledger_goes_on(tmp_path: Path) -> None:
    """Half of the events are in the archive; the other half come in afterwards, of the same people."""
    sent = events()[::3]
    old = archived(tmp_path / "old", made(sent[::2], PARTITIONS, random.Random(1)), 500)
    key = fitting_key(old)
    rotate(old, tmp_path / "new", key)
    for name, content in (("first.key", KEY), ("second.key", key)):
        (tmp_path / name).write_bytes(content)
    with EmbeddedBroker() as embedded:
        live = Rotated(
            Broker("embedded", embedded.bootstrap_servers, transactions=False), tmp_path, partitions=PARTITIONS
        )
        live.key_files = f"{tmp_path / 'first.key'},{tmp_path / 'second.key'}"
        replay = [
            sys.executable,
            "-m",
            "lampit",
            "replay",
            "--archive",
            str(tmp_path / "new"),
            "--to",
            embedded.bootstrap_servers,
        ]
        done = subprocess.run(
            replay, env=live.environment("replay", 6066), capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, done.stderr
        for keys in ((KEY,), (key,), (key, KEY), (KEY, key, NEW_KEY)):
            assert "name the files of all 2 keys in LAMPIT_PSEUDONYM_KEY_FILE, oldest first" in refusal(
                settings_of(embedded), *keys
            )
        live.sent = sent[::2]
        try:
            live.key_files, right = str(tmp_path / "second.key"), live.key_files
            wrong = [live.start(role, f"wrong-{role}") for role in ("intake", "ledger")]
            assert [process.popen.wait(timeout=120) for process in wrong] == [2, 2]
            for process in wrong:
                assert "LAMPIT_PSEUDONYM_KEY_FILE, oldest first" in process.log.read_text()
            live.key_files = right
            for role in ("intake", "ledger", "rollup"):
                live.start(role)
            live.publish(sent[1::2])
            live.wait_until_taken_in()
            live.turn_day(DAY)
            assert not live.differences(DAY, live.wait_until_counted(DAY))
        finally:
            for process in live.processes:
                if process.popen.poll() is None:
                    process.kill()
        (tmp_path / "third.key").write_bytes(NEW_KEY)
        more = ["--new-key", str(tmp_path / "third.key"), "--bootstrap", embedded.bootstrap_servers]

        def rotate_again(archive: str) -> Result:
            arguments = ["rotate", "--archive", str(tmp_path / archive), "--to", str(tmp_path / "third"), "--dry-run"]
            return CliRunner().invoke(lampit, [*arguments, *more], env={"LAMPIT_TRANSACTIONS": "false"})

        # What came in since is not in the archive: it would be left behind.
        refused = rotate_again("new")
        assert refused.exit_code == 1
        assert "events that are not archived yet: stop intake" in refused.output
        # A broker that holds another ledger can say nothing about this one.
        mistaken = rotate_again("old")
        assert mistaken.exit_code == 2
        assert "is not the ledger that was archived: name its brokers in --bootstrap" in mistaken.output


def test_the_ledger_before_it_refuses_the_new_keys() -> None:
    with EmbeddedBroker() as embedded:
        settings = settings_of(embedded)
        asyncio.run(ensure_ledger(settings, Pseudonymiser(KEY).fingerprint, reference.load()))
        for keys in ((KEY, NEW_KEY), (NEW_KEY,), (NEW_KEY, KEY)):
            said = refusal(settings, *keys)
            assert "set LAMPIT_PSEUDONYM_KEY_FILE to the file of that key alone" in said
            assert "the ledger that it was rotated into" in said
        asyncio.run(ensure_ledger(settings, Pseudonymiser(KEY).fingerprint, reference.load()))
