"""Fixtures: the brokers, and programs of the system that some tests need.

Every test that takes `broker` runs twice, on real Kafka and on the embedded broker.

| fixture | broker | begins without topics |
| --- | --- | --- |
| `broker` | both | for each test module |
| `empty_broker` | both | for each test |
| `kafka` | Kafka only (transactions, fences) | for each test module |
| `kafka_cluster` | Kafka of three nodes, to be killed and frozen | for each test module, a cluster of its own |

`broker_down` is for tests that want none. `object_store` is an S3 server, moto's. `chromium` and `promtool` are the paths of
these programs. What is missing on this machine skips its tests with a sentence that says so; with CI=true they fail.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import HealthCheck, settings

from lampit import broker as lampit_broker
from lampit import newer_than_compiled
from lampit.broker import EmbeddedBroker, free_port
from tests.brokers import Broker, KafkaBroker, KafkaCluster, delete_topics, kafka_missing
from tests.object_store import ObjectStore, object_store_missing

# How long an example takes, or finding one, says how busy the machine is. In CI the examples are the same each time.
settings.register_profile("any machine", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

BOTH = ("kafka", "embedded")
KAFKA_FIRST = ("kafka", pytest.param("embedded", marks=pytest.mark.chaos))
"""For tests that take long: the embedded broker's turn comes with `make chaos`."""


def pytest_configure() -> None:
    """Refuse an old compiled core; and end as by Ctrl-C on SIGTERM, so that brokers and workers end too."""
    # Each of several pytest processes has ports of its own: one is looked at seconds before its server listens.
    share = len(lampit_broker._SERVER_PORTS) // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    first = share * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    lampit_broker._SERVER_PORTS = lampit_broker._SERVER_PORTS[first : first + share]  # type: ignore[misc]
    signal.signal(signal.SIGTERM, lambda number, frame: pytest.exit("SIGTERM", returncode=128 + number))
    if newer := newer_than_compiled():
        names = ", ".join(newer)
        raise pytest.UsageError(f"Newer than the compiled core: {names}. Run `make compile`, or `make interpreted`.")


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """A command that is run in this process sets its own handlers and levels; the next test may look at what is logged."""
    root = logging.getLogger()
    loggers = [root, *(one for one in root.manager.loggerDict.values() if isinstance(one, logging.Logger))]
    levels, handlers = {one: one.level for one in loggers}, root.handlers[:]
    yield
    for one, level in levels.items():
        one.setLevel(level)
    root.handlers[:] = handlers


@pytest.fixture
def broker_down(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings but those of an installation whose broker does not answer."""
    for name in [name for name in os.environ if name.startswith("LAMPIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("LAMPIT_BOOTSTRAP_SERVERS", f"127.0.0.1:{free_port()}")
    monkeypatch.setenv("LAMPIT_PSEUDONYM_KEY", "a key that only this test uses, of 32 bytes")
    monkeypatch.setenv("LAMPIT_DATA_DIR", str(tmp_path / "data"))


@pytest.fixture(scope="session")
def kafka_process() -> Iterator[KafkaBroker]:
    """One Kafka for all tests of a process: starting it takes seconds, emptying it does not."""
    need_kafka()
    with KafkaBroker() as process:
        yield process


@pytest.fixture(scope="module")
def kafka(kafka_process: KafkaBroker) -> Broker:
    """Kafka, without any topics at the start of the module."""
    delete_topics(kafka_process.bootstrap_servers)
    return kafka_process.broker


@pytest.fixture(scope="module", params=BOTH)
def broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    """Kafka, then the embedded broker, without any topics at the start of the module."""
    if request.param == "kafka":
        yield request.getfixturevalue("kafka")
    else:
        with EmbeddedBroker() as process:
            yield _embedded(process)


@pytest.fixture(params=BOTH)
def empty_broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    """Kafka, then the embedded broker, without any topics at the start of the test."""
    if request.param == "kafka":
        running: KafkaBroker = request.getfixturevalue("kafka_process")
        delete_topics(running.bootstrap_servers)
        yield running.broker
    else:
        with EmbeddedBroker() as process:
            yield _embedded(process)


@pytest.fixture(scope="module")
def kafka_cluster() -> Iterator[KafkaCluster]:
    """Kafka of three nodes."""
    need_kafka()
    with KafkaCluster(3) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def object_store() -> Iterator[ObjectStore]:
    """An S3-compatible store with an empty bucket."""
    missing = object_store_missing()
    if missing is not None:
        _skip(f"No object store: {missing}")
    with ObjectStore() as store:
        yield store


@pytest.fixture(scope="session")
def chromium() -> str:
    """The system's browser, for playwright's `executable_path`."""
    return _program("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def promtool() -> str:
    """The checker of Prometheus' rules, rule tests and metrics."""
    return _program("promtool")


def _embedded(process: EmbeddedBroker) -> Broker:
    return Broker(name="embedded", bootstrap_servers=process.bootstrap_servers, transactions=False)


def need_kafka() -> None:
    """Skip, or with CI=true fail, where there is no Kafka to start."""
    missing = kafka_missing()
    if missing is not None:
        _skip(f"No real Kafka: {missing}")


def _program(*names: str) -> str:
    for name in names:
        path = shutil.which(name)
        if path is not None:
            return path
    _skip(f"{names[0]} is missing (scripts/system-packages installs it).")


def _skip(reason: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
