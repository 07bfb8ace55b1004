"""A store behind what was given out: a worker that had the partition before, or lost its last writes, takes it over.

What another worker published between two events stays on the topics; here both come in one batch, and together change nothing.
Found by the simulation (docs/decisions/0015).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import Any, cast

import pytest

from agents.barrier import LedgerIdentity
from agents.desk import Desk
from agents.producer import Record
from agents.store import Store
from agents.topics import ANOMALIES, LEDGER, PARTIALS
from lampit import reference
from stream.ledger import Day, encode_record
from stream.rules import Rules
from tests.counters import accept
from tests.unit.test_new_epoch import control, fetch

VILLAGE = "16.05.02.2001"
NIK, OTHER_NIK = "1605024203190001", "1605024203190002"

Json = dict[str, Any]


class Published:
    """Stands for the fenced producer: what the topics hold in the end."""

    def __init__(self) -> None:
        self.newest: dict[tuple[str, bytes], Json] = {}
        self.copies: list[bytes] = []

    async def publish(self, records: Iterable[Record]) -> None:
        for record in records:
            if record.topic == LEDGER:
                self.copies.append(record.value or b"")
            elif record.key is not None and record.value is not None:
                self.newest[record.topic, record.key] = json.loads(record.value)


def event(kind: str, name: str, **data: Any) -> Json:
    return {
        "specversion": "1.0", "id": name, "source": "/siak/1605", "type": f"lampit.{kind}.v1",
        "time": "2019-03-05T09:12:00+07:00", "data": {"nik": NIK, "occurred_on": "2019-03-02", **data},
    }  # fmt: skip


REGISTER = event("register", "register", region=VILLAGE, person={"birth_date": "1990-01-01", "sex": "F"})
RECORDING = event("recording", "recording", region=VILLAGE)
MERGE = event("nik_change", "merge", new_nik=OTHER_NIK)


def cancel(name: str, target: str) -> Json:
    return event("cancellation", name, cancels={"source": "/siak/1605", "id": target})


def desk_of(store: Store, published: Published, end: int, listed: Iterable[str] = ()) -> Desk:
    read = reference.load()
    identity = LedgerIdentity("ledger", 1, Rules(), read.digest)
    return Desk(0, store, cast(Any, published), identity, Rules(), read, "here", end, frozenset(listed))


def values(identity: LedgerIdentity, events: Sequence[Json]) -> list[bytes]:
    """The log: an epoch, a day, events."""
    admitted, refused = accept(events)
    assert not refused
    records = [encode_record(one.subject, one.event, 0) for one in admitted]
    return [control(identity.epoch(1)), control(Day(date(2019, 3, 28).toordinal())), *records]


async def given_out(folder: Path, before: Sequence[Json], between: Json, after: Json) -> Published:
    """Worker a has everything event by event up to `between`; worker b has `before`, and gets the rest at once."""
    published = Published()
    stores = [Store(folder / name) for name in "ab"]
    a, b = (desk_of(store, published, 0) for store in stores)
    log = values(a.identity, [*before, between, after])
    for desk in (b, a):
        desk.apply(fetch(0, *log[:-2]))
        await desk.publish()
    a.apply(fetch(len(log) - 2, log[-2]))
    await a.publish()
    listed = {key.decode() for topic, key in published.newest if topic == ANOMALIES}
    b = desk_of(stores[1], published, len(log), listed)
    b.apply(fetch(len(log) - 2, *log[-2:]))
    await b.publish()
    for store in stores:
        store.close()
    return published


def lists(published: Published) -> list[list[str]]:
    found = [value["anomalies"] for (topic, _), value in published.newest.items() if topic == ANOMALIES]
    return [[one["kind"] for one in anomalies] for anomalies in found]


def test_a_list_that_another_worker_gave_out_is_put_right(tmp_path: Path) -> None:
    """A recording is `unplaced` until the register comes."""
    published = run(given_out(tmp_path, [], RECORDING, REGISTER))
    assert lists(published) == [[]]


def test_a_figure_that_another_worker_gave_out_is_put_right(tmp_path: Path) -> None:
    """A register entry that is cancelled, not so after all, and then again: nobody lives there."""
    before = [REGISTER, cancel("first", "register")]
    published = run(given_out(tmp_path, before, cancel("second", "first"), cancel("third", "second")))
    place = next(
        value for (topic, key), value in published.newest.items() if topic == PARTIALS and VILLAGE.encode() in key
    )
    assert place["counts"]["population"] == [0, 0, 0]


@pytest.mark.parametrize("keeper", [NIK, OTHER_NIK], ids=["given-up", "kept"])
def test_a_list_due_of_one_person_does_not_come_after_the_one_of_the_family(tmp_path: Path, keeper: str) -> None:
    """The list of a person alone is due; then they turn out to be one with another, who lives there."""
    gone = OTHER_NIK if keeper == NIK else NIK
    events = [
        event("recording", "recording", nik=gone, region=VILLAGE),
        event("nik_change", "merge", nik=gone, new_nik=keeper),
        {**REGISTER, "data": {**REGISTER["data"], "nik": keeper}},
    ]
    first, published = Published(), Published()
    for name, topics in (("first", first), ("rebuilt", published)):
        desk = desk_of(Store(tmp_path / name), topics, 0)
        # The second is a store that is rebuilt: the copies are in the log already, and nothing is given out before the end.
        for value in [*values(desk.identity, events), *first.copies]:
            desk.apply(fetch(desk.meta.next_offset, value))
        run(desk.publish())
        desk.store.close()
    assert first.copies
    assert lists(published) == [[], []]


def test_markers_behind_the_last_record_are_no_reason_to_wait(tmp_path: Path) -> None:
    """The offset behind them is kept, so that no head goes back to where the last record ends."""
    published = Published()
    desk = desk_of(Store(tmp_path / "store"), published, 7)
    log = values(desk.identity, [REGISTER])
    desk.apply(fetch(0, *log))
    assert not desk.caught_up
    desk.pass_through(6)
    assert not desk.caught_up
    desk.pass_through(7)
    assert desk.caught_up and desk.due
    run(desk.publish())
    assert desk.caught_up
    assert published.newest[PARTIALS, b"head|0"]["offset"] == 7
    desk.store.close()


def run(call: Any) -> Any:
    return asyncio.run(call)


def test_lists_that_wait_in_the_store_are_given_out_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that is rebuilt finds the lists of everybody; they do not all go into one transaction, nor into memory."""
    monkeypatch.setattr("agents.desk.LISTS_MAX", 2)
    niks = [f"160502420319000{digit}" for digit in range(1, 6)]
    recordings = [event("recording", f"recording-{number}", nik=nik, region=VILLAGE) for number, nik in enumerate(niks)]
    published = Published()
    desk = desk_of(Store(tmp_path), published, end := len(recordings) + 2)
    log = values(desk.identity, recordings)
    desk.apply(fetch(0, *log[:-1]))
    assert not desk.caught_up
    assert not desk.due_subjects
    desk.apply(fetch(end - 1, log[-1]))
    transactions = 0
    while desk.due:
        run(desk.publish())
        transactions += 1
    assert lists(published) == [["unplaced"]] * len(niks)
    assert transactions == 3
    desk.store.close()
