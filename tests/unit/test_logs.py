"""What is logged: in an outage of the brokers the Kafka clients' lines once in a while; of an exception what helps."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest
from aiokafka.errors import NotLeaderForPartitionError, TopicAuthorizationFailedError
from kafka.errors import KafkaConnectionError

from agents.errors import AddressInUse, ConfigurationError, LostWrite
from agents.logs import REPEATED_SECONDS, configure_logging, describe


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines since the last time, without their moments."""
    return [line.partition(" ")[2] for line in capsys.readouterr().err.splitlines()]


def test_what_a_kafka_client_repeats_is_told_once_in_a_while_with_how_often(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An outage of a minute wrote 23,700 lines."""
    now = 1_000.0
    monkeypatch.setattr("agents.logs.time", SimpleNamespace(monotonic=lambda: now))
    configure_logging()
    aiokafka, kafka, ours = (logging.getLogger(name) for name in ("aiokafka", "kafka.net.manager", "lampit.topics"))

    def outage() -> None:
        for node in range(100):
            aiokafka.error("Unable connect to node with id %s: %s", node, "refused")
            aiokafka.error("Unable to update metadata from %s", [node])
            kafka.error(f"Bootstrap attempt failed (backoff {node} secs)")
            ours.warning("partition %d waits", node)

    outage()
    lines = said(capsys)
    assert [line for line in lines if "lampit.topics" not in line] == [
        "ERROR aiokafka: Unable connect to node with id 0: refused",
        "ERROR aiokafka: Unable to update metadata from [0]",
        "ERROR kafka.net.manager: Bootstrap attempt failed (backoff 0 secs)",
    ]
    assert len(lines) == 103
    now += REPEATED_SECONDS
    outage()
    assert [line for line in said(capsys) if "lampit.topics" not in line] == [
        "ERROR aiokafka: Unable connect to node with id 0: refused (99 more like this since the last one)",
        "ERROR aiokafka: Unable to update metadata from [0] (99 more like this since the last one)",
        "ERROR kafka.net.manager: Bootstrap attempt failed (backoff 0 secs) (99 more like this since the last one)",
    ]


def test_what_a_kafka_client_tries_again_is_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    """A first start, on topics that were made a moment ago, told an error."""
    configure_logging()
    aiokafka, ours = logging.getLogger("aiokafka"), logging.getLogger("lampit.topics")
    aiokafka.error("Failed fetch offsets from %s: %s", 1, NotLeaderForPartitionError())
    aiokafka.error("Failed fetch offsets: %s", TopicAuthorizationFailedError())
    ours.error("Not led: %s", NotLeaderForPartitionError())
    logging.getLogger("kafka.net.manager").error("Connection failed: %s", KafkaConnectionError("refused"))
    assert [line.partition(":")[0] for line in said(capsys)] == [
        "WARNING aiokafka", "ERROR aiokafka", "ERROR lampit.topics", "WARNING kafka.net.manager",
    ]  # fmt: skip


@pytest.mark.parametrize("kind", [ConfigurationError, AddressInUse])
def test_what_is_no_defect_is_its_sentence_alone(kind: type[Exception]) -> None:
    """It ended with the places in our modules that it had passed."""
    sentence = "The web server cannot listen at 127.0.0.1:6066 (Address already in use): set LAMPIT_WEB_PORT."
    try:
        raise kind(sentence) from OSError("98")
    except kind as error:
        assert describe(error) == sentence


def test_a_defect_is_shown_with_the_places_it_passed() -> None:
    try:
        raise LostWrite("a record was not acknowledged")
    except LostWrite as error:
        assert describe(error).startswith("LostWrite: a record was not acknowledged [test_logs.py:")
