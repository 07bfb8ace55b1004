"""`lampit publish` where nobody answers: it waits as long as brokers may take to begin, says so, and ends with one sentence."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from threading import Timer

import pytest
from click.testing import CliRunner
from kafka import KafkaAdminClient

from agents import connection
from agents.topics import ensure_topics
from lampit.broker import free_port
from lampit.cli import lampit


class ToldFirst(Timer):
    """It tells before it is called off, however late its thread comes to it."""

    def cancel(self) -> None:
        self.join()


def test_no_broker_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds_max = 1
    assert seconds_max < connection.TELL_AFTER_SECONDS
    monkeypatch.setattr(connection, "TELL_AFTER_SECONDS", 3600.0)  # on a busy machine a second of waiting may last many
    monkeypatch.setattr("lampit.publish.ensure_topics", partial(ensure_topics, broker_seconds_max=seconds_max))
    nobody = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("LAMPIT_BOOTSTRAP_SERVERS", nobody)
    file = tmp_path / "events.jsonl"
    file.write_text('{"type":"lampit.birth.v1","id":"1","data":{"nik":"1605024203190001"}}\n', encoding="utf-8")
    answer = CliRunner().invoke(lampit, ["publish", str(file), "--json"])
    assert answer.exit_code == 2
    assert f"No Kafka broker answers at {nobody}" in answer.stderr
    assert len(answer.stderr.splitlines()) == 1, "a moment is not told"
    assert "1605024203190001" not in answer.output


def test_that_a_broker_is_waited_for_is_said_before_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command that makes or checks the topics said nothing for 30 s."""
    monkeypatch.setattr(connection, "TELL_AFTER_SECONDS", 0.1)
    monkeypatch.setattr(connection, "Timer", ToldFirst)
    monkeypatch.setattr("lampit.publish.ensure_topics", partial(ensure_topics, broker_seconds_max=1))
    nobody = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("LAMPIT_BOOTSTRAP_SERVERS", nobody)
    (tmp_path / "events.jsonl").write_text("{}\n", encoding="utf-8")
    answer = CliRunner().invoke(lampit, ["publish", str(tmp_path / "events.jsonl"), "--json"])
    said = answer.stderr.splitlines()
    assert said[0] == f"waiting for a broker at {nobody}, up to 1 s ..." and len(said) == 2
    assert answer.stdout == ""


def test_a_broker_that_goes_away_behind_the_topics_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was there when they were made, and is not when they are told apart."""
    monkeypatch.setattr("lampit.publish.ensure_topics", lambda settings: [])
    monkeypatch.setattr("agents.topics.KafkaAdminClient", partial(KafkaAdminClient, bootstrap_timeout_ms=200))
    monkeypatch.setenv("LAMPIT_BOOTSTRAP_SERVERS", f"127.0.0.1:{free_port()}")
    (tmp_path / "events.jsonl").write_text("{}\n", encoding="utf-8")
    answer = CliRunner().invoke(lampit, ["publish", str(tmp_path / "events.jsonl")])
    assert answer.exit_code == 1
    assert answer.stderr.startswith("The brokers went away while the topics were looked at (KafkaTimeoutError)")
