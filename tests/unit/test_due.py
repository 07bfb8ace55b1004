"""What is due to be published, as the store keeps it: by the batch that made it due, until that has been published."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

from agents.desk import Desk
from agents.producer import Record
from agents.store import Store
from stream.calendar import ordinal
from stream.ledger import Day, encode_record
from tests.counters import accept
from tests.unit.test_new_epoch import control, fetch
from tests.unit.test_older_store import desk_of, event

FIRST, SECOND = "16.05.02.2001", "16.05.02.2002"


class Interrupted:
    """Stands for the fenced producer: something happens while the transaction is under way."""

    def __init__(self) -> None:
        self.meanwhile: Any = None

    async def publish(self, records: Iterable[Record]) -> None:
        if self.meanwhile is not None:
            self.meanwhile()


def registered(number: int, village: str) -> bytes:
    person = {"birth_date": "1990-01-01", "sex": "F"}
    (admitted,), _ = accept(
        [event("register", f"register-{number}", nik=f"16050242031900{number:02}", region=village, person=person)]
    )
    return encode_record(admitted.subject, admitted.event, 0)


def desk_over(path: Path, producer: Interrupted) -> Desk:
    return desk_of(Store(path), cast(Any, producer), 0)


def again(desk: Desk) -> set[str]:
    """What a worker finds due that takes over what this one left."""
    path = desk.store.path
    desk.store.close()
    found = desk_over(path, Interrupted())
    due = found.due_columns
    found.store.close()
    return due


def test_what_several_batches_changed_is_due_after_a_kill(tmp_path: Path) -> None:
    desk = desk_over(tmp_path / "store", Interrupted())
    desk.apply(fetch(0, control(Day(ordinal("2024-01-01"))), registered(1, FIRST)))
    desk.apply(fetch(2, registered(2, FIRST), registered(3, SECOND)))
    assert again(desk) == {FIRST, SECOND}


def test_what_is_published_is_due_no_more(tmp_path: Path) -> None:
    desk = desk_over(tmp_path / "store", Interrupted())
    desk.apply(fetch(0, control(Day(ordinal("2024-01-01"))), registered(1, FIRST)))
    desk.apply(fetch(2, registered(2, SECOND)))
    asyncio.run(desk.publish())
    desk.apply(fetch(3, registered(3, SECOND)))
    asyncio.run(desk.publish())
    assert again(desk) == set()


def test_what_a_batch_changes_during_a_publication_stays_due(tmp_path: Path) -> None:
    """Also where the same place is in the publication: it says what was before the batch."""
    producer = Interrupted()
    desk = desk_over(tmp_path / "store", producer)
    desk.apply(fetch(0, control(Day(ordinal("2024-01-01"))), registered(1, FIRST), registered(2, SECOND)))
    producer.meanwhile = lambda: desk.apply(fetch(3, registered(3, SECOND)))
    asyncio.run(desk.publish())
    assert desk.due_columns == {SECOND}
    assert again(desk) == {SECOND}
