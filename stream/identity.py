"""Who is one person: pseudonyms joined by nik_change events.

In: accepted events by the pseudonym they were sent under. Out: the persons, each named by the smallest of their
pseudonyms. Called by the counting engine and `stream.contribution`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from stream.events import Event, NikChange
from stream.standing import without_conflicts


def persons(events: Mapping[str, Sequence[Event]], changed: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The merged persons: surviving pseudonym → all of theirs, sorted; those nobody merged are left out.

    events: accepted events by pseudonym. changed: the pseudonyms under which a nik_change was sent; one that lost a
    conflict of its own NIK joins nobody.
    """
    together = _together((subject, change) for subject in changed for change in without_conflicts(events[subject]))
    return {min(group): tuple(sorted(one for one in group if one in events)) for group in together}


def families(events: Mapping[str, Sequence[Event]], changed: Iterable[str]) -> list[Mapping[str, Sequence[Event]]]:
    """The pseudonyms that any nik_change joins, one that lost a conflict too: by what is reported later they may part again.

    events: accepted events by pseudonym. changed: the pseudonyms under which a nik_change was sent.
    """
    together = _together((subject, event) for subject in changed for event in events[subject])
    joined = {subject for group in together for subject in group}
    alone = [{subject: of_subject} for subject, of_subject in events.items() if subject not in joined]
    return [*alone, *({one: events[one] for one in sorted(group) if one in events} for group in together)]


def _together(sent: Iterable[tuple[str, Event]]) -> list[list[str]]:
    """The pseudonyms that changes of NIK join, from events by the pseudonym they were sent under.

    The smaller of two groups goes over to the larger one: anybody can send changes that join any number.
    """
    group: dict[str, list[str]] = {}
    for subject, event in sent:
        if isinstance(event, NikChange):
            smaller = group.setdefault(subject, [subject])
            larger = group.setdefault(event.new_subject, [event.new_subject])
            if smaller is larger:
                continue
            if len(smaller) > len(larger):
                smaller, larger = larger, smaller
            larger += smaller
            group.update(dict.fromkeys(smaller, larger))
    return list({id(members): members for members in group.values()}.values())


def split(groups: Mapping[str, Sequence[Event]]) -> list[Mapping[str, Sequence[Event]]]:
    """The persons among the events of some pseudonyms: one for each that nobody merged, one for all those merged."""
    return [groups] if len(groups) == 1 else [person for _, person in named(groups)]


def named(groups: Mapping[str, Sequence[Event]]) -> list[tuple[str, Mapping[str, Sequence[Event]]]]:
    """The same, each with the pseudonym that names them."""
    changed = [subject for subject, events in groups.items() if any(isinstance(event, NikChange) for event in events)]
    merged = persons(groups, changed) if changed else {}
    others = {subject for subjects in merged.values() for subject in subjects}
    found: list[tuple[str, Mapping[str, Sequence[Event]]]] = [
        (subject, {subject: events}) for subject, events in groups.items() if subject not in others
    ]
    return found + [(name, {subject: groups[subject] for subject in subjects}) for name, subjects in merged.items()]
