"""A country is closed while all else goes on; given up at any moment, it is begun again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from pathlib import Path

import pytest

from agents import closings, turns
from agents.barrier import LedgerIdentity, rules_of
from agents.closings import Closings, TakenOver
from agents.producer import Record
from agents.settings import Settings
from agents.topics import CLOSINGS, PARTIALS
from lampit import reference
from stream.calendar import ordinal
from stream.closing_cells import Barrier
from stream.closing_parts import records
from stream.contribution import Change
from stream.opening import Book
from stream.tally import POPULATION, UNITS

VILLAGES = [f"16.05.02.{2001 + number}" for number in range(12)]
MAN = UNITS[0][POPULATION]
STEPS = 10


@pytest.fixture(autouse=True)
def _short_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(_: Settings, topic: str, partition: int) -> AsyncIterator[None]:
        assert (topic, partition) == (CLOSINGS, 0)
        return
        yield

    monkeypatch.setattr(closings, "newest", nothing)
    monkeypatch.setattr(turns, "STEPS", STEPS)


class Ledger:
    """One partition, and what its roll-up published."""

    def __init__(self, folder: Path, first_period: str = "2019-01") -> None:
        settings, places = Settings(data_dir=folder, partitions=1, first_period=first_period), reference.load()
        self._identity = LedgerIdentity("ours", 1, rules_of(settings), places.digest)
        periods = self._identity.rules.periods
        assert periods is not None
        self._periods = periods
        self.closings = Closings(settings, self._identity, periods, places)
        self.published: list[Record] = []

    def say(self, day: str, people: int, villages: Sequence[str] = VILLAGES, none_in: Sequence[str] = ()) -> None:
        """So many in every village since before the first period, and none elsewhere, known at the end of a day."""
        cells = {(-1, village): Change(people * MAN, people * MAN) for village in villages}
        cells |= {(-1, place): Change() for place in none_in}
        said = Barrier(ordinal(day), 7, cells, [], Book())
        for part in records(said, self._periods, 0, 1, self._identity.settings_name):
            self.closings.add(part)

    async def publish(self, transaction: Iterable[Record]) -> None:
        await asyncio.sleep(0)
        self.published += transaction

    def close(self, is_wanted: Callable[[], bool] = lambda: True) -> int:
        """How many turns others had."""
        taken = 0

        async def others() -> None:
            nonlocal taken
            while True:
                taken += 1
                await asyncio.sleep(0)

        async def both() -> None:
            beside = asyncio.create_task(others())
            try:
                await self.closings.close(self.publish, is_wanted)
            finally:
                beside.cancel()

        asyncio.run(both())
        return taken

    def closed(self) -> list[bytes | None]:
        """The keys of the closings, in order."""
        return [record.key for record in self.published if record.topic == CLOSINGS]


def test_others_have_their_turns(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.say("2019-01-28", 3)
    # At least the cells, each looked at twice, and a part and a figure of each village, two datings at two cut-offs.
    assert ledger.close() > (2 + 2 * 2 * 2) * len(VILLAGES) / STEPS
    assert len(ledger.closed()) == len(VILLAGES) + len(("16.05.02", "16.05", "16", "ID", "ID-transit"))
    assert ledger.published[-1].topic == PARTIALS


def test_given_up_at_any_moment_it_is_begun_again_and_nothing_is_missing(tmp_path: Path) -> None:
    """A revision that a day brings was forgotten where the roll-up stopped being the active one between the two."""
    whole = Ledger(tmp_path)
    for day, people in (("2019-01-28", 3), ("2019-01-29", 5)):
        whole.say(day, people)
        whole.close()
    revisions = [key for key in whole.closed() if (key or b"").endswith(b"2019-01-29")]
    assert len(revisions) == len(VILLAGES) + len(("16.05.02", "16.05", "16", "ID"))
    for asked in range(100):
        ledger = Ledger(tmp_path)
        ledger.say("2019-01-28", 3)
        ledger.close()
        ledger.say("2019-01-29", 5)
        left = asked

        def is_wanted() -> bool:
            nonlocal left
            left -= 1
            return left >= 0

        try:
            ledger.close(is_wanted)
        except TakenOver:
            ledger.close()
            assert ledger.closed() == whole.closed(), f"given up when asked for the {asked + 1}th time"
        else:
            break
    assert 10 < asked < 99


def test_a_transaction_that_is_not_taken_is_made_again(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.say("2019-01-28", 3)
    ledger.close()
    first = len(ledger.closed())
    ledger.say("2019-01-29", 5)

    async def refuse(_: Iterable[Record]) -> None:
        raise TakenOver

    with pytest.raises(TakenOver):
        asyncio.run(ledger.closings.close(refuse, lambda: True))
    ledger.close()
    assert len(ledger.closed()) == 2 * first - 1
    assert (ledger.closed()[-1] or b"").endswith(b"2019-01-29")


@pytest.mark.parametrize("records_max", [1, 3, 1_000])
def test_a_region_closed_a_month_before_goes_on_whatever_is_published_together(
    records_max: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its villages go to another code in February, and January's closings may wait to be published when February is made."""
    monkeypatch.setattr(closings, "RECORDS_MAX", records_max)
    ledger = Ledger(tmp_path, "2022-01")
    ledger.say("2022-04-29", 1, ["11.72.01.2001"], none_in=["11.72.01"])
    ledger.close()
    months = [b"2022-01", b"2022-02", b"2022-03", b"2022-04"]
    assert [key for key in ledger.closed() if key and key.startswith(b"11.72.01|")] == [
        b"11.72.01|" + month + b"|2022-04-29" for month in months
    ]
