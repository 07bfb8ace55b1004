"""Places: what a region code means on a day, and which code a place has on another (docs/decisions/0007).

In: the dated changes of codes. Out: the place an event names, where its people are counted on a day, whether two places are
one. Called by the fold, the balances and the roll-up. A place is named by a *column*: the bare code where that meant one
place only, `code~YYYY-MM-DD` (the day it began) for the later ones of a code that several had. A code that never
changed is in no dictionary here and is its own place.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, KeysView, Sequence
from typing import Final, NamedTuple

from stream.calendar import iso_day
from stream.regions import COUNTRY, Change, parent

FOREVER: Final = 1 << 30
_BECOMES: Final = frozenset({"recode", "move", "status", "merge"})


class Place:
    """A code and the eras in which it had it without a break: from `begins` until before `ends`.

    An era is the time between two change days: 0 before the first. became: the place it went over into.
    """

    __slots__ = ("became", "begins", "code", "column", "ends", "origins")

    def __init__(self, code: str, begins: int, column: str) -> None:
        """A place in force from an era on."""
        self.code = code
        self.begins = begins
        self.ends = FOREVER
        self.column = column
        self.became: Place | None = None
        self.origins: list[Place] = []

    def in_force(self, era: int) -> bool:
        """Whether it has its code in that era."""
        return self.begins <= era < self.ends

    def on(self, era: int) -> Place:
        """What the place is or was in an era; the nearest there is where it was none."""
        place = self
        while era >= place.ends and place.became is not None:
            place = place.became
        while era < place.begins and len(place.origins) == 1:
            place = place.origins[0]
        return place


class Day(NamedTuple):
    """The changes of one day, all at once: which codes leave, which arrive, and what becomes what."""

    left: frozenset[str]
    arrived: frozenset[str]
    becomes: tuple[tuple[str, str], ...]


def changes_of_day(changes: Iterable[Change]) -> Day:
    """A day's rows; `retired` and `new` on one code are a renamed place that goes on, and left out."""
    rows = list(changes)
    retired = {row.old_code for row in rows if row.kind == "retired"}
    goes_on = retired & {row.new_code for row in rows if row.kind == "new"}
    moving = [
        row
        for row in rows
        if row.kind != "rename" and not (row.kind in ("retired", "new") and (row.old_code or row.new_code) in goes_on)
    ]
    return Day(
        frozenset(row.old_code for row in moving if row.old_code and row.kind != "split"),
        frozenset(row.new_code for row in moving if row.new_code),
        tuple((row.old_code, row.new_code) for row in moving if row.kind in _BECOMES and row.old_code and row.new_code),
    )


class Places:
    """All places whose code began or ended on some day, and look-ups that pass every other code through."""

    def __init__(self, changes: Iterable[Change] = ()) -> None:
        """Read the changes forward, day by day."""
        by_day: dict[int, list[Change]] = {}
        for change in changes:
            by_day.setdefault(change.effective_on, []).append(change)
        self.days: tuple[int, ...] = tuple(sorted(by_day))
        self._of_code: dict[str, list[Place]] = {}
        for era, day in enumerate(self.days, 1):
            self._turn(era, changes_of_day(by_day[day]))
        self._places = {place.column: place for places in self._of_code.values() for place in places}
        self._shared = {code: places for code, places in self._of_code.items() if len(places) > 1}
        self._codes: dict[tuple[str, int], str] = {}

    def _turn(self, era: int, day: Day) -> None:
        left: dict[str, Place] = {}
        for code in sorted(day.left):
            places = self._of_code.setdefault(code, [])
            if not places or places[-1].ends <= era:
                places.append(self._begin(code, 0 if not places else era - 1))
            places[-1].ends = era
            left[code] = places[-1]
        arrived: dict[str, Place] = {}
        for code in sorted(day.arrived):
            arrived[code] = self._begin(code, era)
            self._of_code.setdefault(code, []).append(arrived[code])
        for old, new in day.becomes:
            left[old].became = arrived[new]
            arrived[new].origins.append(left[old])

    def _begin(self, code: str, era: int) -> Place:
        first = not self._of_code.get(code)
        return Place(code, era, code if first else f"{code}~{iso_day(self.days[era - 1])}")

    def era(self, day: int) -> int:
        """The number of change days up to a day."""
        return bisect_right(self.days, day)

    def changed(self, code: str) -> Sequence[Place]:
        """The places that had the code, in order; none for a code that never began or ended."""
        return self._of_code.get(code, ())

    def codes(self) -> KeysView[str]:
        """Every code that began or ended on some day."""
        return self._of_code.keys()

    def at(self, code: str, day: int) -> str:
        """The column of the place that a code names on a day."""
        if code not in self._shared:
            return code
        return self._named(code, self.era(day))

    def _named(self, code: str, era: int) -> str:
        places = self._of_code.get(code)
        if not places:
            return code
        ended = places[0]
        for place in places:
            if place.in_force(era):
                return place.column
            if place.ends <= era:
                ended = place
        return ended.column

    def is_in_force(self, column: str, day: int) -> bool:
        """Whether the place, under this or another code, is in force on a day; unknown codes always are."""
        place = self._places.get(column)
        era = self.era(day)
        return place is None or place.on(era).in_force(era)

    def last(self, column: str) -> str:
        """What the place has become by now."""
        place = self._places.get(column)
        return column if place is None else place.on(len(self.days)).column

    def same(self, first: str, second: str, day: int) -> bool:
        """Whether two columns are one place on a day."""
        if first == second:
            return True
        one, other = self._places.get(first), self._places.get(second)
        if one is None or other is None:
            return False
        era = self.era(day)
        return one.on(era) is other.on(era)

    def code(self, column: str, day: int) -> str:
        """The code at which the people of a place are counted on a day."""
        return column if column not in self._places else self.code_in(column, self.era(day))

    def code_in(self, column: str, era: int) -> str:
        """The code at which the people of a place are counted in an era."""
        place = self._places.get(column)
        if place is None:
            return column
        found = self._codes.get((column, era))
        if found is None:
            found = self._codes[column, era] = self._code(place.on(era), era)
        return found

    def _code(self, place: Place, era: int) -> str:
        above = parent(place.code)
        if place.in_force(era) or above is None or above == COUNTRY:
            return place.code
        # Nobody's any more, or not yet: it keeps its code while that is free and still lies where the place does.
        at_the_end = place.ends - 1 if era >= place.ends else place.begins
        code_above = self.code_in(self._named(above, at_the_end), era)
        is_free = self._named(place.code, era) == place.column
        return place.code if is_free and code_above == above else code_above

    def codes_before(self, column: str, era: int) -> set[str]:
        """The codes at which the people of a place were counted in the eras before; none for most."""
        return {self.code_in(column, earlier) for earlier in range(era)} if column in self._places else set()

    def inside(self, column: str, region: str, day: int) -> bool:
        """Whether a place lies in a region (a column too) on a day, by their codes of that day, or is it."""
        if region == COUNTRY:
            return True
        era = self.era(day)
        code, above = self.code_in(column, era), self.code_in(region, era)
        return code == above or code.startswith(f"{above}.")


NO_CHANGES: Final = Places()
"""For regions whose codes never changed."""
