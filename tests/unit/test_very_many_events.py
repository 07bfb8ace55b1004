"""Any number of events of one person is folded in time that grows as their number does.

Nothing bounds what one sender can send of one NIK. Where the time grew as the square of it, a worker came to one batch, was
taken for hung and started again, and came to the same one. Each of these took from minutes to hours, and takes seconds.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from agents.store import FORMAT, Meta, Store
from lampit import reference
from stream.events import Cancellation, Death, Event, NikChange
from stream.identity import families, named
from stream.opening import Book
from stream.partition import Draft
from stream.rules import Rules
from stream.standing import resolve

pytestmark = pytest.mark.timeout(60)

MANY = 60_000
SUBJECT = f"{0:032x}"


def cancellation(number: int, target: int) -> Cancellation:
    """One that names another by its number."""
    return Cancellation(
        source="/siak", id=str(number), time=0, occurred_on=1, target_source="/siak", target_id=str(target)
    )


def death(number: int) -> Death:
    """A death that nobody had been born or registered for."""
    return Death(source="/siak", id=str(number), time=0, occurred_on=1, region="16.05.02.2001")


def test_a_chain_of_cancellations() -> None:
    """Of a chain every second one has effect, from its far end on."""
    standing = resolve([death(0), *(cancellation(number, number - 1) for number in range(1, MANY + 1))])
    assert [event.id for event in standing.events] == [str(number) for number in range(0, MANY + 1, 2)]


def test_a_circle_of_cancellations() -> None:
    standing = resolve([cancellation(number, (number + 1) % MANY) for number in range(MANY)])
    assert {kind for _, kind in standing.anomalies} == {"cancellation_cycle"}
    assert len(standing.anomalies) == len(standing.events) == MANY


def test_one_event_cancelled_again_and_again() -> None:
    standing = resolve([death(0), *(cancellation(number, 0) for number in range(1, MANY + 1))])
    assert death(0) not in standing.events
    assert len(standing.events) == MANY


def test_events_that_come_in_large_batches(tmp_path: Path) -> None:
    store, places = Store(tmp_path), reference.load()
    for begin in range(0, MANY, MANY // 10):
        draft = Draft(store, Rules(), places, Book((), places.places), 2)
        draft.add_events((SUBJECT, death(number % MANY)) for number in range(begin, begin + MANY // 10 + 1))
        store.write(draft, Meta(FORMAT, "ledger", 0, "settings", day=2), draft.columns)
    assert [len(events or ()) for events in store.persons([SUBJECT])] == [MANY]
    store.close()


@pytest.mark.parametrize("order", [1, -1])
def test_a_family_of_very_many_niks(order: int) -> None:
    """Each becomes the next one, or the one before."""
    subjects = [f"{number:032x}" for number in range(MANY)][::order]
    sent: dict[str, list[Event]] = {
        one: [NikChange(source="/siak", id=one, time=0, occurred_on=1, new_subject=other)]
        for one, other in pairwise(subjects)
    }
    for found in ([group for _, group in named(sent)], families(sent, list(sent))):
        assert [len(group) for group in found] == [MANY - 1]
