"""The Kafka of docker-compose.yml as a plain process: the image's own start-up program over the mounted file.

Only addresses and the log folder are replaced, by the environment, as a user of the image would.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType

from agents.settings import Settings
from agents.topics import ensure_topics, topics_of
from lampit.broker import free_port, spawn, stop_process, wait_until_answers
from tests.brokers import ROOT, START_SECONDS_MAX, KafkaBroker, kafka_libs, topics

CLUSTER_ID = "5L6g3nShT-eMCtK--X86sw"
JAVA = ["java", "-Xmx512M", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dlog4j2.level=WARN"]


@pytest.fixture(scope="module")
def compose_kafka(kafka_process: KafkaBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its address. (`kafka_process` only says that a Kafka can run here.)"""
    folder = tmp_path_factory.mktemp("compose-kafka")
    mounted, final, defaults = (folder / name for name in ("mounted", "final", "defaults"))
    for path in (mounted, final, defaults):
        path.mkdir()
    for name in ("server.properties", "log4j2.yaml", "tools-log4j2.yaml"):
        (defaults / name).write_text("")
    (mounted / "server.properties").symlink_to(ROOT / "deploy/kafka/server.properties")
    port, internal, controller = (free_port() for _ in range(3))
    environment = os.environ | {
        "CLUSTER_ID": CLUSTER_ID,
        "KAFKA_LOG_DIRS": str(folder / "data"),
        "KAFKA_LISTENERS": f"INTERNAL://127.0.0.1:{internal},PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
        "KAFKA_ADVERTISED_LISTENERS": f"INTERNAL://127.0.0.1:{internal},PLAINTEXT://127.0.0.1:{port}",
        "KAFKA_CONTROLLER_QUORUM_VOTERS": f"1@127.0.0.1:{controller}",
    }
    java = [*JAVA, "-cp", str(kafka_libs().absolute() / "*")]
    folders = ["--default-configs-dir", defaults, "--mounted-configs-dir", mounted, "--final-configs-dir", final]
    setup = [*java, "kafka.docker.KafkaDockerWrapper", "setup", *map(str, folders)]
    done = subprocess.run(
        setup, env=environment, capture_output=True, text=True, timeout=START_SECONDS_MAX, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    process = spawn([*java, "kafka.Kafka", str(final / "server.properties")], log=folder / "kafka.log")
    try:
        wait_until_answers(f"127.0.0.1:{port}", [process], START_SECONDS_MAX)
        yield f"127.0.0.1:{port}"
    finally:
        stop_process(process)


def test_it_takes_the_topics_of_lampit_with_the_settings_of_the_compose_file(
    compose_kafka: str, tmp_path: Path
) -> None:
    settings = Settings(bootstrap_servers=compose_kafka, replication_factor=1, partitions=2, data_dir=tmp_path)
    assert set(ensure_topics(settings)) == {topic.name for topic in topics_of(settings)} == topics(compose_kafka)


def test_the_mounted_file_is_what_it_runs_on(compose_kafka: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=compose_kafka)
    try:
        resource = ConfigResource(ConfigResourceType.BROKER, "1")
        (found,) = admin.describe_configs([resource], config_filter="all")["broker"].values()
    finally:
        admin.close()
    lines = (ROOT / "deploy/kafka/server.properties").read_text(encoding="utf-8").splitlines()
    wanted = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    replaced = {"listeners", "advertised.listeners", "log.dirs", "controller.quorum.voters"}
    unknown = wanted.keys() - found.keys()
    assert not unknown, "settings that Kafka does not know"
    differ = {name for name in wanted.keys() - replaced if found[name]["value"] != wanted[name]}
    assert not differ
