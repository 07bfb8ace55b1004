"""A person: the set of their events, folded to a timeline of where and as what they count.

In: a person's accepted events, in any order, with repeats, by the pseudonyms they were sent under. Out: spans (from a day
on, at a place, as a tally), what each opening balance already holds of them, and anomalies. Called by the counting
engine, the ledger worker and the audit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from operator import itemgetter
from typing import Any, Final

from stream import card, eligibility, home
from stream.eligibility import Attributes, Steps
from stream.events import (
    ABROAD,
    Birth,
    Correction,
    Death,
    Event,
    Found,
    Marriage,
    MoveIn,
    PersonData,
    Placed,
    Recording,
    Register,
    ResidencePermit,
)
from stream.places import Places
from stream.rules import Rules
from stream.standing import Anomaly
from stream.tally import OBLIGED, POPULATION, RECORDED, RECORDED_EARLY, UNITS
from stream.value import Value

SEX = {"M": 0, "F": 1, None: 2}


Span = tuple[int, str, int]
"""(day, place, tally): from that day on, until the next span, the person counts as `tally` at `place` ("" and 0: nowhere).

Plain tuples, here and in `stream.home`: to make a named one takes a quarter of a microsecond, several times a person.
"""

NOWHERE: Final[Span] = (home.FOREVER, "", 0)


class Parts(Value, frozen=True):
    """A person's standing events by what they are about, each list in its order of the contract."""

    entry: Event | None
    facts: list[Placed]
    recordings: list[Recording]
    marriages: list[Marriage]
    permits: list[ResidencePermit]
    corrections: list[Correction]
    anomalies: list[Anomaly]


def by_time(event: Event) -> tuple[int, str, str]:
    """(time, source, id): who said it first."""
    return (event.time, event.source, event.id)


def by_day(event: Event) -> tuple[int, int, str, str]:
    """(occurred_on, time, source, id): what happened first."""
    return (event.occurred_on, event.time, event.source, event.id)


def is_flow_only(event: Event) -> bool:
    """A birth that sets no home: stillborn, or of someone on the register."""
    return type(event) is Birth and (event.stillborn or event.already_registered)


def sort_out(events: Sequence[Event]) -> Parts:
    """Standing events by kind; of several register and birth events the earliest by time is the `entry`."""
    if len(events) == 1 and type(only := events[0]) is Register:  # nearly half of all people
        return Parts(only, [only], [], [], [], [], [])
    # Events are told apart by their very class, for which isinstance takes four times as long.
    facts: list[Placed] = []
    entries: list[Placed] = []
    recordings: list[Recording] = []
    others: list[Event] = []
    for event in events:
        if type(event) is Recording:
            recordings.append(event)
        elif type(event) is Register:
            entries.append(event)
        elif type(event) is Birth:
            if not is_flow_only(event):
                entries.append(event)
        elif isinstance(event, Placed):
            facts.append(event)
        else:
            others.append(event)
    entry = entries[0] if len(entries) == 1 else min(entries, key=by_time, default=None)
    if entry is not None:
        facts.append(entry)
    anomalies: list[Anomaly] = [(event, "already_born") for event in entries if event is not entry]
    if len(facts) > 1:
        facts.sort(key=home.order)
    if len(recordings) > 1:
        recordings.sort(key=by_day)
    if not others:
        return Parts(entry, facts, recordings, [], [], [], anomalies)
    marriages = [event for event in others if isinstance(event, Marriage)]
    permits = sorted((event for event in others if isinstance(event, ResidencePermit)), key=by_day)
    corrections = [event for event in others if isinstance(event, Correction)]
    return Parts(entry, facts, recordings, marriages, permits, corrections, anomalies)


def attributes(sources: Sequence[Event], entry: Event | None, corrections: Sequence[Correction]) -> Attributes:
    """What is known of the person: the entry's word first, then the others' by time; corrections override both."""
    saying = [event for event in sources if event.person is not None or type(event) is Birth]
    if len(saying) == 1 and not corrections and type(saying[0]) is not Birth and (said := saying[0].person) is not None:
        return Attributes(
            said.birth_date,
            said.sex,
            said.ever_married_on,
            said.recorded_on,
            said.citizen is not False,
            said.permanent_permit,
        )
    known: list[PersonData] = []
    for event in sorted(saying, key=lambda one: (one is not entry, *by_time(one))):
        if isinstance(event, Birth):
            known.append(PersonData(event.occurred_on, event.sex))
        if event.person is not None:
            known.append(event.person)
    birth_date = sex = married = recorded = citizen = permit = None
    for data in known:
        birth_date = data.birth_date if birth_date is None else birth_date
        sex = data.sex if sex is None else sex
        married = data.ever_married_on if married is None else married
        recorded = data.recorded_on if recorded is None else recorded
        citizen = data.citizen if citizen is None else citizen
        permit = data.permanent_permit if permit is None else permit
    for correction in sorted(corrections, key=by_time) if corrections else ():
        birth_date = correction.birth_date if correction.birth_date is not None else birth_date
        sex = correction.sex if correction.sex is not None else sex
    return Attributes(birth_date, sex, married, recorded, citizen is not False, permit)


class Fold(Value, frozen=True):
    """One fold of a person: home, obligation and card, each by day; sex; the recordings before any death; anomalies.

    born: the birth date, None when not known. Without any stay the person is held `unplaced`.
    """

    stays: list[home.Stay]
    obliged: Steps
    stages: list[tuple[int, int]]
    sex: int
    recordings: Sequence[Recording]
    anomalies: list[Anomaly]
    born: int | None

    def spans(self) -> list[Span]:
        """The changes of place and tally, ascending by day."""
        return _spans(self.stays, self.obliged, self.stages, self.sex)

    def eras(self) -> Sequence[Era]:
        """This fold, from the first day on."""
        return ((home.FOREVER, self),)

    def at(self, day: int) -> Span:
        """The span in force on a day, without making the others."""
        place, is_obliged, held = "", False, 0
        for begins, value, _ in self.stays:
            if begins > day:
                break
            place = value
        if not place:
            return NOWHERE
        for begins, due in self.obliged:
            if begins > day:
                break
            is_obliged = due
        for begins, stage in self.stages:
            if begins > day:
                break
            held = stage
        return (day, place, UNITS[self.sex][mask_of(is_obliged, held)])


Era = tuple[int, Fold]
"""From that day on, until the next era, the person counts by this fold."""


def fold(
    parts: Parts,
    person: Attributes,
    rules: Rules,
    places: Places,
    presumed_home: str | None = None,
    first_stages: Sequence[Recording] | None = None,
) -> Fold:
    """Fold sorted standing events from NEW, or from the home someone is presumed to have had for ever.

    first_stages: the recordings that tell whether someone presumed inside was recorded before; None: those with effect.
    """
    anomalies: list[Anomaly] = list(parts.anomalies)

    def report(event: Event, kind: str) -> None:
        anomalies.append((event, kind))

    if presumed_home is None and parts.entry is None and not _arrives(parts.facts):
        for fact in (*parts.facts, *parts.recordings):
            report(fact, "unplaced")
        _suspect(parts.recordings, report)
        recordings = _before(_death(parts.facts), parts.recordings)
        return Fold([], [], [], SEX[person.sex], recordings, anomalies, person.birth_date)
    stays = home.fold(parts.facts, presumed_home, rules.transit_expiry_days, places, report)
    recordings, marriages, permits = parts.recordings, parts.marriages, parts.permits
    died_on = _death(parts.facts)
    if died_on is not None:
        for event in (*recordings, *marriages, *permits):
            if event.occurred_on >= died_on:
                report(event, "after_death")
        recordings = _before(died_on, recordings)
        marriages = [event for event in marriages if event.occurred_on < died_on]
        permits = [event for event in permits if event.occurred_on < died_on]
    if recordings:
        _suspect(recordings, report)
    duty = eligibility.obliged(person, marriages, permits, rules, presumed=presumed_home is not None)
    stages = card.walk(
        recordings,
        person.recorded_on,
        recorded_before=presumed_home is not None
        and _beyond_capture(recordings if first_stages is None else first_stages),
    )
    sex = SEX[person.sex]
    folded = Fold(stays, duty, stages, sex, recordings, anomalies, person.birth_date)
    if person.birth_date is None:
        first = min((*parts.facts, *parts.recordings), key=home.order, default=None)
        if first is not None and any(place for _, place, _ in folded.spans()):
            report(first, "birth_date_unknown")
    return folded


def _death(facts: Sequence[Event]) -> int | None:
    for fact in facts:
        if type(fact) is Death:
            return fact.occurred_on
    return None


def _before(day: int | None, recordings: list[Recording]) -> list[Recording]:
    return recordings if day is None else [event for event in recordings if event.occurred_on < day]


def _arrives(facts: Sequence[Event]) -> bool:
    return any(isinstance(fact, (MoveIn, Found)) for fact in facts)


def _suspect(recordings: Iterable[Recording], report: home.Report) -> None:
    for event in recordings:
        if event.status == "duplicate":
            report(event, "suspected_double")


def _beyond_capture(recordings: Sequence[Recording]) -> bool:
    first = next((event.status for event in recordings if event.status != "duplicate"), None)
    return first in card.BEYOND_CAPTURE


def _spans(stays: Sequence[home.Stay], duty: Steps, stages: Sequence[tuple[int, int]], sex: int) -> list[Span]:
    """Merge the changes of home, obligation and card to spans; one a day at most, none without a change."""
    units = UNITS[sex]
    # Changes of one day come in this order, and of one kind the later entry wins: the sort is stable.
    changes: list[tuple[int, int, Any]] = [(day, 0, place) for day, place, _ in stays]
    changes += [(day, 1, is_obliged) for day, is_obliged in duty]
    changes += [(day, 2, held) for day, held in stages]
    changes.sort(key=_first)
    changes.append((_END, 0, ""))
    spans: list[Span] = []
    place, is_obliged, held = "", False, 0
    last_place, last_mask = "", 0
    for (day, kind, value), (next_day, _, _) in pairwise(changes):
        if kind == 0:
            place = value
        elif kind == 1:
            is_obliged = value
        else:
            held = value
        if day != next_day:
            mask = mask_of(is_obliged, held) if place else 0
            if mask != last_mask or place != last_place:
                spans.append((day, place, units[mask]))
                last_place, last_mask = place, mask
    return spans


def mask_of(is_obliged: bool, held: int) -> int:
    """As what someone with a home counts, whose card has come as far as `held`."""
    if is_obliged:
        return POPULATION | OBLIGED | held
    return POPULATION | RECORDED_EARLY if held & RECORDED else POPULATION


_first = itemgetter(0)
_END = 1 << 60


def at(spans: Sequence[Span], day: int) -> Span:
    """The span in force on a day."""
    current = NOWHERE
    for span in spans:
        if span[0] > day:
            break
        current = span
    return current


def presumed_home(events: Iterable[Event], is_governed: Callable[[str], bool], places: Places) -> str | None:
    """The home of someone whom an opening balance must already hold, read off their earliest fact; None for others.

    events: all accepted, cancelled ones too. A birth or a register entry is a new person, and so is who comes from
    abroad, from nowhere named, or from a region without a balance.
    """
    facts = [event for event in events if isinstance(event, Placed) and not is_flow_only(event)]
    first = min(facts, key=home.order, default=None)
    if first is None or isinstance(first, Register | Birth | Found):
        return None
    code = first.origin if isinstance(first, MoveIn) else first.region
    if code is None or code == ABROAD:
        return None
    place = places.at(code, first.occurred_on)
    return place if is_governed(place) else None
