"""A balance that lost to another one of its id is no news when it comes again."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import msgspec

from stream.admission import Admitted
from stream.calendar import ordinal
from stream.closing_parts import BalanceRecord, decode
from stream.events import OpeningBalance
from stream.opening import Book
from stream.rules import Rules
from tests.property.partitions import Cluster

LATER = OpeningBalance(
    source="/siak", id="b", time=1, occurred_on=ordinal("2018-12-31"), region="16.05", counts={"population": 9}
)
EARLIER = msgspec.structs.replace(LATER, time=0, region="16.09")


def test_a_balance_that_lost_is_known_since_the_day_it_first_came(tmp_path: Path) -> None:
    """Set down for a later day too, it would be taken out of the closings of the days between, if they are made late."""
    cluster = Cluster(1, tmp_path, rules=Rules(first_period="2019-01"))
    turned = [(LATER, date(2019, 1, 29)), (EARLIER, date(2019, 1, 30)), (LATER, date(2019, 1, 31))]
    for balance, day in turned:
        cluster.accept(Admitted(None, balance, "lampit.opening_balance.v1"))
        cluster.turn(day)
        cluster.settle()
    cluster.close()
    parts = [decode(key, value) for key, value in cluster.closing_parts if value is not None]
    told = [(part.balance().region, part.known_day) for part in parts if isinstance(part, BalanceRecord)]
    assert told == [("16.05", date(2019, 1, 28)), ("16.09", date(2019, 1, 29))]


def test_no_news_to_a_book() -> None:
    book = Book([LATER, EARLIER, LATER])
    assert (book.events, book.accepted) == ((LATER, EARLIER), (EARLIER,))
    assert book.news([LATER, EARLIER]) == []
    later_still = msgspec.structs.replace(LATER, time=2)
    assert book.news([later_still, LATER, later_still]) == [later_still]
