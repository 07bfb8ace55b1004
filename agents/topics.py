"""The topics of Lampit: what they have to look like, and making them so.

In: Settings. Out: `ensure_topics` makes what is missing and refuses what does not fit; `topic_ids` tells a topic from another
of its name; `is_partition_empty` and `first_record` for whoever writes and checks the genesis records. Callers: the command
before it starts agents; the agents.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from aiokafka.structs import ConsumerRecord, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient
from kafka.errors import KafkaError, KafkaTimeoutError, NoError, RetriableError, TopicAlreadyExistsError, for_code

from agents.connection import for_kafka_python, telling_of_wait
from agents.errors import ConfigurationError, LampitError, Unreachable
from agents.reading import READ_SECONDS_MAX, reader
from agents.settings import Settings

DAY_MS: Final = 86_400_000
INTAKE_FAMILIES: Final = ("birth", "death", "move-out", "move-in", "recording", "civil")
INTAKE_TOPICS: Final = tuple(f"lampit.intake.{family}" for family in INTAKE_FAMILIES)
LEDGER: Final = "lampit.ledger"
PARTIALS: Final = "lampit.partials"
COVERAGE: Final = "lampit.coverage"
REJECTED: Final = "lampit.rejected"
ANOMALIES: Final = "lampit.anomalies"
CLOSINGS: Final = "lampit.closings"
HEADS: Final = "lampit.heads"

METADATA_SECONDS_MAX: Final = 30
RECORD_BYTES_MAX: Final = 8 * 1024 * 1024
METADATA_PAUSE_SECONDS: Final = 0.1
BROKER_SECONDS_MAX: Final = 30.0
REPLICAS_FOR_QUORUM: Final = 3
NO_ID: Final = UUID(int=0)

logger = logging.getLogger("lampit.topics")


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as it has to be."""

    name: str
    partitions: int
    cleanup: str
    config: Mapping[str, str] = field(default_factory=dict)


def topics_of(settings: Settings) -> list[Topic]:
    """Every topic of Lampit."""
    many = settings.partitions
    # Oversized input should come in and be refused with a reason, not be lost at the producer's.
    intake = {"retention.ms": str(30 * DAY_MS), "max.message.bytes": str(RECORD_BYTES_MAX)}
    return [
        *(Topic(name, many, "delete", intake) for name in INTAKE_TOPICS),
        Topic(LEDGER, many, "delete", {"retention.ms": "-1", "retention.bytes": "-1"}),
        Topic(PARTIALS, 1, "compact"),
        Topic(COVERAGE, 1, "compact"),
        # Every key is written once and kept; compaction takes out what a crash made a roll-up write again.
        Topic(CLOSINGS, 1, "compact"),
        Topic(REJECTED, 1, "delete", {"retention.ms": str(90 * DAY_MS)}),
        Topic(ANOMALIES, many, "compact"),
        Topic(HEADS, 1, "compact"),
    ]


def ensure_topics(
    settings: Settings, topics: list[Topic] | None = None, *, broker_seconds_max: float = BROKER_SECONDS_MAX
) -> list[str]:
    """Make the topics that are missing, check the others, wait until each has its leaders; gives the names of the new.

    Blocks. `broker_seconds_max`: how long a broker that does not answer yet is waited for.
    """
    wanted = topics_of(settings) if topics is None else topics
    try:
        with telling_of_wait(settings, broker_seconds_max):
            admin = KafkaAdminClient(
                **for_kafka_python(settings),
                client_id="lampit-topics",
                bootstrap_timeout_ms=int(broker_seconds_max * 1000),
            )
    except (KafkaError, OSError) as error:
        raise Unreachable(no_broker(settings, error)) from error
    try:
        present = set(admin.list_topics())
        made = _create(admin, [topic for topic in wanted if topic.name not in present], settings)
        admin.wait_for_topics([topic.name for topic in wanted], timeout_ms=METADATA_SECONDS_MAX * 1000)
        _check(admin, wanted)
    except RetriableError as error:  # it answered a moment ago: no setting is wrong, and a restart mends it
        raise LampitError(_went_away(error)) from error
    except KafkaError as error:
        raise ConfigurationError(
            f"The topics cannot be made or read ({type(error).__name__}): check LAMPIT_REPLICATION_FACTOR against the "
            "number of brokers, and that this user may create topics."
        ) from error
    finally:
        admin.close()
    return made


def topic_ids(settings: Settings, names: Iterable[str], *, seconds_max: float = 0.0) -> dict[str, str]:
    """By name the id of each topic that is there: one that was deleted and made anew has another (KIP-516).

    Blocks. Without those that have none, of brokers before Kafka 2.8. seconds_max: how long is waited for a topic that the
    broker asked does not know, as one that hears late of it. Raises LampitError where no broker answers, or that was in vain.
    """
    deadline = time.monotonic() + seconds_max
    try:
        with closing(KafkaAdminClient(**for_kafka_python(settings), client_id="lampit-topics")) as admin:
            while True:
                described = admin.describe_topics(list(names))
                unknown = [topic["name"] for topic in described if topic["error_code"]]
                if not unknown or time.monotonic() >= deadline:
                    break
                time.sleep(METADATA_PAUSE_SECONDS)
    except (KafkaError, OSError) as error:
        raise LampitError(_went_away(error)) from error
    if unknown and seconds_max:
        raise LampitError(f"Topic {unknown[0]} is not known to every broker yet: start again.")
    return {
        str(topic["name"]): str(topic["topic_id"]) for topic in described if topic.get("topic_id") not in (None, NO_ID)
    }


def _went_away(error: Exception) -> str:
    return f"The brokers went away while the topics were looked at ({type(error).__name__}): start again once they run."


def no_broker(settings: Settings, error: Exception) -> str:
    """What to say when no broker answers."""
    return (
        f"No Kafka broker answers at {settings.bootstrap_servers} ({type(error).__name__}): "
        "check LAMPIT_BOOTSTRAP_SERVERS, LAMPIT_SECURITY_PROTOCOL with its user and certificates, and that the broker runs."
    )


def _create(admin: Any, missing: list[Topic], settings: Settings) -> list[str]:
    """Names of the topics made here: another process may have been quicker with some."""
    definitions = {}
    for topic in missing:
        config = {"cleanup.policy": topic.cleanup, **topic.config}
        if settings.replication_factor >= REPLICAS_FOR_QUORUM:
            # With acks=all: a record is acknowledged only when one broker can be lost without losing it.
            config["min.insync.replicas"] = "2"
        definitions[topic.name] = {
            "num_partitions": topic.partitions,
            "replication_factor": settings.replication_factor,
            "configs": config,
        }
    made = []
    for answer in admin.create_topics(definitions, raise_errors=False)["topics"] if definitions else ():
        error = for_code(answer["error_code"])
        if error is NoError:
            made.append(answer["name"])
            logger.info("made topic %s", answer["name"])
        elif error is not TopicAlreadyExistsError:
            raise error
    return made


def _check(admin: Any, wanted: list[Topic]) -> None:
    described = _partitions(admin, [topic.name for topic in wanted])
    for topic in wanted:
        if described[topic.name] != topic.partitions:
            raise ConfigurationError(
                f"Topic {topic.name} has {described[topic.name]} partitions, expected are {topic.partitions}: "
                "set LAMPIT_PARTITIONS to what the topics have, or use another cluster."
            )
    for name, policy in _cleanup_policies(admin, [topic.name for topic in wanted]).items():
        expected = next(topic.cleanup for topic in wanted if topic.name == name)
        if policy != expected:
            raise ConfigurationError(
                f"Topic {name} has cleanup.policy={policy}, expected is {expected}: "
                "alter the topic's configuration, or use another cluster."
            )


def _partitions(admin: Any, names: list[str]) -> dict[str, int]:
    """Partitions of each topic. Another broker may answer than the one that was waited for, and not know a topic yet."""
    deadline = time.monotonic() + METADATA_SECONDS_MAX
    while True:
        found = {topic["name"]: len(topic["partitions"]) for topic in admin.describe_topics(names)}
        unknown = [name for name in names if not found.get(name)]
        if not unknown:
            return found
        if time.monotonic() > deadline:
            raise KafkaTimeoutError(f"{unknown[0]} is not known to every broker")
        time.sleep(METADATA_PAUSE_SECONDS)


def _cleanup_policies(admin: Any, names: list[str]) -> dict[str, str]:
    """As far as the broker tells: the embedded one knows only what was set at creation."""
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    found = admin.describe_configs(resources, config_filter="all").get("topic", {})
    return {name: config["cleanup.policy"]["value"] for name, config in found.items() if "cleanup.policy" in config}


async def is_partition_empty(settings: Settings, topic: str, partition: int) -> bool:
    """True when the partition never held a record (its end is offset 0)."""
    async with reader(settings) as consumer:
        tp = TopicPartition(topic, partition)
        return bool((await consumer.end_offsets([tp]))[tp] == 0)


async def first_record(settings: Settings, topic: str, partition: int) -> ConsumerRecord | None:
    """The first committed record that the partition still holds."""
    async with reader(settings) as consumer:
        tp = TopicPartition(topic, partition)
        consumer.assign([tp])
        await consumer.seek_to_beginning(tp)
        end = (await consumer.end_offsets([tp]))[tp]
        async with asyncio.timeout(READ_SECONDS_MAX):
            while await consumer.position(tp) < end:
                for records in (await consumer.getmany(tp, timeout_ms=200, max_records=1)).values():
                    return records[0]
    return None
