"""Which places a batch gives out again, though nothing moves by all that is known after it.

Held by hand: it takes a chain of three cancellations, which the simulation (docs/decisions/0015) does not send.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path

from agents.store import FORMAT, Meta, Store
from lampit import reference
from stream.events import Cancellation, Event, MoveIn, Register
from stream.opening import Book
from stream.partition import Draft
from stream.rules import Rules

SOURCE = "/siak/1605"
SUBJECT = "00000001" + 24 * "0"
DAY = date(2019, 3, 28).toordinal()
BEFORE, AFTER = "16.05.01.2001", "16.05.02.2001"


def test_a_cancellation_of_a_cancellation_and_its_own_give_out_where_somebody_counted_between_the_two(
    tmp_path: Path,
) -> None:
    """Another worker may have given out what it knew between them: the move stands, and nothing here says so any more."""
    store = Store(tmp_path / "store")
    here = Register(source=SOURCE, id="a", time=0, occurred_on=DAY - 90, region=BEFORE)
    there = MoveIn(source=SOURCE, id="b", time=0, occurred_on=DAY - 60, region=AFTER)
    _written(store, [here, there, _cancelling("b", "c")])
    draft = _written(store, [_cancelling("c", "d"), _cancelling("d", "e")])
    store.close()
    assert AFTER in draft.columns


def _cancelling(target: str, name: str) -> Cancellation:
    return Cancellation(source=SOURCE, id=name, time=0, occurred_on=DAY, target_source=SOURCE, target_id=target)


def _written(store: Store, batch: list[Event]) -> Draft:
    draft = Draft(store, Rules(), reference.load(), Book(), DAY)
    draft.add_events((SUBJECT, event) for event in batch)
    store.write(draft, Meta(FORMAT, "ledger", 0, "settings", day=DAY), draft.columns)
    return draft
