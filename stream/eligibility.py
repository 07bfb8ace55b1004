"""Who is obliged to hold an e-KTP, and since when (UU 23/2006 as changed by UU 24/2013, article 63).

In: a person's attributes, marriages and residence permits. Out: the days on which the obligation begins and ends.
Called by `stream.person`.
"""

from __future__ import annotations

from collections.abc import Sequence

from stream.calendar import birthday_17
from stream.events import Marriage, Permit, ResidencePermit
from stream.home import FOREVER
from stream.rules import Rules
from stream.value import Value

Steps = list[tuple[int, bool]]
"""A yes-or-no that changes on days: (first day, value), ascending; False before the first."""


class Attributes(Value, frozen=True):
    """What is known of a person once every source has been asked in its order; days are ordinals, None is not known."""

    birth_date: int | None
    sex: str | None
    ever_married_on: int | None
    recorded_on: int | None
    citizen: bool
    permanent_permit: Permit | None


def obliged(
    person: Attributes,
    marriages: Sequence[Marriage],
    permits: Sequence[ResidencePermit],
    rules: Rules,
    *,
    presumed: bool,
) -> Steps:
    """The days on which a person, wherever counted, is obliged.

    Aged 17, or married or ever married; and a citizen, or a foreigner within the permanent permit. Without a birth date
    and a marriage: never, but for someone `presumed` inside a balance, who is taken for an adult.
    permits: sorted by (occurred_on, time, source, id).
    """
    since = _since(person, marriages, rules, presumed)
    if since is None:
        return []
    if person.citizen and not permits:
        return [(since, True)]
    entitled = _entitled(person, permits)
    return [(since, _at(entitled, since)), *(step for step in entitled if step[0] > since)]


def _since(person: Attributes, marriages: Sequence[Marriage], rules: Rules, presumed: bool) -> int | None:
    born = person.birth_date
    if born is None and presumed:
        return FOREVER
    since = None if born is None else birthday_17(born, rules.leap_birthday)
    if not marriages and person.ever_married_on is None:
        return since
    days = [marriage.occurred_on for marriage in marriages]
    days += [day for day in (since, person.ever_married_on) if day is not None]
    return min(days)


def _entitled(person: Attributes, permits: Sequence[ResidencePermit]) -> Steps:
    """Citizen or within the permit: what the person data says, then each residence permit from its day on."""
    periods: list[tuple[int, bool, Permit | None]] = [(FOREVER, person.citizen, person.permanent_permit)]
    periods += [(permit.occurred_on, permit.citizen, permit.permanent_permit) for permit in permits]
    steps: Steps = []
    for index, (begins, citizen, permit) in enumerate(periods):
        ends = periods[index + 1][0] if index + 1 < len(periods) else None
        inside = [(begins, citizen)]
        if not citizen and permit is not None:
            inside = [(begins, permit.begins <= begins and (permit.until is None or begins <= permit.until))]
            inside += [(permit.begins, True)] if permit.begins > begins else []
            inside += [(permit.until + 1, False)] if permit.until is not None and permit.until >= begins else []
        steps += [step for step in inside if ends is None or step[0] < ends]
    return steps


def _at(steps: Steps, day: int) -> bool:
    value = False
    for begins, then in steps:
        if begins > day:
            break
        value = then
    return value
