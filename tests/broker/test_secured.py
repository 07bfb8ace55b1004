"""The whole way on a Kafka that wants TLS and a user: every client of every process has to know both."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from aiokafka import structs
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.admin import ScramMechanism, UserScramCredentialUpsertion

from agents.connection import for_kafka_python
from agents.errors import ConfigurationError
from agents.reading import reader
from agents.settings import Settings
from agents.topics import COVERAGE, Topic, ensure_topics
from lampit.broker import free_port
from tests.broker.test_run import CASES, DAY, Lampit
from tests.broker.workers import wait_for
from tests.brokers import Broker, KafkaBroker

HELD_SECONDS = 30.0
USER, PASSWORD = "lampit", "a password that only this test uses"


@dataclass
class Secured:
    """A broker's TLS listener, and the files and settings of a client of it."""

    broker: Broker
    environment: dict[str, str]


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate of this machine's loopback address that vouches for itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "lampit test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = folder / "certificate.pem", folder / "key.pem"
    files[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    no_password = serialization.NoEncryption()
    files[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, no_password))
    return files


@pytest.fixture(scope="module")
def secured(kafka_process: KafkaBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """A broker of its own; `kafka_process` only says whether there is Kafka at all."""
    folder = tmp_path_factory.mktemp("secured")
    chain, key = certificate(folder)
    password = folder / "password"
    password.write_text(f"{PASSWORD}\n")
    port = free_port()
    in_one_line = {path: path.read_text().replace("\n", "\\n") for path in (chain, key)}
    module = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
    settings = {
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURED:SASL_SSL",
        "inter.broker.listener.name": "PLAINTEXT",
        "listener.name.secured.sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "listener.name.secured.scram-sha-512.sasl.jaas.config": module,
        "listener.name.secured.ssl.keystore.type": "PEM",
        "listener.name.secured.ssl.keystore.certificate.chain": in_one_line[chain],
        "listener.name.secured.ssl.keystore.key": in_one_line[key],
    }
    with KafkaBroker(settings=settings, more_listeners={"SECURED": port}) as process:
        admin = KafkaAdminClient(bootstrap_servers=process.bootstrap_servers)
        admin.alter_user_scram_credentials([UserScramCredentialUpsertion(USER, ScramMechanism.SCRAM_SHA_512, PASSWORD)])
        admin.close()
        yield Secured(
            Broker(name="kafka", bootstrap_servers=f"127.0.0.1:{port}", transactions=True),
            {
                "LAMPIT_SECURITY_PROTOCOL": "SASL_SSL",
                "LAMPIT_SASL_USERNAME": USER,
                "LAMPIT_SASL_PASSWORD_FILE": str(password),
                "LAMPIT_SSL_CA_FILE": str(chain),
            },
        )


def settings_of(secured: Secured, **others: object) -> Settings:
    """The client's settings."""
    named = {name.removeprefix("LAMPIT_").lower(): value for name, value in secured.environment.items()}
    return Settings(bootstrap_servers=secured.broker.bootstrap_servers, **{**named, **others})  # type: ignore[arg-type]


def test_events_become_coverage(secured: Secured, tmp_path: Path) -> None:
    lampit = Lampit(secured.broker, tmp_path)
    lampit.environment |= secured.environment
    process = lampit.start()
    try:
        events = tmp_path / "events.jsonl"  # publishing leaves its progress beside the file
        events.write_bytes((CASES / "recorded-at-16" / "events.jsonl").read_bytes())
        lampit("publish", events)
        lampit("day", DAY)
        lampit.wait_ready(process)
        counted = json.loads(lampit("count", events, "--as-of", DAY, "--json"))["regions"]
        wait_for(lambda: coverage(secured)["ID"]["population"] == counted[0]["population"], "the figures")
        assert counted[0]["population"]["total"] > 0
        assert PASSWORD not in lampit.log.read_text()
    finally:
        process.terminate()
        assert process.wait(120) == 0


def coverage(secured: Secured) -> dict[str, dict[str, object]]:
    """The newest record of every region."""
    consumer = KafkaConsumer(**for_kafka_python(settings_of(secured)), isolation_level="read_committed")
    try:
        partition = TopicPartition(COVERAGE, 0)
        consumer.assign([partition])
        consumer.seek_to_beginning(partition)
        end = consumer.end_offsets([partition])[partition]
        records = []
        while consumer.position(partition) < end:
            records += consumer.poll(200).get(partition, [])
        return {record.key.decode(): json.loads(record.value) for record in records}
    finally:
        consumer.close(autocommit=False)


def test_a_client_is_closed_while_a_broker_holds_its_fetch(secured: Secured) -> None:
    settings = settings_of(secured)
    ensure_topics(settings, [Topic("nothing-comes", 1, "delete")])
    nothing = structs.TopicPartition("nothing-comes", 0)

    async def seconds_to_close() -> float:
        async with reader(settings, fetch_max_wait_ms=int(HELD_SECONDS * 1000)) as consumer:
            consumer.assign([nothing])
            consumer.seek(nothing, 0)
            assert await consumer.getmany(nothing, timeout_ms=500) == {}
            began = time.monotonic()
        return time.monotonic() - began

    assert asyncio.run(seconds_to_close()) < HELD_SECONDS / 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"sasl_password_file": None, "sasl_password": "not the password"},
        {"ssl_ca_file": None},
        {"security_protocol": "SASL_PLAINTEXT", "ssl_ca_file": None},
    ],
    ids=["password", "authority", "no TLS"],
)
def test_what_does_not_fit_is_a_sentence(secured: Secured, wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError) as refused:
        ensure_topics(settings_of(secured, **wrong), broker_seconds_max=3.0)
    assert "LAMPIT_" in str(refused.value)
    assert PASSWORD not in str(refused.value) and "not the password" not in str(refused.value)


def test_the_command_says_so_too(secured: Secured, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_bytes(os.urandom(32).hex().encode())
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("LAMPIT_")}
    named = {
        **secured.environment,
        "LAMPIT_BOOTSTRAP_SERVERS": secured.broker.bootstrap_servers,
        "LAMPIT_PSEUDONYM_KEY_FILE": str(key),
        "LAMPIT_SASL_PASSWORD_FILE": str(tmp_path / "nowhere"),
    }
    command = [sys.executable, "-m", "lampit", "run", "intake"]
    ended = subprocess.run(command, env=inherited | named, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 2
    assert "LAMPIT_SASL_PASSWORD_FILE cannot be read" in ended.stderr
