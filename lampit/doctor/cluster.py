"""What `lampit doctor` asks Kafka: the broker, the topics, the groups, where the ledger begins and ends.

In: settings. Out: findings, and a `Log` for the checks of stores and archive. Only requests that change nothing: no topic that
is not there is asked for, since a broker might make it, and no group is joined. Called by the command.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from aiokafka.errors import KafkaError as ReaderError
from aiokafka.errors import TopicAuthorizationFailedError
from aiokafka.structs import TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient
from kafka.errors import CoordinatorNotAvailableError, GroupIdNotFoundError, KafkaError

from agents.barrier import LedgerIdentity, checked_genesis, newest_heads, rules_of
from agents.connection import for_kafka_python, telling_of_wait
from agents.errors import ConfigurationError
from agents.reading import reader, record_at
from agents.settings import Settings
from agents.topics import (
    CLOSINGS,
    INTAKE_TOPICS,
    LEDGER,
    PARTIALS,
    REPLICAS_FOR_QUORUM,
    Topic,
    first_record,
    no_broker,
    topics_of,
)
from lampit import reference
from lampit.doctor.findings import Finding, ok, problem, refused, warning
from stream.ledger import Genesis
from stream.partials import newest_epoch
from stream.pseudonym import Pseudonymiser

LAG_RECORDS_MAX: Final = 10_000
CLOCK_SECONDS_MAX: Final = 60.0
HEADS_SECONDS_MAX: Final = 60.0
"""Heads lie among the figures of every place, of which a whole country has hundreds of thousands."""
_READS: Final[Mapping[str, tuple[str, ...]]] = {
    "intake": INTAKE_TOPICS,
    "ledger": (LEDGER,),
    "rollup": (PARTIALS,),
    "archive": (LEDGER, CLOSINGS),
}

_OFFSETS: Final = "__consumer_offsets"
"""Where a broker keeps the groups' offsets, from the first time on that somebody asks after a group."""


@dataclass
class Log:
    """The ledger as Kafka has it; genesis None where it has none or one that does not fit."""

    ends: dict[int, int] = field(default_factory=dict)
    genesis: Genesis | None = None


def check(settings: Settings, broker_seconds_max: float) -> tuple[list[Finding], Log | None]:
    """Everything that Kafka tells; no log where it does not answer."""
    try:
        with telling_of_wait(settings, broker_seconds_max):
            admin = KafkaAdminClient(
                **for_kafka_python(settings),
                client_id="lampit-doctor",
                bootstrap_timeout_ms=int(broker_seconds_max * 1000),
            )
    except ConfigurationError as error:
        return [refused("broker", str(error))], None
    except (KafkaError, OSError) as error:
        return [refused("broker", no_broker(settings, error))], None
    try:
        nodes = len(admin.describe_cluster()["brokers"])
        found = [_broker(settings, nodes)]
        present = set(admin.list_topics())
        found += _topics(admin, settings, present)
        log = asyncio.run(_read(settings, admin, present, found))
    except (KafkaError, ReaderError, OSError, TimeoutError) as error:
        saw = f"a question was not answered ({type(error).__name__})"
        return [
            problem("broker", saw, "see that all brokers run, and that this user may describe topics and groups")
        ], None
    finally:
        admin.close()
    return found, log


def _broker(settings: Settings, nodes: int) -> Finding:
    saw = f"{nodes} at {settings.bootstrap_servers}, reached by {settings.security_protocol}"
    if settings.security_protocol.startswith("SASL"):
        saw += f" with {settings.sasl_mechanism}"
    if nodes < settings.replication_factor:
        return problem("broker", saw, f"LAMPIT_REPLICATION_FACTOR is {settings.replication_factor}: start more brokers")
    return ok("broker", saw)


def _topics(admin: Any, settings: Settings, present: set[str]) -> list[Finding]:
    wanted = topics_of(settings)
    there = [topic for topic in wanted if topic.name in present]
    if not there:
        return [warning("topics", "there are none yet", "start Lampit: it makes them")]
    described = {one["name"]: one["partitions"] for one in admin.describe_topics([topic.name for topic in there])}
    resources = [ConfigResource(ConfigResourceType.TOPIC, topic.name) for topic in there]
    configs = admin.describe_configs(resources, config_filter="all").get("topic", {})
    found = []
    for topic in wanted:
        if topic.name not in present:
            found.append(problem(topic.name, "missing", "restart any agent: it makes the topics that are missing"))
            continue
        config = {name: value["value"] for name, value in configs.get(topic.name, {}).items()}
        found.append(_topic(topic, described[topic.name], config, settings))
    return found


def _topic(topic: Topic, partitions: list[Any], config: Mapping[str, str], settings: Settings) -> Finding:
    """The first thing that is wrong with a topic."""
    return (
        _misfit(topic, len(partitions), config, settings.bootstrap_servers)
        or _copies(topic, partitions, int(config.get("min.insync.replicas", "1")), settings.replication_factor)
        or ok(
            topic.name, f"{len(partitions)} partitions, {min(len(one['replica_nodes']) for one in partitions)} copies"
        )
    )


def _misfit(topic: Topic, partitions: int, config: Mapping[str, str], servers: str) -> Finding | None:
    """What is not as Lampit makes the topic."""
    if partitions != topic.partitions:
        saw = f"{partitions} partitions, expected are {topic.partitions}"
        return problem(topic.name, saw, "set LAMPIT_PARTITIONS to what the topics have, or use another cluster")
    for name, value in {"cleanup.policy": topic.cleanup, **topic.config}.items():
        if config.get(name, value) != value:
            saw = f"{name}={config[name]}, expected is {value}"
            todo = f"kafka-configs.sh --bootstrap-server {servers} --alter --topic {topic.name} --add-config {name}={value}"
            # A shorter retention of the history loses it; of another topic it is a choice.
            is_grave = name == "cleanup.policy" or topic.name == LEDGER
            return (problem if is_grave else warning)(topic.name, saw, todo)
    return None


def _copies(topic: Topic, partitions: list[Any], least: int, wanted: int) -> Finding | None:
    """Whether there are enough copies, in step, with a leader; least: how many a write needs."""
    copies = min(len(one["replica_nodes"]) for one in partitions)
    in_step = min(len(one["isr_nodes"]) for one in partitions)
    leaderless = sum(one["leader_id"] < 0 for one in partitions)
    if leaderless or in_step < least:
        saw = f"{leaderless} partitions have no leader, {in_step} copies are in step, {least} are needed to write"
        return problem(topic.name, saw, "start the brokers that are down")
    if copies < wanted:
        saw = f"{copies} copies, LAMPIT_REPLICATION_FACTOR is {wanted}"
        return warning(topic.name, saw, "reassign the partitions: kafka-reassign-partitions")
    if in_step < copies:
        return warning(topic.name, f"{in_step} of {copies} copies are in step", "see whether a broker is down or slow")
    if wanted >= REPLICAS_FOR_QUORUM and least < REPLICAS_FOR_QUORUM - 1:
        todo = "set it to 2, so that no acknowledged record is on one broker alone"
        return warning(topic.name, f"min.insync.replicas={least}", todo)
    return None


async def _read(settings: Settings, admin: Any, present: set[str], found: list[Finding]) -> Log:
    """Where the ledger begins and ends, and how far the groups are; added to `found`."""
    log = Log()
    ends = await _ends(settings, admin, {topic for topics in _READS.values() for topic in topics} & present)
    log.ends = {tp.partition: end for tp, end in ends.items() if tp.topic == LEDGER}
    finding, log.genesis = await _genesis(settings, log.ends)
    found.append(finding)
    found.append(await _clock(settings, log.ends))
    if PARTIALS in present:
        found.append(await _epoch(settings))
    if _OFFSETS not in present:
        # To ask after a group would make the broker begin to keep offsets.
        found.append(warning("groups", "there are none yet", "start Lampit"))
        return log
    for name, topics in _READS.items():
        if name != "archive" or settings.archive_url is not None:
            of_topics = {tp: end for tp, end in ends.items() if tp.topic in topics}
            # An archive worker commits what is in segments: what is on its way to the next one waits rightly.
            waiting = settings.archive_segment_records if name == "archive" else 0
            found.append(_group(admin, f"{settings.group_prefix}.{name}", of_topics, waiting + LAG_RECORDS_MAX))
    return log


async def _ends(settings: Settings, admin: Any, topics: set[str]) -> dict[TopicPartition, int]:
    if not topics:
        return {}
    there = [
        TopicPartition(topic["name"], one["partition_index"])
        for topic in admin.describe_topics(sorted(topics))
        for one in topic["partitions"]
    ]
    async with reader(settings) as consumer:
        return dict(await consumer.end_offsets(there))


async def _genesis(settings: Settings, ends: Mapping[int, int]) -> tuple[Finding, Genesis | None]:
    """Whether the ledger is the one that these settings and this key are for, in the words of a start."""
    check = "genesis"
    if not ends.get(0):
        return warning(check, "the ledger is empty", "start Lampit: it begins the ledger with this key"), None
    record = await first_record(settings, LEDGER, 0)
    try:
        fingerprint = Pseudonymiser(*settings.pseudonym_keys()).fingerprint
        genesis = checked_genesis(None if record is None else record.value, settings, fingerprint)
    except ConfigurationError as error:
        return refused(check, str(error)), None
    return ok(
        check, f"ledger {genesis.ledger_id}, {genesis.partitions} partitions, the key is the one it was begun with"
    ), genesis


async def _clock(settings: Settings, ends: Mapping[int, int]) -> Finding:
    """Kafka tells no time; its newest records do: none of them is from the future."""
    check = "clock"
    newest = 0
    for partition, end in ends.items():
        # The last offset of a transaction is a marker: the record is the one before it.
        for offset in (end - 1, end - 2):
            record = await record_at(settings, LEDGER, partition, offset) if offset >= 0 else None
            if record is not None:
                newest = max(newest, record.timestamp)
                break
    ahead = newest / 1000 - time.time()
    if ahead > CLOCK_SECONDS_MAX:
        saw = f"the newest ledger record is {ahead:,.0f} s in this machine's future"
        return problem(
            check, saw, "set the clocks of this machine and of the brokers by NTP: the business day turns by them"
        )
    return ok(check, "no ledger record is in this machine's future" if newest else "the ledger tells no time yet")


async def _epoch(settings: Settings) -> Finding:
    """Whether the ledger workers count under the settings that this process has."""
    check = "epoch"
    try:
        async with asyncio.timeout(HEADS_SECONDS_MAX):
            heads = (await newest_heads(settings)).values()
    except TopicAuthorizationFailedError:
        return ok(check, f"this user may not read {PARTIALS}, so these settings are held against nothing")
    newest, named = newest_epoch(heads)
    if not named:
        return ok(check, "no ledger worker has said yet under which settings it counts")
    ours = LedgerIdentity("", settings.partitions, rules_of(settings), reference.load().digest).settings_name
    if named != {ours}:
        todo = (
            "set LAMPIT_TRANSIT_EXPIRY_DAYS, LAMPIT_LEAP_BIRTHDAY, LAMPIT_CLOSING_DAY, LAMPIT_FIRST_PERIOD and the region "
            "reference as the ledger workers have them, or begin an epoch with `lampit epoch`, unless that was done since"
        )
        saw = f"the ledger workers count epoch {newest} under other settings, or another region reference, than these"
        return problem(check, saw, todo)
    return ok(check, f"epoch {newest} is counted under these settings and this region reference")


def _group(admin: Any, group: str, ends: Mapping[TopicPartition, int], lag_max: int) -> Finding:
    """Whether somebody is in a group, and no partition of it more than `lag_max` records behind.

    With nobody in a group that has worked before, figures stand still: a problem as soon as much waits.
    """
    check = f"group {group}"
    try:
        committed = {
            (tp.topic, tp.partition): one.offset for tp, one in admin.list_group_offsets([group])[group].items()
        }
        members = len(admin.describe_groups([group])[group].get("members", ()))
    except (GroupIdNotFoundError, CoordinatorNotAvailableError):
        committed, members = {}, 0
    lags = {tp: end - max(committed.get((tp.topic, tp.partition), 0), 0) for tp, end in ends.items()}
    furthest = max(lags, key=lambda tp: lags[tp], default=None)
    behind = 0 if furthest is None else lags[furthest]
    saw = f"{members} members, {sum(lags.values()):,} records behind"
    if not members:
        agent = group.rpartition(".")[2]
        is_grave = committed and behind > lag_max
        todo = f"nobody is in the group: start `lampit run {agent}`, or see LAMPIT_GROUP_PREFIX"
        return (problem if is_grave else warning)(check, saw, todo)
    if behind > lag_max and furthest is not None:
        saw += f", {behind:,} of them in {furthest.topic} {furthest.partition}"
        return warning(
            check, saw, "ask again in a minute: if that grows, start another worker, or read the log of this one"
        )
    return ok(check, saw)
