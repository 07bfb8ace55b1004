"""What a process refuses of the control records: a ledger that is not its own, a day of a clock that is ahead."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from agents.barrier import WIB, LedgerIdentity, checked_genesis
from agents.desk import Desk
from agents.errors import ConfigurationError
from agents.settings import Settings
from stream.ledger import Day, Genesis, encode_control
from stream.rules import Rules

TODAY = date(2024, 1, 1)
GENESIS = Genesis("ledger", 4, 0, "fingerprint")


def taken(record: Any, at: datetime) -> list[int]:
    """The days that a partition turns to by a control record which the broker took at a moment."""
    days: list[int] = []
    draft: Any = SimpleNamespace(advance=lambda day, offset: days.append(day))
    desk: Any = object.__new__(Desk)
    desk.partition, desk.identity = 0, LedgerIdentity("ledger", 4, Rules(), "digest")
    origin: Any = SimpleNamespace(timestamp=int(at.timestamp() * 1000), offset=7)
    assert desk._control(draft, record, 1, origin) == 1
    return days


@pytest.mark.parametrize(
    ("at", "days_ahead"),
    [
        pytest.param(datetime(2024, 1, 1, 0, 0, tzinfo=WIB), 1, id="as the day begins"),
        pytest.param(datetime(2024, 1, 1, 23, 59, tzinfo=WIB), 1, id="as it ends"),
        pytest.param(datetime(2024, 1, 2, 0, 0, tzinfo=WIB), 2, id="in the night after it"),
    ],
)
def test_a_day_may_be_one_ahead_of_the_broker_and_no_more(at: datetime, days_ahead: int) -> None:
    last = (TODAY + timedelta(days=days_ahead)).toordinal()
    assert taken(Day(TODAY.toordinal()), at) == [TODAY.toordinal()]
    assert taken(Day(last), at) == [last]
    assert taken(Day(last + 1), at) == []


def test_a_genesis_of_another_ledger_ends_the_process() -> None:
    with pytest.raises(ConfigurationError, match="belongs to another ledger"):
        taken(Genesis("another", 4, 0, "fingerprint"), datetime(2024, 1, 1, tzinfo=WIB))


def test_a_ledger_of_another_key_or_size_is_refused_with_the_remedy() -> None:
    value, settings = encode_control(GENESIS, 0), Settings(partitions=4)
    assert checked_genesis(value, settings, "fingerprint") == GENESIS
    with pytest.raises(ConfigurationError, match=r"pseudonym key is not the one .*LAMPIT_PSEUDONYM_KEY_FILE"):
        checked_genesis(value, settings, "another")
    with pytest.raises(ConfigurationError, match="LAMPIT_PARTITIONS is 8, the ledger was made with 4"):
        checked_genesis(value, Settings(partitions=8), "fingerprint")
    for other in (None, b"", b"{}", encode_control(Day(TODAY.toordinal()), 0)):
        with pytest.raises(ConfigurationError, match="does not begin with a genesis record"):
            checked_genesis(other, settings, "fingerprint")
