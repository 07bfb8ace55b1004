"""The choices the law leaves open, and the version of the rules. Part of the ledger's epoch: change one and figures change."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

RULES_VERSION: Final = "2"


class Rules(msgspec.Struct, frozen=True):
    """Settings that change figures (domain.md: "policy").

    transit_expiry_days: days after which someone who left and never arrived is back in the home they left; None: never.
    leap_birthday: when those born on 29 February turn 17 in a common year.
    stale_after_days: a balance without a turning-17 schedule is stale that many days after its D0.
    """

    transit_expiry_days: int | None = None
    leap_birthday: Literal["mar1", "feb28"] = "mar1"
    stale_after_days: int = 90
