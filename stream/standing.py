"""Which of a person's events stand: duplicates folded, conflicts decided, cancellations applied.

In: the events accepted for one person, in any order, with repeats. Out: those that stand, those cancelled, and the
anomalies of delivery. Called by `stream.person`.
"""

from __future__ import annotations

from collections.abc import Sequence

from stream.events import Cancellation, Event, NikChange
from stream.ledger import content_digest
from stream.value import Value

Anomaly = tuple[Event, str]
"""An event and the kind of its anomaly."""


class Standing(Value, frozen=True):
    """events: those that stand; accepted: those and the cancelled ones; anomalies: of conflicts and cancellations."""

    events: Sequence[Event]
    accepted: Sequence[Event]
    anomalies: list[Anomaly]


def resolve(events: Sequence[Event]) -> Standing:
    """Decide conflicts of one (source, id), then apply the cancellations among what is left."""
    if _is_plain(events):
        return Standing(events, events, [])
    accepted, anomalies = _without_conflicts(events)
    cancellations = [event for event in accepted.values() if isinstance(event, Cancellation)]
    everything = list(accepted.values())
    if not cancellations:
        return Standing(everything, everything, anomalies)
    effective, anomalies_of_cancellations = _effective(cancellations, accepted)
    cancelled = {(event.target_source, event.target_id) for event in effective}
    standing = [event for name, event in accepted.items() if name not in cancelled]
    anomalies += [
        (event, kind) for event, kind in anomalies_of_cancellations if (event.source, event.id) not in cancelled
    ]
    return Standing(standing, everything, anomalies)


def without_conflicts(events: Sequence[Event]) -> Sequence[Event]:
    """The events that stand before cancellations: one for each (source, id)."""
    return list(_without_conflicts(events)[0].values())


def _is_plain(events: Sequence[Event]) -> bool:
    """Whether no event repeats another's name and none cancels: nearly everybody."""
    if len(events) == 1:
        return type(events[0]) is not Cancellation
    for event in events:
        if type(event) is Cancellation:
            return False
    # Ids alone, because pairs take twice as long; ids that two sources have in common are nothing plain.
    return len({event.id for event in events}) == len(events)


def _without_conflicts(events: Sequence[Event]) -> tuple[dict[tuple[str, str], Event], list[Anomaly]]:
    """The event that stands for each (source, id): of other contents the earliest, then the smaller digest."""
    accepted: dict[tuple[str, str], Event] = {}
    losers: dict[tuple[str, str], Event] = {}
    for event in events:
        name = (event.source, event.id)
        other = accepted.setdefault(name, event)
        if other is not event and other != event:
            first, second = sorted((other, event), key=_precedence)
            accepted[name], losers[name] = first, second
    return accepted, [(loser, "conflicting_duplicate") for loser in losers.values()]


def _precedence(event: Event) -> tuple[int, bytes, str]:
    """Which of two contents stands; two changes of NIK can differ in the new one alone, which is not in the digest."""
    return (event.time, content_digest(event), event.new_subject if isinstance(event, NikChange) else "")


def _effective(
    cancellations: Sequence[Cancellation], accepted: dict[tuple[str, str], Event]
) -> tuple[list[Cancellation], list[Anomaly]]:
    """The cancellations that have effect: not in a cycle, with a target, and not cancelled by one that has effect.

    In time that grows as their number does: anybody can send chains of any length.
    """
    by_name = {(event.source, event.id): event for event in cancellations}
    cyclic = _on_cycles(by_name)
    anomalies: list[Anomaly] = []
    aimed: dict[tuple[str, str], Cancellation] = {}
    undecided: dict[tuple[str, str], int] = {}
    for name, event in by_name.items():
        target_name = (event.target_source, event.target_id)
        target = accepted.get(target_name)
        if name in cyclic:
            anomalies.append((event, "cancellation_cycle"))
        elif target is None or isinstance(target, NikChange):
            anomalies.append((event, "cancels_nothing"))
        else:
            aimed[name] = event
            undecided[target_name] = undecided.get(target_name, 0) + 1
    # Whether one has effect is known once that is known of all that cancel it: from the far ends of the chains on.
    ready = [name for name in aimed if name not in undecided]
    cancelled: set[tuple[str, str]] = set()
    effective: list[Cancellation] = []
    while ready:
        name = ready.pop()
        event = aimed[name]
        target_name = (event.target_source, event.target_id)
        if name not in cancelled:
            effective.append(event)
            cancelled.add(target_name)
        undecided[target_name] -= 1
        if undecided[target_name] == 0 and target_name in aimed:
            ready.append(target_name)
    return effective, anomalies


def _on_cycles(by_name: dict[tuple[str, str], Cancellation]) -> set[tuple[str, str]]:
    """The names of those that cancel each other in a circle: each has one target, so that every walk ends or comes round."""
    found: set[tuple[str, str]] = set()
    walked: dict[tuple[str, str], tuple[str, str]] = {}
    for start in by_name:
        name = start
        while name in by_name and name not in walked:
            walked[name] = start
            name = (by_name[name].target_source, by_name[name].target_id)
        # Where this very walk has been before it comes round; one that an earlier walk has been to is known.
        while walked.get(name) == start and name not in found:
            found.add(name)
            name = (by_name[name].target_source, by_name[name].target_id)
    return found
