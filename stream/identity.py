"""Who is one person: pseudonyms joined by nik_change events.

In: accepted events by the pseudonym they were sent under. Out: the persons, each named by the smallest of their
pseudonyms. Called by the counting engine.
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
    group: dict[str, set[str]] = {}
    for subject in changed:
        for change in without_conflicts(events[subject]):
            if isinstance(change, NikChange):
                together = group.get(subject, {subject}) | group.get(change.new_subject, {change.new_subject})
                group.update(dict.fromkeys(together, together))
    return {min(together): tuple(sorted(one for one in together if one in events)) for together in group.values()}
