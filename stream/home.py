"""Where a person lives, day by day: the state table of contract.md section 2, as a table.

In: a person's standing residence facts, sorted (see `order`). Out: the changes of home and the anomalies. Called by
`stream.person` for the person as known now, and for what an opening balance already holds of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Final

from stream.events import (
    ABROAD,
    Birth,
    Death,
    Event,
    Found,
    Missing,
    MoveIn,
    MoveOut,
    Placed,
    Recording,
    Register,
)
from stream.places import Places
from stream.regions import TRANSIT

FOREVER: Final = 0
"""The day before all days: someone presumed inside a balance has lived there since."""

RANK: Final[dict[type[Event], int]] = {
    Register: 0,
    Birth: 0,
    MoveOut: 1,
    MoveIn: 2,
    Found: 2,
    Missing: 3,
    Death: 4,
    Recording: 5,
}
"""Order of facts of one day; recordings take part only where the first fact of a person is sought."""


def order(fact: Event) -> tuple[int, int, int, str, str]:
    """The fold order of facts: (occurred_on, rank, time, source, id)."""
    return (fact.occurred_on, RANK[type(fact)], fact.time, fact.source, fact.id)


class State(IntEnum):
    """A person's state, as the columns of the table: HERE is HOME(h) with h the region the fact names, ELSEWHERE any other."""

    NEW = 0
    HERE = 1
    ELSEWHERE = 2
    IN_TRANSIT = 3
    OUT = 4
    DEAD = 5


class Go(IntEnum):
    """What a cell of the table does with the state."""

    STAY = 0
    HOME = 1
    HOME_UNMATCHED = 2
    TRANSIT = 3
    OUT = 4
    DEAD = 5
    LATE_OR_TRANSIT = 6
    LATE_OR_OUT = 7


Cell = tuple[Go, str | None]
S, H, HU, T, O, X, LT, LO = Go  # noqa: E741 - one letter a cell keeps the table a table

# fmt: off
ENTRY: Final[tuple[Cell, ...]] = (
    (H, None), (S, "already_resident"), (H, None), (H, None), (H, None), (S, "after_death"))
ARRIVAL: Final[tuple[Cell, ...]] = (
    (H, None), (S, "already_resident"), (HU, "missing_move_out"), (H, None), (H, None), (S, "after_death"))
REMOVAL: Final[tuple[Cell, ...]] = (
    (S, "already_out"), (T, None), (LT, "region_mismatch"), (S, "already_out"), (S, "already_out"), (S, "after_death"))
EMIGRATION: Final[tuple[Cell, ...]] = (
    (S, "already_out"), (O, None), (LO, "region_mismatch"), (O, None), (S, "already_out"), (S, "after_death"))
ABSENCE: Final[tuple[Cell, ...]] = (
    (S, "already_out"), (O, None), (O, "region_mismatch"), (O, None), (S, "already_out"), (S, "after_death"))
DECEASE: Final[tuple[Cell, ...]] = (
    (X, None), (X, None), (X, "region_mismatch"), (X, None), (X, None), (S, "after_death"))
# fmt: on
"""Rows of the table; cells in the order of State: NEW, HOME(h = r), HOME(h ≠ r), TRANSIT, OUT, DEAD."""

_ROWS: Final[dict[type[Event], tuple[Cell, ...]]] = {
    Register: ENTRY,
    Birth: ENTRY,
    MoveIn: ARRIVAL,
    Found: ARRIVAL,
    Missing: ABSENCE,
    Death: DECEASE,
}


Stay = tuple[int, str, Placed | None]
"""(day, place, fact): from that day on the person is counted at `place`: a column, TRANSIT, or "" when counted nowhere.

fact: what made it so; None for a presumed home and for the lapse of a removal letter.
"""

Report = Callable[[Event, str], None]
"""Called with the event and the anomaly's kind."""


def fold(
    facts: Sequence[Placed],
    presumed_home: str | None,
    transit_expiry_days: int | None,
    places: Places,
    report: Report | None,
) -> list[Stay]:
    """Fold sorted standing facts to the changes of home; a later entry of the same day replaces an earlier one.

    Places are compared, not codes (docs/decisions/0007): the home stays as it was first named, whatever code a fact uses.
    presumed_home: where the person has lived for ever, if they are presumed inside a balance.
    report: hears of every anomaly but those of the standing register or birth, which is never wrong about itself.
    """
    if len(facts) == 1 and presumed_home is None and _ROWS.get(type(facts[0])) is ENTRY:
        return [(facts[0].occurred_on, places.at(facts[0].region, facts[0].occurred_on), facts[0])]
    home = presumed_home
    state = State.HERE if home else State.NEW
    unmatched: str | None = None
    stays: list[Stay] = [(FOREVER, home, None)] if home else []
    left_on = 0
    for fact in facts:
        day = fact.occurred_on
        region = places.at(fact.region, day)
        if state is State.IN_TRANSIT and transit_expiry_days is not None and day > left_on + transit_expiry_days:
            state = State.HERE
            stays.append((left_on + transit_expiry_days, home or "", None))
        elsewhere = state is State.HERE and home != region and not places.same(home or "", region, day)
        column = State.ELSEWHERE if elsewhere else state
        row = (EMIGRATION if fact.destination == ABROAD else REMOVAL) if type(fact) is MoveOut else _ROWS[type(fact)]
        go, anomaly = row[column]
        if go >= Go.LATE_OR_TRANSIT:
            if type(fact) is MoveOut and _is_late(fact, region, home, unmatched, places):
                go, anomaly = Go.STAY, "late_move_out"
            else:
                go = Go.TRANSIT if go is Go.LATE_OR_TRANSIT else Go.OUT
        if anomaly and report and row is not ENTRY:
            report(fact, anomaly)
        if go is Go.STAY:
            continue
        if go is Go.HOME or go is Go.HOME_UNMATCHED:
            unmatched = home if go is Go.HOME_UNMATCHED else None
            home, state, place = region, State.HERE, region
        elif go is Go.TRANSIT:
            unmatched, state, place, left_on = None, State.IN_TRANSIT, TRANSIT, day
        else:
            unmatched, place = None, ""
            state = State.OUT if go is Go.OUT else State.DEAD
        stays.append((day, place, fact))
    if state is State.IN_TRANSIT and transit_expiry_days is not None:
        stays.append((left_on + transit_expiry_days, home or "", None))
    return stays


def _is_late(fact: MoveOut, region: str, home: str | None, unmatched: str | None, places: Places) -> bool:
    """Whether a removal from elsewhere is the missing half of the move that led to this home."""
    day = fact.occurred_on
    if unmatched is not None and places.same(region, unmatched, day):
        return True
    there = fact.destination
    return there is not None and there != ABROAD and home is not None and places.same(places.at(there, day), home, day)
