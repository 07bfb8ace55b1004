"""Who is one person: pseudonyms joined by nik_change events.

In: accepted events by the pseudonym they were sent under. Out: the persons, each named by the smallest of their
pseudonyms. Called by the counting engine.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from stream.events import Event, NikChange


def persons(
    events: Mapping[str, Sequence[Event]], changes: Iterable[tuple[str, NikChange]]
) -> dict[str, tuple[str, ...]]:
    """The merged persons: surviving pseudonym → all of theirs, sorted; those nobody merged are left out.

    events: accepted events by pseudonym. changes: every nik_change with the pseudonym it was sent under.
    """
    group: dict[str, set[str]] = {}
    for subject, change in changes:
        together = group.get(subject, {subject}) | group.get(change.new_subject, {change.new_subject})
        group.update(dict.fromkeys(together, together))
    return {min(together): tuple(sorted(one for one in together if one in events)) for together in group.values()}
