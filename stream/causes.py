"""What happened to a person on one day, step by step: the day's facts, birthdays, permits and recordings as causes.

In: a person's `Part` and a day. Out: `Step`s from how they counted the day before to how they count on the day; each but the
first says what brought it about. The steps follow the fold that counts on that day: homes first, then the obligation, then the
card. Called by `stream.explain`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from stream.calendar import birthday_17
from stream.card import STAGES
from stream.count import Part
from stream.events import (
    Birth,
    Cancellation,
    Correction,
    Death,
    Event,
    Found,
    Marriage,
    Missing,
    MoveIn,
    MoveOut,
    NikChange,
    OpeningBalance,
    Recording,
    Register,
    ResidencePermit,
)
from stream.person import Fold, mask_of
from stream.rules import Rules
from stream.tally import RECORDED, UNITS

BIRTHS: Final = "births"
DEATHS: Final = "deaths"
MOVED_IN: Final = "moved_in"
MOVED_OUT: Final = "moved_out"
ENTERED: Final = "entered"
MISSING: Final = "missing"
FOUND: Final = "found"
RETURNED: Final = "returned"
TURNED_17: Final = "turned_17"
MARRIAGES: Final = "marriages"
PERMITS: Final = "permits"
RECORDINGS: Final = "recordings"
BALANCES: Final = "opening_balances"
REGION_CODES: Final = "region_codes"
LATE_REPORTS: Final = "late_reports"
CORRECTIONS: Final = "corrections"
CANCELLATIONS: Final = "cancellations"
NIK_CHANGES: Final = "nik_changes"

KINDS: Final = {
    BIRTHS: "born",
    DEATHS: "died",
    MOVED_IN: "arrived",
    MOVED_OUT: "left",
    ENTERED: "entered on the register",
    MISSING: "went missing",
    FOUND: "found again",
    RETURNED: "back at the old home: nobody arrived with the removal letter in time",
    TURNED_17: "turned 17",
    MARRIAGES: "married before 17",
    PERMITS: "citizenship, or a permanent permit that begins or ends",
    RECORDINGS: "e-KTP stages",
    BALANCES: "opening balances",
    REGION_CODES: "villages that came or went with a decree",
    LATE_REPORTS: "reported later for an earlier day",
    CORRECTIONS: "corrections of birth date or sex",
    CANCELLATIONS: "cancellations",
    NIK_CHANGES: "two NIKs found to be one person",
}
"""Kind of a cause → what it is, in the order in which they are shown."""

_OF_FACT: Final[dict[type[Event], str]] = {
    Register: ENTERED,
    Birth: BIRTHS,
    Death: DEATHS,
    MoveOut: MOVED_OUT,
    MoveIn: MOVED_IN,
    Missing: MISSING,
    Found: FOUND,
}


class Origin(NamedTuple):
    """What brought a step about. event: None for birthdays, lapses, and what only the person data says."""

    kind: str
    event: Event | OpeningBalance | None = None


class Step(NamedTuple):
    """A person counts as `tally` at `place` ("" and 0: nowhere); origin: None for how the day began."""

    place: str
    tally: int
    origin: Origin | None


def learned(event: Event) -> Origin:
    """What an event that became known later is, as a cause."""
    if isinstance(event, Cancellation):
        return Origin(CANCELLATIONS, event)
    if isinstance(event, Correction):
        return Origin(CORRECTIONS, event)
    return Origin(NIK_CHANGES if isinstance(event, NikChange) else LATE_REPORTS, event)


def steps(part: Part, day: int, rules: Rules) -> list[Step]:
    """How the person counted at the end of the day before, and every change of the day."""
    _, place, tally = part.timeline.at(day - 1)
    begun = Step(place, tally, None)
    fold = _in_force(part, day)
    if fold is None or fold is not _in_force(part, day - 1):
        # From this day on another balance says from which home the person is folded.
        _, place, tally = part.timeline.at(day)
        return [begun, Step(place, tally, Origin(BALANCES))]
    return [begun, *_changes(part, fold, day, rules)]


def _in_force(part: Part, day: int) -> Fold | None:
    """The fold that counts on a day."""
    current = None
    for begins, fold in part.timeline.eras():
        if begins > day:
            break
        current = fold
    return current


def _changes(part: Part, fold: Fold, day: int, rules: Rules) -> Iterator[Step]:
    """The changes of the day in the order home, obligation, card."""
    place: str = _value(fold.stays, day - 1, "")
    is_obliged: bool = _value(fold.obliged, day - 1, False)
    held: int = _value(fold.stages, day - 1, 0)
    for begins, there, fact in fold.stays:
        if begins == day and there != place:
            place = there
            kind = RETURNED if fact is None else _OF_FACT[type(fact)]
            yield Step(place, _tally(fold.sex, place, is_obliged, held), Origin(kind, fact))
    if _value(fold.obliged, day, False) is not is_obliged:
        is_obliged = not is_obliged
        origin = _of_obligation(part, fold, day, rules, begins=is_obliged)
        yield Step(place, _tally(fold.sex, place, is_obliged, held), origin)
    for stage, recording in _stages(fold, day, held):
        yield Step(place, _tally(fold.sex, place, is_obliged, stage), Origin(RECORDINGS, recording))


def _value(changes: Sequence[tuple[Any, ...]], day: int, before: Any) -> Any:
    """What a list of changes (day, value, ...) says of a day."""
    current = before
    for change in changes:
        if change[0] > day:
            break
        current = change[1]
    return current


def _tally(sex: int, place: str, is_obliged: bool, held: int) -> int:
    return UNITS[sex][mask_of(is_obliged, held)] if place else 0


def _stages(fold: Fold, day: int, held: int) -> Iterator[tuple[int, Recording | None]]:
    """What the card has reached after each recording of the day; None: a capture that only the person data says."""
    recordings = [one for one in fold.recordings if one.occurred_on == day and one.status != "duplicate"]
    if _after(held, recordings) != _value(fold.stages, day, 0):
        held |= RECORDED
        yield held, None
    for recording in recordings:
        held = _after(held, (recording,))
        yield held, recording


def _after(held: int, recordings: Sequence[Recording]) -> int:
    for recording in recordings:
        held = 0 if recording.status == "failed" else held | STAGES[recording.status]
    return held


def _of_obligation(part: Part, fold: Fold, day: int, rules: Rules, *, begins: bool) -> Origin:
    """Why the obligation begins or ends on a day: the birthday, a marriage, a permit."""
    if begins and fold.born is not None and birthday_17(fold.born, rules.leap_birthday) == day:
        return Origin(TURNED_17)
    for event in part.standing:
        if begins and isinstance(event, Marriage) and event.occurred_on == day:
            return Origin(MARRIAGES, event)
    for event in part.standing:
        if isinstance(event, ResidencePermit) and event.occurred_on == day:
            return Origin(PERMITS, event)
    for event in part.standing:
        if begins and event.person is not None and event.person.ever_married_on == day:
            return Origin(MARRIAGES, event)
    return Origin(PERMITS, next((event for event in part.standing if _permit_turns(event, day)), None))


def _permit_turns(event: Event, day: int) -> bool:
    """Whether a permanent permit that the event tells of begins on the day, or ended the day before."""
    permit = event.permanent_permit if isinstance(event, ResidencePermit) else None
    if permit is None and event.person is not None:
        permit = event.person.permanent_permit
    return permit is not None and (permit.begins == day or (permit.until is not None and permit.until + 1 == day))
