"""Kemendagri region codes: their levels, and what lies above them by prefix.

In: codes. Out: lookups for the fold, the roll-up and the page. What a code meant on a day is in `stream.places`, when it
was in force in `stream.reference`. A code is `PP`, `PP.KK`, `PP.KK.CC` or `PP.KK.CC.VVVV`; COUNTRY is above the provinces
and TRANSIT is its child.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple

COUNTRY: Final = "ID"
TRANSIT: Final = "ID-transit"

REGION: Final = re.compile(r"ID|ID-transit|[0-9]{2}(\.[0-9]{2}(\.[0-9]{2}(\.[0-9]{4})?)?)?", re.ASCII)
"""Whatever may be asked for by its code: a region of any level, COUNTRY or TRANSIT."""

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
    old_name: str | None = None
