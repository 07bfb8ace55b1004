"""A roll-up with other settings than the ledger's epoch publishes nothing, neither coverage nor closings."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import date
from pathlib import Path

from aiokafka import ConsumerRecord

from agents import rollup
from agents.barrier import LedgerIdentity, rules_of
from agents.driver import Fetch
from agents.producer import FencedProducer, Record
from agents.settings import Settings
from agents.topics import PARTIALS
from lampit import reference
from stream import partials
from stream.partials import HeadRecord

DAY = date(2024, 1, 1)


class Recorder(FencedProducer):
    """Keeps what would be sent."""

    sent = 0

    async def publish(self, records: Iterable[Record]) -> None:
        """Count the records."""
        self.sent += len(list(records))


class Case:
    """A roll-up of one partition."""

    def __init__(self, folder: Path) -> None:
        """It has taken over an empty topic."""
        settings, places = Settings(data_dir=folder, partitions=1), reference.load()
        self.identity = LedgerIdentity("ours", 1, rules_of(settings), places.digest)
        self.agent = rollup.build(settings, self.identity, places)
        self.producer = self.agent._producer = Recorder(settings, transactional_id="not started")
        self.next_offset = 0

    def reads(self, epoch: int, settings: str | None) -> None:
        """A head comes, and what is due is given out."""
        value = partials.encode_head(HeadRecord(0, epoch, 7, DAY, None, settings))
        record = ConsumerRecord(
            PARTIALS, 0, self.next_offset, 0, 0, partials.head_key(0), value, None, 0, len(value), ()
        )
        self.agent.add(Fetch(PARTIALS, 0, self.next_offset, self.next_offset + 1, (record,), 0))
        self.next_offset += 1
        asyncio.run(self.agent._give_out())


def test_it_waits_for_workers_with_its_settings_and_goes_on_with_them(tmp_path: Path) -> None:
    """An epoch has begun, and the ledger workers still build their stores."""
    case = Case(tmp_path)
    case.agent._caught_up_at = 1
    case.reads(1, "other")
    assert case.producer.sent == 0
    assert case.agent._why_not({}, None) == "another process is the active roll-up"
    assert "the epoch of these settings" in (
        case.agent._why_not({rollup.TP(PARTIALS, 0): rollup.Reached(1, 1, 1)}, None) or ""
    )
    case.reads(2, case.identity.settings_name)
    sent = case.producer.sent
    assert sent > 0
    case.reads(3, "other")
    assert case.producer.sent == sent


def test_heads_of_older_versions_name_no_settings(tmp_path: Path) -> None:
    """They are taken as they were."""
    case = Case(tmp_path)
    case.reads(1, None)
    assert case.producer.sent > 0
