"""The region reference: which codes were in force on which day, their names then, and the places they meant.

In: rows of the reference tables (read by `lampit.reference`). Out: lookups for the fold, the roll-up and the page.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from stream.places import Places
from stream.regions import COUNTRY, TRANSIT, Change


class Reference:
    """The codes, their names, and the days on which they were in force.

    names: code → name of every code in force today. changes: dated changes, any order. digest: of the files they came
    from; part of the ledger's epoch. places: what codes mean on a day.
    """

    def __init__(self, names: Mapping[str, str], changes: Iterable[Change] = (), digest: str = "") -> None:
        """Index the codes by the days on which they were in force."""
        rows = list(changes)
        self.names: Mapping[str, str] = {COUNTRY: "Indonesia", TRANSIT: "In transit", **names}
        self.digest = digest
        self.places = Places(rows)
        # Codes in force on every day: nearly all, so a fold asks this set first.
        self.always = frozenset(names.keys() - self.places.codes()) | {COUNTRY}
        self._old_names: dict[str, list[tuple[int, str]]] = {}
        for row in sorted(rows, key=lambda one: one.effective_on):
            if row.old_code and row.old_name:
                self._old_names.setdefault(row.old_code, []).append((row.effective_on, row.old_name))

    def known(self, code: str, day: int) -> bool:
        """Whether the code is in the reference on that day (`unknown_region` when not)."""
        if code in self.always:
            return True
        era = self.places.era(day)
        return any(place.in_force(era) for place in self.places.changed(code))

    def name(self, code: str, day: int) -> str | None:
        """The name of a code on a day: the last it had, once it has ended; the first it gets, before it begins."""
        rows = self._old_names.get(code, ())
        for effective_on, old_name in rows:
            if effective_on > day:
                return old_name
        return self.names.get(code) or (rows[-1][1] if rows else None)
