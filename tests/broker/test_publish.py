"""`lampit publish` on real brokers: nothing lost, the right topics, resuming, interruption, failure."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaConsumer, TopicPartition

from agents.topics import INTAKE_TOPICS
from lampit.broker import EmbeddedBroker
from tests.broker.workers import wait_for
from tests.brokers import ROOT, Broker

NIK = "1605024203190001"

MANY, SLOWLY = 10_000, "100"
"""Lines, and how many of them a second: it goes on for more than a minute, and is ended in the middle of it on any machine."""


def environment(broker: Broker) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("LAMPIT_")}
    return inherited | {
        "PYTHONPATH": str(ROOT),
        "LAMPIT_BOOTSTRAP_SERVERS": broker.bootstrap_servers,
        "LAMPIT_TRANSACTIONS": str(broker.transactions).lower(),
        "LAMPIT_PARTITIONS": "2",
    }


def start(broker: Broker, *arguments: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "lampit", "publish", *map(str, arguments)],
        env=environment(broker),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def publish(broker: Broker, *arguments: str | Path, stdin: str = "", exit_code: int = 0) -> dict[str, Any]:
    process = start(broker, *arguments, "--json")
    stdout, stderr = process.communicate(stdin, timeout=90)
    assert process.returncode == exit_code, stderr
    assert NIK not in stdout + stderr
    summary: dict[str, Any] = json.loads(stdout) if stdout else {"stderr": stderr}
    return summary


def intake(broker: Broker) -> list[tuple[str, bytes | None, bytes]]:
    """Everything on the intake topics: topic, key, value."""
    consumer = KafkaConsumer(bootstrap_servers=broker.bootstrap_servers, auto_offset_reset="earliest")
    try:
        wait_for(lambda: set(INTAKE_TOPICS) <= consumer.topics(), "the intake topics are known")
        partitions = [TopicPartition(t, p) for t in INTAKE_TOPICS for p in consumer.partitions_for_topic(t) or ()]
        consumer.assign(partitions)
        consumer.seek_to_beginning()
        ends = consumer.end_offsets(partitions)
        records = []
        found = 1
        # The embedded broker tells the beginning of the last batch as the end: read until nothing more comes.
        while found or any(consumer.position(tp) < end for tp, end in ends.items()):
            batches = consumer.poll(timeout_ms=500).values()
            found = sum(map(len, batches))
            records += [(record.topic, record.key, record.value) for batch in batches for record in batch]
        return records
    finally:
        consumer.close()


def event(kind: str, number: int = 0, nik: str = NIK) -> bytes:
    return json.dumps({"type": f"lampit.{kind}.v1", "id": f"{number:06}", "data": {"nik": nik}}).encode()


def write(file: Path, lines: list[bytes]) -> Path:
    file.write_bytes(b"".join(line + b"\n" for line in lines))
    return file


def test_each_line_goes_as_it_is_to_the_topic_of_its_family(empty_broker: Broker, tmp_path: Path) -> None:
    families = {
        "birth": "birth", "death": "death", "move_out": "move-out", "move_in": "move-in", "recording": "recording",
        "register": "civil", "marriage": "civil", "cancellation": "civil", "opening_balance": "civil", "unheard": "civil",
    }  # fmt: skip
    lines = {event(kind): f"lampit.intake.{topic}" for kind, topic in families.items()}
    unreadable = [
        b"{",
        b"null",
        b'"type"',
        b"\xff\xfe",
        b'{"type": 5}',
        b'{"type":"lampit.birth.v1","data":[]}',
        b"[" * 9000,
    ]
    lines |= dict.fromkeys(unreadable, "lampit.intake.civil")
    keyless = event("birth", nik="160502")
    lines[keyless] = "lampit.intake.birth"
    file = tmp_path / "events.jsonl.gz"
    file.write_bytes(gzip.compress(b"\n\n".join(lines)))

    summary = publish(empty_broker, file)

    records = intake(empty_broker)
    assert {value: topic for topic, _, value in records} == lines
    assert len(records) == len(lines) == summary["published"]
    assert summary["no_events"] == len(unreadable)
    keys = {value: key for _, key, value in records}
    assert keys[event("birth")] == keys[event("marriage")] == NIK.encode()
    assert keys[keyless] is None
    assert {keys[line] for line in unreadable} == {None}


def test_a_second_run_sends_only_what_is_new(empty_broker: Broker, tmp_path: Path) -> None:
    lines = [event("birth", number) for number in range(3000)]
    file = write(tmp_path / "events.jsonl", lines)
    assert publish(empty_broker, file)["published"] == 3000
    again = publish(empty_broker, file)
    assert (again["published"], again["already_published"]) == (0, 3000)
    state = (tmp_path / "events.jsonl.lampit-publish").read_text()
    assert NIK not in state

    more = [event("death", number) for number in range(50)]
    write(file, lines + more)
    assert publish(empty_broker, file)["published"] == 50
    assert Counter(value for _, _, value in intake(empty_broker)) == Counter(lines + more)

    assert publish(empty_broker, file, "--no-resume")["published"] == 3050

    write(file, [b"{}", *lines])
    assert publish(empty_broker, file)["published"] == 3001
    write(file, lines[:10])
    changed = publish(empty_broker, file)
    assert (changed["published"], changed["already_published"], changed["changed"]) == (10, 0, [str(file)])


def test_standard_input_with_a_state_of_its_own(empty_broker: Broker, tmp_path: Path) -> None:
    lines = "".join(event("birth", number).decode() + "\n" for number in range(20))
    state = tmp_path / "position"
    assert publish(empty_broker, "-", "--state", state, stdin=lines)["published"] == 20
    assert publish(empty_broker, "-", "--state", state, stdin=lines)["published"] == 0
    assert publish(empty_broker, "-", stdin=lines)["published"] == 20
    assert [path.name for path in tmp_path.iterdir()] == ["position"]


def test_a_state_of_other_topics_is_not_used(tmp_path: Path) -> None:
    file = write(tmp_path / "events.jsonl", [event("birth", number) for number in range(5)])
    for _ in range(2):
        with EmbeddedBroker() as process:
            broker = Broker("embedded", process.bootstrap_servers, transactions=False)
            assert publish(broker, file)["published"] == 5


def test_rate(empty_broker: Broker, tmp_path: Path) -> None:
    file = write(tmp_path / "events.jsonl", [event("birth", number) for number in range(400)])
    summary = publish(empty_broker, file, "--rate", "200")
    assert 1.9 < summary["seconds"] < 80
    assert summary["rate"] <= 210


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_it_saves_and_goes_on(
    empty_broker: Broker, tmp_path: Path, number: signal.Signals, exit_code: int
) -> None:
    lines = [event("birth", line) for line in range(MANY)]
    file = write(tmp_path / "events.jsonl", lines)
    state = tmp_path / "events.jsonl.lampit-publish"
    process = start(empty_broker, file, "--rate", SLOWLY, "--json")
    wait_for(lambda: state.exists() and saved_line(state) > 100, "some lines acknowledged and saved")
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=90)
    assert process.returncode == exit_code, stderr
    first = json.loads(stdout)
    assert first["interrupted"]
    assert 100 < first["published"] < MANY
    assert saved_line(state) == first["published"], "what was in flight is waited for"

    second = publish(empty_broker, file)
    assert first["published"] + second["published"] == MANY
    assert Counter(value for _, _, value in intake(empty_broker)) == Counter(lines)


def test_killed_it_repeats_a_little_and_loses_nothing(empty_broker: Broker, tmp_path: Path) -> None:
    lines = [event("birth", line) for line in range(MANY)]
    file = write(tmp_path / "events.jsonl", lines)
    state = tmp_path / "events.jsonl.lampit-publish"
    process = start(empty_broker, file, "--rate", SLOWLY)
    wait_for(lambda: state.exists() and saved_line(state) > 100, "some lines acknowledged and saved")
    process.kill()
    process.communicate()
    assert 0 < publish(empty_broker, file)["published"] < MANY
    sent = Counter(value for _, _, value in intake(empty_broker))
    assert set(sent) == set(lines)
    assert max(sent.values()) <= 2


@pytest.mark.chaos
def test_a_broker_that_goes_away_is_told_and_the_rest_is_sent_later(tmp_path: Path) -> None:
    """The delivery time-out is a minute; the test waits for it."""
    lines = [event("birth", line) for line in range(MANY)]
    file = write(tmp_path / "events.jsonl", lines)
    state = tmp_path / "events.jsonl.lampit-publish"
    with EmbeddedBroker() as broker:
        process = start(Broker("embedded", broker.bootstrap_servers, transactions=False), file, "--rate", SLOWLY)
        wait_for(lambda: state.exists() and saved_line(state) > 100, "some lines acknowledged and saved")
        assert broker.pid is not None
        os.kill(broker.pid, signal.SIGKILL)  # a broker that is asked to stop serves its connections to their end
    began = time.monotonic()
    stdout, stderr = process.communicate(timeout=100)
    assert process.returncode == 1, stderr
    assert stdout == ""
    assert "The same command goes on from there." in stderr
    assert NIK not in stderr
    assert 100 < saved_line(state) < MANY
    assert time.monotonic() - began < 90


def test_a_line_that_fits_no_topic_is_named_and_the_others_are_sent(broker: Broker, tmp_path: Path) -> None:
    large = b'{"type": "lampit.birth.v1", "id": "' + os.urandom(3_900_000).hex().encode() + b'"}'
    file = write(tmp_path / "events.jsonl", [event("birth"), b"x" * 9_000_000, large, event("death")])
    summary = publish(broker, file, exit_code=1)
    assert summary["published"] == 3
    assert [one["line"] for one in summary["too_long"]] == [2]


def test_a_file_of_another_kind_is_published_and_said_to_be_none(broker: Broker, tmp_path: Path) -> None:
    file = write(tmp_path / "events.csv", [f"{NIK},birth,{number}".encode() for number in range(3)])
    process = start(broker, file)
    said, complained = process.communicate(timeout=90)
    assert (process.returncode, said.split(" events")[0]) == (0, "3")
    assert complained.startswith("3 lines are no events, and intake will put them on lampit.rejected: ")
    assert NIK not in said + complained


def saved_line(state: Path) -> int:
    (saved,) = json.loads(state.read_text())["files"].values()
    line: int = saved["line"]
    return line
