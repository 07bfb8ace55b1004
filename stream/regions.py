"""Kemendagri region codes: levels, ancestors, and the reference that says which codes are valid on which day.

In: rows of the reference tables (read by `lampit.reference`). Out: lookups for the fold, the roll-up and the page.
A code is `PP`, `PP.KK`, `PP.KK.CC` or `PP.KK.CC.VVVV`; COUNTRY is above the provinces and TRANSIT is its child.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final, NamedTuple

COUNTRY: Final = "ID"
TRANSIT: Final = "ID-transit"

_LEVELS: Final = {2: "province", 5: "regency", 8: "district", 13: "village"}
_PARENT_LENGTH: Final = {5: 2, 8: 5, 13: 8}

LEVELS: Final = ("country", "province", "regency", "district", "village", "transit")


def level(code: str) -> str:
    """The level of a well-formed code."""
    if code == COUNTRY:
        return "country"
    return "transit" if code == TRANSIT else _LEVELS[len(code)]


def parent(code: str) -> str | None:
    """The code above, by prefix; None above the country."""
    if code == COUNTRY:
        return None
    length = _PARENT_LENGTH.get(len(code))
    return COUNTRY if length is None or code == TRANSIT else code[:length]


@lru_cache(maxsize=200_000)
def lineage(code: str) -> tuple[str, ...]:
    """The code and everything above it, the code first, the country last."""
    above = parent(code)
    return (code,) if above is None else (code, *lineage(above))


def within(code: str, region: str) -> bool:
    """Whether a place lies in a region or is it."""
    return region == COUNTRY or code == region or code.startswith(f"{region}.")


class Change(NamedTuple):
    """One row of region_changes: on `effective_on` (ordinal) `old_code` became `new_code`; None where there is none."""

    effective_on: int
    kind: str
    old_code: str | None
    new_code: str | None


class Reference:
    """The codes in force, their names, and the days on which they were.

    names: code → name of every code in force today. changes: dated changes, any order. digest: of the files they came
    from; part of the ledger's epoch.
    """

    def __init__(self, names: Mapping[str, str], changes: Iterable[Change] = (), digest: str = "") -> None:
        """Index the codes by the days on which they were in force."""
        self.names: Mapping[str, str] = {COUNTRY: "Indonesia", TRANSIT: "In transit", **names}
        self.digest = digest
        self._periods = _periods(names, changes)
        # Codes in force on every day: nearly all, so a fold asks this set first.
        self.always = frozenset(names) - self._periods.keys() | {COUNTRY}

    def known(self, code: str, day: int) -> bool:
        """Whether the code is in the reference on that day (`unknown_region` when not)."""
        if code in self.always:
            return True
        return any(begins <= day < ends for begins, ends in self._periods.get(code, ()))


def _periods(names: Mapping[str, str], changes: Iterable[Change]) -> dict[str, list[tuple[int, int]]]:
    """Days on which each changed code was in force, walking back from today's codes; all rows of a day are one change."""
    in_force = {code: 1 << 30 for code in names}
    periods: dict[str, list[tuple[int, int]]] = {}
    by_day: dict[int, list[Change]] = {}
    for change in changes:
        by_day.setdefault(change.effective_on, []).append(change)
    for day in sorted(by_day, reverse=True):
        arrived = {change.new_code for change in by_day[day] if change.new_code}
        left = {change.old_code for change in by_day[day] if change.old_code and change.kind != "split"}
        for code in (arrived - left) & in_force.keys():
            periods.setdefault(code, []).append((day, in_force.pop(code)))
        for code in left - arrived:
            in_force.setdefault(code, day)
    for code, ends in in_force.items():
        if ends < 1 << 30 or code in periods:
            periods.setdefault(code, []).append((0, ends))
    return periods
