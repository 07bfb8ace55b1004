"""The choices the law leaves open, and the version of the rules. Part of the ledger's epoch: change one and figures change."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from stream.periods import CLOSING_DAY, Periods

RULES_VERSION: Final = "3"


class Rules(msgspec.Struct, frozen=True):
    """Settings that change figures (domain.md: "policy").

    transit_expiry_days: days after which someone who left and never arrived is back in the home they left; None: never.
    leap_birthday: when those born on 29 February turn 17 in a common year.
    stale_after_days: a balance without a turning-17 schedule is stale that many days after its D0.
    closing_day: the day of the month, 1 to 28, at whose end a month is closed.
    first_period: the first month that is closed, YYYY-MM; None: none is.
    """

    transit_expiry_days: int | None = None
    leap_birthday: Literal["mar1", "feb28"] = "mar1"
    stale_after_days: int = 90
    closing_day: int = CLOSING_DAY
    first_period: str | None = None

    @property
    def periods(self) -> Periods | None:
        """The months that are closed."""
        return None if self.first_period is None else Periods.since(self.first_period, self.closing_day)
