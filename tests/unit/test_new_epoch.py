"""A new epoch is published whole: the roll-up forgets what the one before said."""

from __future__ import annotations

import time
from datetime import date
from pathlib import Path
from typing import Any, cast

import pytest
from aiokafka import ConsumerRecord

from agents.barrier import LedgerIdentity
from agents.desk import Desk
from agents.driver import Fetch
from agents.errors import ConfigurationError
from agents.store import Store
from agents.topics import LEDGER
from lampit import reference
from stream.ledger import Control, Day, encode_control, encode_record
from stream.rules import Rules
from tests.counters import accept

EVENT = {
    "specversion": "1.0", "id": "1", "source": "/siak/7308", "type": "lampit.register.v1",
    "time": "2023-01-02T09:00:00+08:00",
    "data": {"nik": "1605020101800001", "occurred_on": "2023-01-02", "region": "73.08.20.2007",
             "person": {"birth_date": "1990-01-01"}},
}  # fmt: skip
PLACE = "73.08.20.2007~2022-11-09"


def fetch(begin: int, *values: bytes) -> Fetch:
    """Records of partition 0, as a poll brings them."""
    now = int(time.time() * 1000)
    records = tuple(
        ConsumerRecord(LEDGER, 0, offset, now, 0, b"", value, None, 0, len(value), ())
        for offset, value in enumerate(values, begin)
    )
    return Fetch(LEDGER, 0, begin, begin + len(records), records, 0)


def control(record: Control) -> bytes:
    return encode_control(record, 0)


def test_every_place_is_due_again_with_a_new_epoch(tmp_path: Path) -> None:
    read = reference.load()
    identity = LedgerIdentity("ledger", 4, Rules(), read.digest)
    producer: Any = None  # nothing is published here
    desk = Desk(0, Store(tmp_path / "store"), cast(Any, producer), identity, Rules(), read, "here", 0)
    (admitted,), _ = accept([EVENT])
    event = encode_record(admitted.subject, admitted.event, 0)
    desk.apply(fetch(0, control(identity.epoch(1)), control(Day(date(2024, 1, 1).toordinal())), event))
    assert desk.due_columns == {PLACE}
    desk.store.published((), 3)
    desk.due_columns = set()
    desk.apply(fetch(3, control(Day(date(2024, 1, 2).toordinal()))))
    assert desk.due_columns == set()
    desk.apply(fetch(4, control(identity.epoch(2))))
    assert desk.meta.epoch == 2
    assert desk.due_columns == {PLACE}
    desk.store.close()


def test_other_settings_than_the_epochs_are_refused_after_a_restart_too(tmp_path: Path) -> None:
    """The first start ends at the end of the log. The second finds nothing to apply, and may not publish what it holds."""
    read = reference.load()
    ledgers, other = (LedgerIdentity("ledger", 4, rules, read.digest) for rules in (Rules(), Rules(None, "feb28")))
    producer: Any = None  # nothing may be published here
    (admitted,), _ = accept([EVENT])
    event = encode_record(admitted.subject, admitted.event, 0)
    log = fetch(0, control(ledgers.epoch(1)), control(Day(date(2024, 1, 1).toordinal())), event)
    desk = Desk(0, Store(tmp_path / "store"), cast(Any, producer), other, other.rules, read, "here", 3)
    with pytest.raises(ConfigurationError, match="LAMPIT_LEAP_BIRTHDAY"):
        desk.apply(log)
    desk.store.close()
    desk = Desk(0, Store(tmp_path / "store"), cast(Any, producer), other, other.rules, read, "here", 3)
    assert desk.caught_up
    with pytest.raises(ConfigurationError, match="LAMPIT_LEAP_BIRTHDAY"):
        desk.require_epoch()
    # An epoch that fits may still come.
    with pytest.raises(ConfigurationError):
        desk.apply(fetch(3, control(Day(date(2024, 1, 2).toordinal()))))
    desk.apply(fetch(4, control(other.epoch(2))))
    desk.require_epoch()
    desk.store.close()
