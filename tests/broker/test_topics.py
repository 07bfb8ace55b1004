"""Topics on real Kafka and on the embedded broker."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient

from agents.errors import ConfigurationError
from agents.producer import Producer, Record
from agents.settings import Settings, load_settings
from agents.topics import LEDGER, PARTIALS, Topic, ensure_topics, first_record, is_partition_empty, topics_of
from lampit.broker import free_port
from tests.brokers import Broker, KafkaCluster, topics


@pytest.fixture
def settings(empty_broker: Broker) -> Iterator[Settings]:
    yield load_settings(
        bootstrap_servers=empty_broker.bootstrap_servers, transactions=empty_broker.transactions, partitions=3
    )


def test_topics_are_made_once_and_checked(settings: Settings) -> None:
    names = {topic.name for topic in topics_of(settings)}
    assert set(ensure_topics(settings)) == names
    assert topics(settings.bootstrap_servers) == names
    assert ensure_topics(settings) == []

    more = settings.model_copy(update={"partitions": 4})
    with pytest.raises(
        ConfigurationError, match=r"^Topic lampit\.\S+ has 3 partitions, expected are 4: .*LAMPIT_PART.*\.$"
    ):
        ensure_topics(more)
    with pytest.raises(
        ConfigurationError, match=r"^Topic lampit\.partials has cleanup\.policy=compact, expected is delete"
    ):
        ensure_topics(settings, [Topic(PARTIALS, 1, "delete")])


def test_first_record(settings: Settings) -> None:
    ensure_topics(settings)

    async def use() -> None:
        assert await is_partition_empty(settings, LEDGER, 1)
        assert await first_record(settings, LEDGER, 1) is None
        async with Producer(settings, name="genesis") as producer:
            await producer.send_all([Record(LEDGER, 1, b"first", b"{}"), Record(LEDGER, 1, b"second", b"{}")])
        assert not await is_partition_empty(settings, LEDGER, 1)
        assert await is_partition_empty(settings, LEDGER, 0)
        record = await first_record(settings, LEDGER, 1)
        assert record is not None and (record.offset, record.key) == (0, b"first")

    asyncio.run(use())


def test_the_configuration_reaches_kafka(kafka_cluster: KafkaCluster) -> None:
    """Three replicas: two of them have to have a record before it is acknowledged."""
    settings = load_settings(bootstrap_servers=kafka_cluster.bootstrap_servers, replication_factor=3, partitions=2)
    ensure_topics(settings)
    admin = KafkaAdminClient(bootstrap_servers=settings.bootstrap_servers.split(","))
    try:
        resources = [ConfigResource(ConfigResourceType.TOPIC, topic.name) for topic in topics_of(settings)]
        found = admin.describe_configs(resources, config_filter="all")["topic"]
    finally:
        admin.close()
    for topic in topics_of(settings):
        expected = {"cleanup.policy": topic.cleanup, "min.insync.replicas": "2", **topic.config}
        assert {name: found[topic.name][name]["value"] for name in expected} == expected


def test_no_broker_and_too_few_brokers_are_one_sentence(kafka: Broker) -> None:
    with pytest.raises(ConfigurationError, match=r"^No Kafka broker answers at .*LAMPIT_BOOTSTRAP_SERVERS.*\.$"):
        ensure_topics(load_settings(bootstrap_servers=f"127.0.0.1:{free_port()}"), broker_seconds_max=1)
    with pytest.raises(ConfigurationError, match=r"InvalidReplicationFactorError.*LAMPIT_REPLICATION_FACTOR.*\.$"):
        ensure_topics(load_settings(bootstrap_servers=kafka.bootstrap_servers, replication_factor=3))
