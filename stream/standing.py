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
    """The cancellations that have effect: not in a cycle, with a target, and not cancelled by one that has effect."""
    by_name = {(event.source, event.id): event for event in cancellations}
    anomalies: list[Anomaly] = []
    pointing: dict[tuple[str, str], list[Cancellation]] = {}
    for event in cancellations:
        target = accepted.get((event.target_source, event.target_id))
        if _on_cycle(event, by_name):
            anomalies.append((event, "cancellation_cycle"))
        elif target is None or isinstance(target, NikChange):
            anomalies.append((event, "cancels_nothing"))
            pointing.setdefault(("", ""), []).append(event)
        else:
            pointing.setdefault((event.target_source, event.target_id), []).append(event)
    effect: dict[tuple[str, str], bool] = {}
    effective: list[Cancellation] = []
    # Nobody on a chain can be asked before those who cancel them: walk each chain from its far end.
    for event in cancellations:
        chain = [event]
        while chain:
            name = (chain[-1].source, chain[-1].id)
            waiting = [other for other in pointing.get(name, ()) if (other.source, other.id) not in effect]
            if waiting:
                chain.append(waiting[0])
                continue
            chain.pop()
            effect[name] = not any(effect[other.source, other.id] for other in pointing.get(name, ()))
    for name, others in pointing.items():
        if name != ("", ""):
            effective += [other for other in others if effect[other.source, other.id]]
    return effective, anomalies


def _on_cycle(event: Cancellation, by_name: dict[tuple[str, str], Cancellation]) -> bool:
    seen: set[tuple[str, str]] = set()
    current: Cancellation | None = event
    while current is not None:
        name = (current.target_source, current.target_id)
        if name == (event.source, event.id):
            return True
        if name in seen:
            return False
        seen.add(name)
        current = by_name.get(name)
    return False
