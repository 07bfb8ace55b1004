"""Closings are made when all partitions have come to a day, of what each knew then; nothing is made twice."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

import msgspec

from agents.turns import at_once
from lampit import reference
from stream.calendar import ordinal
from stream.closer import Closer, Work
from stream.closing_cells import Barrier
from stream.closing_parts import ClosedRecord, ClosingPart, decode, encode, records
from stream.contribution import Change, PeriodCell
from stream.events import OpeningBalance
from stream.opening import Book
from stream.periods import Periods
from stream.rules import Rules
from stream.tally import POPULATION, UNITS

PERIODS = Periods.since("2019-01")
HOME = "16.05.02.2003"
MAN = UNITS[0][POPULATION]
BALANCE = OpeningBalance(
    source="/siak", id="b", time=0, occurred_on=ordinal("2018-12-31"), region="16.05", counts={"population": 9}
)

Json = dict[str, Any]


class Published:
    """What was published, in order."""

    def __init__(self) -> None:
        self.records: list[Json] = []

    @property
    def regions(self) -> set[str]:
        return {record["region"] for record in self.records}

    def latest(self, region: str, period: str) -> Mapping[str, Any] | None:
        found = [one for one in self.records if (one["region"], one["period"]) == (region, period)]
        return found[-1] if found else None


def closer(settings: str = "now") -> Closer:
    """Of two partitions."""
    return Closer(Rules(first_period="2019-01"), PERIODS, reference.load(), 2, settings)


def people(number: int) -> dict[PeriodCell, Change]:
    """Men in HOME since before the first period."""
    return {(-1, HOME): Change(number * MAN, number * MAN)}


def barrier(partition: int, day: str, cells: dict[PeriodCell, Change], settings: str = "now") -> list[ClosingPart]:
    """What a partition says at the end of a day, through its wire form."""
    return _through(partition, Barrier(ordinal(day), 7, cells, [], Book()), settings)


def _through(partition: int, said: Barrier, settings: str) -> list[ClosingPart]:
    parts = [decode(part.key, encode(part)) for part in records(said, PERIODS, partition, 1, settings)]
    assert None not in parts
    return [part for part in parts if part is not None]


def add(to: Closer, *batches: list[ClosingPart]) -> None:
    for batch in batches:
        for part in batch:
            to.add(part)


def begun(of: Closer, day: str) -> Work:
    return at_once(of.begin(ordinal(day)))


def new(of: Closer, work: Work, published: Published) -> list[Json]:
    return [record for record in of.closings(work, published) if record is not None]


def taken_over(of: Closer, published_through: str | None) -> list[ClosedRecord]:
    return at_once(of.take_over(None if published_through is None else ordinal(published_through)))


def close_all(of: Closer, published: Published) -> list[tuple[str, int, int]]:
    """(known day, population of HOME, revision) of the closings of 2019-01 that are made; then nothing is left to do."""
    made = []
    while (day := of.next_day()) is not None:
        work = at_once(of.begin(day))
        published.records += new(of, work, published)
        of.finish(work)
    for record in published.records:
        if (record["region"], record["period"]) == (HOME, "2019-01"):
            made.append(
                (record["known_day"], record["by_event_date"]["closing"]["population"]["M"], record["revision"])
            )
    return made


def test_a_partition_that_is_ahead_waits_for_the_other() -> None:
    """Each day is closed with what both knew at its end, though one had said more by then."""
    of, published = closer(), Published()
    add(of, barrier(0, "2019-01-28", people(1)), barrier(0, "2019-01-29", people(5)))
    assert close_all(of, published) == []
    add(of, barrier(1, "2019-01-28", people(10)))
    assert close_all(of, published) == [("2019-01-28", 11, 0)]
    add(of, barrier(1, "2019-01-29", {}))
    assert close_all(of, published) == [("2019-01-28", 11, 0), ("2019-01-29", 15, 1)]


def test_a_day_that_one_partition_skipped_makes_no_closing() -> None:
    of, published = closer(), Published()
    add(
        of,
        barrier(0, "2019-01-28", people(1)),
        barrier(0, "2019-01-30", people(2)),
        barrier(1, "2019-01-30", people(3)),
    )
    assert close_all(of, published) == [("2019-01-30", 5, 0)]


def test_a_balance_that_one_partition_lacks_makes_it_wait() -> None:
    of, published = closer(), Published()
    with_balance = Barrier(ordinal("2019-01-28"), 7, people(1), [BALANCE], Book([BALANCE]))
    add(of, _through(0, with_balance, "now"), barrier(1, "2019-01-28", people(1)))
    assert close_all(of, published) == []
    later = {"known_day": ordinal("2019-01-29"), "cells": {}, "balances": [], "book": Book([BALANCE])}
    add(of, _through(0, Barrier(offset=8, **later), "now"), _through(1, Barrier(offset=9, **later), "now"))
    assert close_all(of, published) == [("2019-01-29", 2, 0)]
    kabupaten = published.latest("16.05", "2019-01")
    assert kabupaten is not None
    assert (kabupaten["basis"], kabupaten["by_event_date"]["closing"]["population"]["total"]) == ("balance", 11)
    assert kabupaten["position"] == {"0": 8, "1": 9}


def test_what_is_not_needed_any_more_is_named_once() -> None:
    """Of a cell the older value, of barriers those before the last day closed; repeats of old ones too."""
    of, published = closer(), Published()
    first = [barrier(0, "2019-01-28", people(1)), barrier(1, "2019-01-28", {})]
    add(of, *first)
    close_all(of, published)
    second = [barrier(0, "2019-01-29", people(2)), barrier(1, "2019-01-29", {})]
    add(of, *second)
    work = begun(of, "2019-01-29")
    closed, superseded = of.finish(work)
    assert closed.known_day == date(2019, 1, 29)
    assert sorted(superseded) == sorted(part.key for batch in first for part in batch)
    assert of.superseded == []
    add(of, *first)
    assert close_all(of, published)[-1][1] == 1, "nothing new was published"


def test_a_takeover_goes_on_where_the_day_was_closed() -> None:
    """The base is not closed again; a day that was cut short is, without publishing anything twice."""
    published = Published()
    parts = [barrier(0, "2019-01-28", people(1)), barrier(1, "2019-01-28", people(1))]
    of = closer()
    add(of, *parts)
    work = begun(of, "2019-01-28")
    published.records += new(of, work, published)
    cut_short = closer()
    add(cut_short, *parts)
    taken_over(cut_short, "2019-01-28")
    number = len(published.records)
    close_all(cut_short, published)
    assert len(published.records) == number
    whole = closer()
    closed, _ = of.finish(work)
    add(whole, *parts, [closed])
    taken_over(whole, "2019-01-28")
    assert whole.next_day() is None
    assert whole.closed_day == ordinal("2019-01-28")


def test_a_takeover_that_does_not_see_yet_which_days_are_closed_closes_only_the_last_again() -> None:
    """What the roll-up before wrote behind an open transaction is not seen; what it published tells how far it was."""
    first = [barrier(0, "2019-01-28", people(1)), barrier(1, "2019-01-28", people(1))]
    second = [barrier(0, "2019-01-29", people(4)), barrier(1, "2019-01-29", people(1))]
    before, published = closer(), Published()
    add(before, *first, *second)
    assert close_all(before, published) == [("2019-01-28", 2, 0), ("2019-01-29", 5, 1)]
    after, number = closer(), len(published.records)
    add(after, *first, *second)
    taken_over(after, "2019-01-29")
    close_all(after, published)
    assert len(published.records) == number
    sees_less = closer()
    add(sees_less, *first)
    taken_over(sees_less, "2019-01-29")
    assert sees_less.next_day() is None
    add(sees_less, *second)
    close_all(sees_less, published)
    assert len(published.records) == number
    add(sees_less, barrier(0, "2019-01-30", people(6)), barrier(1, "2019-01-30", {}))
    assert close_all(sees_less, published)[-1] == ("2019-01-30", 7, 2)


def test_other_settings_revise_the_next_day_only() -> None:
    """What they made is of no use; days that were published are not published again."""
    of, published = closer(), Published()
    add(of, barrier(0, "2019-01-28", people(1)), barrier(1, "2019-01-28", {}))
    work = begun(of, "2019-01-28")
    published.records += new(of, work, published)
    closed, _ = of.finish(work)
    changed = closer("later")
    add(changed, [closed], barrier(0, "2019-01-28", people(1)))
    add(changed, barrier(0, "2019-01-28", people(3), "later"), barrier(1, "2019-01-28", {}, "later"))
    taken_over(changed, "2019-01-28")
    for partition in (0, 1):
        changed.head(partition, "later")
    assert len(changed.superseded) == 2
    assert close_all(changed, published) == [("2019-01-28", 1, 0)]
    tomorrow = (date(2019, 1, 28) + timedelta(days=1)).isoformat()
    add(changed, barrier(0, tomorrow, {}, "later"), barrier(1, tomorrow, {}, "later"))
    assert close_all(changed, published) == [("2019-01-28", 1, 0), ("2019-01-29", 3, 1)]


def test_the_first_day_under_other_settings_is_closed_to_its_end_after_a_kill() -> None:
    """As any day that was cut short: not left for the next day, of which the region would be told late."""
    of, published = closer(), Published()
    first = [barrier(0, "2019-01-28", people(1)), barrier(1, "2019-01-28", {})]
    add(of, *first)
    close_all(of, published)
    closed, _ = of.finish(begun(of, "2019-01-28"))
    parts = [
        part
        for day, cells in (("2019-01-28", people(3)), ("2019-01-29", {}))
        for partition in (0, 1)
        for part in barrier(partition, day, {} if partition else cells, "later")
    ]
    changed = closer("later")
    add(changed, [closed], parts)
    told = taken_over(changed, "2019-01-28")
    assert told
    cut_short = new(changed, begun(changed, "2019-01-29"), published)[:1]
    assert cut_short[0]["region"] != HOME
    published.records += cut_short
    again = closer("later")
    add(again, parts, told)
    assert not taken_over(again, "2019-01-29")
    assert close_all(again, published) == [("2019-01-28", 1, 0), ("2019-01-29", 3, 1)]
    assert len([one for one in published.records if one["region"] == cut_short[0]["region"]]) == 2


def test_what_settings_of_a_newer_epoch_made_is_left_to_its_rollup() -> None:
    """A roll-up that was left running with the old ones still had a day to close, and deleted what the new ones said."""
    of, published = closer(), Published()
    add(of, barrier(0, "2019-01-28", people(1)), barrier(1, "2019-01-28", {}))
    of.head(0, "now")
    of.head(1, "now")
    add(of, barrier(0, "2019-01-28", people(7), "later"))
    of.head(1, "now")
    work = begun(of, "2019-01-28")
    published.records += new(of, work, published)
    _, superseded = of.finish(work)
    assert superseded == []
    of.head(0, "now")
    assert len(of.superseded) == 2


def test_the_very_first_day_is_closed_to_its_end_after_a_kill_where_other_settings_said_something_of_it() -> None:
    """They had published nothing: the rest of the day has its known day too, not the next one's."""
    others = [barrier(0, "2019-01-28", people(1)), barrier(1, "2019-01-28", {})]
    ours = [barrier(0, "2019-01-28", people(3), "later"), barrier(1, "2019-01-28", {}, "later")]
    of, published = closer("later"), Published()
    add(of, *others, *ours)
    told = taken_over(of, None)
    assert told
    published.records += new(of, begun(of, "2019-01-28"), published)[:1]
    again = closer("later")
    add(again, *others, *ours, told)
    assert not taken_over(again, "2019-01-28")
    assert close_all(again, published) == [("2019-01-28", 3, 0)]


def test_a_day_that_other_settings_began_is_not_closed_again_where_none_was_closed_before() -> None:
    """Neither what they published of it nor anything else of that known day is published once more."""
    of, published = closer(), Published()
    first = [barrier(0, "2019-01-28", people(1)), barrier(1, "2019-01-28", {})]
    add(of, *first)
    published.records += new(of, begun(of, "2019-01-28"), published)
    changed = closer("later")
    add(changed, *first)
    for partition, cells in ((0, people(3)), (1, {})):
        add(changed, barrier(partition, "2019-01-28", cells, "later"), barrier(partition, "2019-01-29", {}, "later"))
    assert taken_over(changed, "2019-01-28")
    assert close_all(changed, published) == [("2019-01-28", 1, 0), ("2019-01-29", 3, 1)]


def test_a_region_of_a_day_that_was_cut_short_is_closed_empty_when_everybody_left() -> None:
    """Other settings do not close that day again, and by the next one nobody is in the village, which was never closed."""
    of, published = closer(), Published()
    first = [barrier(0, "2019-01-28", people(1)), barrier(1, "2019-01-28", {})]
    add(of, *first)
    month = new(of, begun(of, "2019-01-28"), published)
    published.records += [record for record in month if record["region"] == "16.05"]
    changed = closer("later")
    add(changed, *first)
    for partition, cells in ((0, people(1)), (1, {})):
        add(changed, barrier(partition, "2019-01-28", cells, "later"))
        add(changed, barrier(partition, "2019-01-29", people(0) if cells else {}, "later"))
    taken_over(changed, "2019-01-28")
    close_all(changed, published)
    found = [record for record in published.records if (record["region"], record["period"]) == ("16.05", "2019-01")]
    assert [record["by_event_date"]["closing"]["population"]["total"] for record in found] == [1, 0]


def test_a_region_that_everybody_left_goes_on_with_zeros() -> None:
    """One where nobody ever was is not closed."""
    of, published = closer(), Published()
    elsewhere = {(-1, "16.05.02.2004"): Change()}
    add(of, barrier(0, "2019-01-28", people(1) | elsewhere), barrier(1, "2019-01-28", {}))
    close_all(of, published)
    add(of, barrier(0, "2019-01-29", people(0)), barrier(1, "2019-01-29", {}))
    assert close_all(of, published)[-1] == ("2019-01-29", 0, 1)
    assert "16.05.02.2004" not in published.regions


def test_a_region_closed_by_a_balance_that_another_takes_the_place_of_is_closed_empty() -> None:
    """The two have one id; the earlier one counts, whichever came first, and it is of another region."""
    of, published = closer(), Published()
    later = msgspec.structs.replace(BALANCE, time=1)
    earlier = msgspec.structs.replace(BALANCE, region="16.09")

    def closed(region: str) -> list[Any]:
        return [
            record["by_event_date"]["closing"]["population"]["total"]
            for record in published.records
            if (record["region"], record["period"]) == (region, "2019-01")
        ]

    for day, balances, book in (
        ("2019-01-28", [later], Book([later])),
        ("2019-01-30", [earlier], Book([later, earlier])),
    ):
        for partition in (0, 1):
            add(of, _through(partition, Barrier(ordinal(day), 7, {}, balances, book), "now"))
        close_all(of, published)
    assert (closed("16.05"), closed("16.09")) == ([9, 0], [9])


def test_a_region_that_everybody_left_before_a_takeover_goes_on_under_its_balances() -> None:
    """Of the cells who takes over reads only that nobody is there, while what the closing stands on has changed."""
    of, published = closer(), Published()
    nation = msgspec.structs.replace(BALANCE, region="ID", time=1)
    earlier = msgspec.structs.replace(BALANCE, region="16.09")
    first = [
        _through(partition, Barrier(ordinal("2019-01-28"), 7, cells, [nation], Book([nation])), "now")
        for partition, cells in ((0, people(1)), (1, {}))
    ]
    add(of, *first)
    close_all(of, published)
    add(of, barrier(0, "2019-01-29", people(0)), barrier(1, "2019-01-29", {}))
    work = begun(of, "2019-01-29")
    published.records += new(of, work, published)
    closed, superseded = of.finish(work)
    kept = [
        part for batch in (*first, barrier(0, "2019-01-29", people(0))) for part in batch if part.key not in superseded
    ]
    later = closer()
    add(later, kept, [closed])
    taken_over(later, None)
    for partition in (0, 1):
        said = Barrier(ordinal("2019-01-30"), 8, {}, [earlier], Book([nation, earlier]))
        add(later, _through(partition, said, "now"))
    close_all(later, published)
    bases = [
        record["basis"] for record in published.records if (record["region"], record["period"]) == (HOME, "2019-01")
    ]
    assert bases == ["parent", "parent", "register"]


def test_what_was_given_up_between_two_steps_can_be_begun_again() -> None:
    """Also where all was taken in and nothing of it published: what changed is known until the day is closed."""
    of, published = closer(), Published()
    add(of, barrier(0, "2019-02-28", people(1)), barrier(1, "2019-02-28", people(1)))
    close_all(of, published)
    add(of, barrier(0, "2019-03-01", people(2)), barrier(1, "2019-03-01", people(3)))
    steps = of.begin(ordinal("2019-03-01"))
    next(steps)
    next(steps)
    steps.close()
    cut_short = new(of, begun(of, "2019-03-01"), published)
    whole = begun(of, "2019-03-01")
    assert new(of, whole, published) == cut_short
    assert {record["period"] for record in cut_short if record["region"] == HOME} == {"2019-01", "2019-02"}
    published.records += cut_short
    of.finish(whole)
    add(of, barrier(0, "2019-03-02", {}), barrier(1, "2019-03-02", {}))
    assert new(of, begun(of, "2019-03-02"), published) == []


def test_a_takeover_that_was_given_up_can_be_begun_again() -> None:
    parts = [barrier(0, "2019-01-28", people(1)), barrier(1, "2019-01-28", people(2))]
    before, published = closer(), Published()
    add(before, *parts)
    close_all(before, published)
    closed, _ = before.finish(begun(before, "2019-01-28"))
    of = closer()
    add(of, *parts, [closed])
    steps = of.take_over(ordinal("2019-01-28"))
    next(steps)
    next(steps)
    steps.close()
    assert taken_over(of, "2019-01-28") == []
    add(of, barrier(0, "2019-01-29", people(5)), barrier(1, "2019-01-29", {}))
    assert close_all(of, published) == [("2019-01-28", 3, 0), ("2019-01-29", 7, 1)]


def test_a_takeover_that_was_given_up_begins_again_where_it_did() -> None:
    """Its own record of an earlier closed day comes to light meanwhile, from behind a transaction of somebody else."""
    published = Published()
    first = [barrier(0, "2019-01-28", people(1)), barrier(1, "2019-01-28", {})]
    second = [barrier(0, "2019-01-29", people(4)), barrier(1, "2019-01-29", {})]
    third = [barrier(0, "2019-01-30", {}), barrier(1, "2019-01-30", {})]
    before = closer()
    add(before, *first)
    close_all(before, published)
    closed, _ = before.finish(begun(before, "2019-01-28"))
    add(before, *second)
    published.records += [one for one in new(before, begun(before, "2019-01-29"), published) if one["region"] == "ID"]
    of = closer()
    add(of, [ClosedRecord(date(2019, 1, 27), "others")], *first, *second)
    given_up = of.take_over(ordinal("2019-01-29"))
    assert len(list(given_up)) == 2
    add(of, [closed])
    assert taken_over(of, "2019-01-29")
    add(of, *third)
    assert close_all(of, published) == [("2019-01-28", 1, 0), ("2019-01-30", 4, 1)]


def test_each_cell_and_each_region_has_a_step_of_its_own() -> None:
    """All of a country at once would hold up the process for minutes."""
    villages = [f"16.05.02.{2001 + number}" for number in range(100)]
    cells = {(-1, village): Change(MAN, MAN) for village in villages}
    of, published = closer(), Published()
    add(of, barrier(0, "2019-01-28", cells), barrier(1, "2019-01-28", {}))
    assert sum(1 for _ in of.begin(ordinal("2019-01-28"))) == len(villages)
    work = begun(of, "2019-01-28")
    made = list(of.closings(work, published))
    published.records += [record for record in made if record is not None]
    # A cell each when it is looked at and as a place; a part and a figure each in two datings, at two cut-offs; a record.
    assert len(made) >= (1 + 1 + 2 * 2 * 2 + 1) * len(villages)
    closed, _ = of.finish(work)
    later = closer()
    add(later, barrier(0, "2019-01-28", cells), [closed])
    assert sum(1 for _ in later.take_over(None)) == len(villages)
