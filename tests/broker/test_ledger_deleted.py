"""A ledger that was deleted while its figures are still there is not begun again in silence."""

from __future__ import annotations

import asyncio

import pytest

from agents.barrier import ensure_ledger
from agents.errors import ConfigurationError
from agents.producer import Producer, Record
from agents.settings import Settings
from agents.topics import LEDGER, PARTIALS, topics_of
from lampit import reference
from stream.pseudonym import Pseudonymiser
from tests.brokers import Broker, delete_topics
from tests.live import KEY


def test_a_deleted_ledger_is_refused_until_its_figures_are_deleted_too(kafka: Broker) -> None:
    settings = Settings(bootstrap_servers=kafka.bootstrap_servers, partitions=2)
    fingerprint, read = Pseudonymiser(KEY.encode()).fingerprint, reference.load()

    async def give_figures_out() -> str:
        identity = await ensure_ledger(settings, fingerprint, read)
        async with Producer(settings, name="figures") as producer:
            await producer.send_all([Record(PARTIALS, 0, b"16.05|0", b"{}")])
        return identity.ledger_id

    first = asyncio.run(give_figures_out())
    delete_topics(kafka.bootstrap_servers, [LEDGER])
    for _ in range(2):  # the first attempt makes the topic, and leaves it empty
        with pytest.raises(ConfigurationError, match=r"lampit\.ledger is empty, but lampit\.partials is not"):
            asyncio.run(ensure_ledger(settings, fingerprint, read))
    delete_topics(kafka.bootstrap_servers, [topic.name for topic in topics_of(settings)])
    assert asyncio.run(ensure_ledger(settings, fingerprint, read)).ledger_id != first
