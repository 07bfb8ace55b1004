"""The opening balances of the demonstration: figures that were published, and what is derived from them.

In: nothing. Out: `opening_balance` events and the sentences that say which is which. Called by `lampit.demo.data`.

Published: Musi Rawas and Oku Selatan, obliged and recorded. Of Jambi only two figures were: about 100,000 people
unrecorded in its 11 regencies on 31 March 2019, and 14 % unrecorded in Sarolangun. Its balances are derived from these and
carry another source. Nobody published a population with them, so none is stated: null, which is not zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any, Final, NamedTuple

PUBLISHED_SOURCE: Final = "/demo/published"
DERIVED_SOURCE: Final = "/demo/derived"

OPENING_DAY: Final = date(2019, 3, 31)
"""The last D0 of the balances; the demonstration plays from the day after."""

MUSI_RAWAS: Final = "16.05"
OKU_SELATAN: Final = "16.09"
JAMBI: Final = "15"
SAROLANGUN: Final = "15.03"

JAMBI_UNRECORDED: Final = 100_000
SAROLANGUN_UNRECORDED_PERCENT: Final = 14
JAMBI_OBLIGED: Final = 2_500_000
"""Not published: as many as leave 100,000 unrecorded at 96 %, the national coverage of those days."""


class Balance(NamedTuple):
    """Totals of a region at the end of a day."""

    region: str
    day: date
    obliged: int
    recorded: int
    source: str

    @property
    def unrecorded_ratio(self) -> float:
        """The share of the obliged who are not recorded."""
        return (self.obliged - self.recorded) / self.obliged


PUBLISHED: Final = (
    Balance(MUSI_RAWAS, date(2019, 3, 28), 293_578, 283_755, PUBLISHED_SOURCE),
    Balance(OKU_SELATAN, date(2019, 2, 28), 270_764, 213_572, PUBLISHED_SOURCE),
)


def derived(districts: Mapping[str, int]) -> list[Balance]:
    """Jambi's regencies, from the number of their districts: the obliged in proportion, and of the
    unrecorded Sarolangun's 14 %, the rest in proportion too. Their unrecorded sum to the published 100,000."""
    obliged = shares(JAMBI_OBLIGED, districts)
    unrecorded = {SAROLANGUN: round(obliged[SAROLANGUN] * SAROLANGUN_UNRECORDED_PERCENT / 100)}
    others = {code: count for code, count in districts.items() if code != SAROLANGUN}
    unrecorded |= shares(JAMBI_UNRECORDED - unrecorded[SAROLANGUN], others)
    return [
        Balance(code, OPENING_DAY, obliged[code], obliged[code] - unrecorded[code], DERIVED_SOURCE)
        for code in sorted(districts)
    ]


def shares(total: int, weights: Mapping[str, int]) -> dict[str, int]:
    """Whole parts of a total in proportion to weights; what rounding leaves goes to the largest remainders."""
    whole = sum(weights.values())
    parts = {code: total * weight // whole for code, weight in weights.items()}
    by_remainder = sorted(weights, key=lambda code: (-(total * weights[code] % whole), code))
    for code in by_remainder[: total - sum(parts.values())]:
        parts[code] += 1
    return parts


def event(balance: Balance) -> dict[str, Any]:
    """The balance as an event, registered on its day."""
    return {
        "specversion": "1.0",
        "id": f"balance-{balance.region}",
        "source": balance.source,
        "type": "lampit.opening_balance.v1",
        "time": f"{balance.day}T16:00:00+07:00",
        "data": {
            "region": balance.region,
            "occurred_on": balance.day.isoformat(),
            "counts": {"obliged": balance.obliged, "recorded": balance.recorded},
        },
    }


NOTICE: Final = (
    "Demonstration. The people and events are made up. Population is not stated where nobody published it: "
    "it is left open, also in the regions above."
)


def notes(balances: list[Balance], district: str, people: int) -> dict[str, Any]:
    """What the page says about where the figures come from: {"notice": …, "regions": {code: {label, text}}}."""
    of_jambi = (
        "For 31 March 2019 two figures of Jambi were published: about 100,000 unrecorded in all, and 14 % in "
        "Sarolangun. The figures of its regencies are derived from these and the national coverage of 96 %, not published."
    )
    of_district = f"A register of {people:,} made-up people in the real villages of this district."
    regions = {JAMBI: _note("derived", of_jambi), district: _note("made up", of_district)}
    for balance in balances:
        if balance.source == PUBLISHED_SOURCE:
            stated = f"{balance.obliged:,} obliged and {balance.recorded:,} recorded on {balance.day}"
            regions[balance.region] = _note("published", f"Opened with published figures: {stated}.")
        else:
            regions[balance.region] = _note(
                "derived", "Derived, not published: from the figures of the province and the number of districts."
            )
    return {"notice": NOTICE, "regions": regions}


def _note(label: str, text: str) -> dict[str, str]:
    return {"label": label, "text": text}
