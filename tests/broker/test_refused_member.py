"""A worker that is refused as a member, or may not read, ends with a sentence that names the setting and the remedy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from kafka import KafkaAdminClient
from kafka.admin import ACL, ACLOperation, ACLPermissionType, ResourcePattern, ResourceType

from agents.app import EXIT_REFUSED
from agents.settings import load_settings
from agents.topics import Topic, ensure_topics
from tests.broker.workers import Worker
from tests.brokers import Broker, KafkaBroker

SESSION_SECONDS_MAX = 8
TOPIC, CLOSED_TOPIC, CLOSED_GROUP = "open-to-all", "closed-topic", "closed-group"
USER = "User:ANONYMOUS"
REFUSALS = {
    "session": "LAMPIT_SESSION_TIMEOUT_SECONDS=10 is refused by the brokers: set it",
    "group": f"The group lampit.{CLOSED_GROUP} is closed to this user: ",
    "topic": f"The topic {CLOSED_TOPIC} is closed to this user: ",
}


@pytest.fixture(scope="module")
def strict(kafka_process: KafkaBroker) -> Iterator[Broker]:
    """A broker of its own with rights and a short limit; `kafka_process` only says whether there is Kafka at all."""
    settings = {
        "group.max.session.timeout.ms": str(SESSION_SECONDS_MAX * 1000),
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "allow.everyone.if.no.acl.found": "true",
    }
    with KafkaBroker(settings=settings) as process:
        ensure_topics(
            load_settings(bootstrap_servers=process.bootstrap_servers),
            [Topic(TOPIC, 1, "delete"), Topic(CLOSED_TOPIC, 1, "delete")],
        )
        topic = ResourcePattern(ResourceType.TOPIC, CLOSED_TOPIC)
        group = ResourcePattern(ResourceType.GROUP, f"lampit.{CLOSED_GROUP}")
        admin = KafkaAdminClient(bootstrap_servers=process.bootstrap_servers)
        admin.create_acls(
            [
                ACL(USER, "*", ACLOperation.ALL, ACLPermissionType.ALLOW, topic),
                ACL(USER, "*", ACLOperation.READ, ACLPermissionType.DENY, topic),
                ACL(USER, "*", ACLOperation.READ, ACLPermissionType.DENY, group),
            ]
        )
        admin.close()
        yield process.broker


def test_who_is_refused_ends_with_the_setting_and_the_remedy(strict: Broker, tmp_path: Path) -> None:
    """Refused before anything is assigned it went on for ever, live and not ready: Faust polls nothing then."""
    with ExitStack() as running:

        def start(name: str, topic: str, **options: object) -> Worker:
            return running.enter_context(
                Worker(strict, tmp_path, name, [topic], store=tmp_path / name / "s", **options)
            )

        workers = {
            "session": start("session", TOPIC, settings={"session_timeout_seconds": SESSION_SECONDS_MAX + 2}),
            "group": start("group", TOPIC, group=CLOSED_GROUP),
            "topic": start("topic", CLOSED_TOPIC, group="of-a-closed-topic"),
        }
        for name, worker in workers.items():
            assert worker.wait_exit() == EXIT_REFUSED, name
            assert REFUSALS[name] in worker.log.read_text()
