"""The record of `lampit.anomalies`: a person's accepted events that had no effect or an unexpected one.

In: the kinds that `stream.person` finds. Out: `schemas/json/anomalies.json`. Compacted; the list is empty when cleared.
"""

from __future__ import annotations

from typing import Literal

from schemas.facts import EventName
from schemas.fields import Count, Output, Subject

Kind = Literal[
    "already_born",
    "already_out",
    "already_resident",
    "after_death",
    "birth_date_unknown",
    "cancellation_cycle",
    "cancels_nothing",
    "conflicting_duplicate",
    "late_move_out",
    "missing_move_out",
    "region_mismatch",
    "suspected_double",
    "unknown_region",
    "unplaced",
]
"""What was unexpected; contract.md section 2, "Anomalies"."""


class Anomaly(Output):
    """One event and what was unexpected about it."""

    event: EventName
    """The event."""
    kind: Kind
    """What was unexpected."""


class AnomalyRecord(Output):
    """The present anomalies of one person, sorted by (source, id, kind). The record's key is the subject."""

    subject: Subject
    """Person id."""
    anomalies: list[Anomaly]
    """The first 500. Empty: none any more."""
    others: Count = 0
    """How many more there are behind these; absent: none. `lampit count` lists them all."""
