"""How far a person's e-KTP has come: recorded, print-ready, issued.

In: a person's standing recordings in order. Out: the changes of (recorded, print-ready, issued) by day. Called by
`stream.person`.
"""

from __future__ import annotations

from collections.abc import Sequence

from stream.events import Recording
from stream.home import FOREVER
from stream.tally import ISSUED, PRINT_READY, RECORDED

STAGES = {
    "captured": RECORDED,
    "sent": RECORDED,
    "print_ready": RECORDED | PRINT_READY,
    "printed": RECORDED | PRINT_READY,
    "delivered": RECORDED | PRINT_READY | ISSUED,
}
"""Status of a recording → what it adds to what the card has reached."""

BEYOND_CAPTURE = frozenset({"sent", "print_ready", "printed", "delivered"})
"""Stages that somebody can only reach who was captured before."""


def walk(recordings: Sequence[Recording], recorded_on: int | None, *, recorded_before: bool) -> list[tuple[int, int]]:
    """The states of the card: (first day, RECORDED | PRINT_READY | ISSUED as held), ascending, one a day at most.

    recordings: sorted by (occurred_on, time, source, id). recorded_on: a capture on that day, before the recordings of
    the day. recorded_before: recorded since for ever (somebody presumed inside a balance).
    """
    if not recordings and recorded_on is None and not recorded_before:
        return []
    steps: list[tuple[int, str]] = [(recording.occurred_on, recording.status) for recording in recordings]
    if recorded_on is not None:
        place = next((index for index, (day, _) in enumerate(steps) if day >= recorded_on), len(steps))
        steps.insert(place, (recorded_on, "captured"))
    held = RECORDED if recorded_before else 0
    changes = [(FOREVER, held)] if held else []
    for day, status in steps:
        if status == "duplicate":
            continue
        held = 0 if status == "failed" else held | STAGES[status]
        if changes and changes[-1][0] == day:
            changes.pop()
        changes.append((day, held))
    return changes
