"""The question why a figure changed, and its answer.

In: values that `stream.explain` makes. Out: causes with what each moved, and the difference they add up to. Called by
`stream.explain` and shown by `lampit audit explain`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

import msgspec

from stream.causes import KINDS
from stream.events import Event, OpeningBalance
from stream.opening_figures import NOTHING, Extra, Row, plus
from stream.scope import less
from stream.tally import unpack

_ORDER: Final = {kind: place for place, kind in enumerate(KINDS)}


class Heard(NamedTuple):
    """An accepted event: received_at is the instant of its acceptance, subject None for a balance."""

    received_at: int
    subject: str | None
    event: Event | OpeningBalance


class Question(msgspec.Struct, frozen=True):
    """The figures of `region` at the end of day `begin` as known at `known_from`, and of day `end` as known at `known_to`.

    Days are ordinals, begin ≤ end; instants are microseconds, known_from ≤ known_to; None: everything that was given.
    people_only: leave out what balances state, so that the figures are those of the persons given.
    """

    region: str
    begin: int
    end: int
    known_from: int | None = None
    known_to: int | None = None
    people_only: bool = False


class Cause(NamedTuple):
    """What moved the figure: `moved` is a tally of people, `stated` what a balance says more than before (0: not stated).

    day: the first day whose figure it moved. subject: the person; None for a balance.
    """

    kind: str
    day: int
    subject: str | None
    event: Event | OpeningBalance | None
    moved: int
    stated: Extra = NOTHING

    def moves(self) -> bool:
        """Whether it moved anything."""
        return any(map(any, self.rows()))

    def rows(self) -> tuple[Row, ...]:
        """Per measure (M, F, unknown, total)."""
        return _people(self.moved) if self.stated is NOTHING else self.stated.rows(unpack(self.moved))


@lru_cache(maxsize=4096)
def _people(moved: int) -> tuple[Row, ...]:
    """The rows of a tally; thousands of causes move the same."""
    return NOTHING.rows(unpack(moved))


class Explanation(NamedTuple):
    """causes: by kind in the order of KINDS, then day, person, event. difference: the second figure less the first.

    A difference is None where either figure is not stated; there is nothing to add up to then.
    """

    causes: list[Cause]
    difference: tuple[Row, ...]

    def explained(self) -> tuple[Row, ...]:
        """The sum of all causes."""
        stated = NOTHING
        for cause in self.causes:
            if cause.stated is not NOTHING:
                stated = plus(stated, cause.stated)
        return stated.rows(unpack(sum(cause.moved for cause in self.causes)))

    def unexplained(self) -> tuple[Row, ...]:
        """The difference less the sum of the causes: zero, or None where the difference is."""
        return less(Extra(self.difference), Extra(self.explained())).counts


def joined(first: Explanation, second: Explanation) -> Explanation:
    """The explanation of all people from those of two parts of them; the second says nothing of what balances state."""
    of_nobody: dict[tuple[str, int, Event | OpeningBalance | None], Cause] = {}
    causes: list[Cause] = []
    # What came from another process equals NOTHING, but is not it.
    for cause in (*first.causes, *(one._replace(stated=NOTHING) for one in second.causes)):
        if cause.subject is not None:
            causes.append(cause)
            continue
        key = (cause.kind, cause.day, cause.event)
        before = of_nobody.get(key)
        of_nobody[key] = cause if before is None else before._replace(moved=before.moved + cause.moved)
    causes += (cause for cause in of_nobody.values() if cause.moves())
    difference = plus(Extra(first.difference), Extra(second.difference)).counts
    return Explanation(sorted(causes, key=shown_order), difference)


def shown_order(cause: Cause) -> tuple[int, int, str, str, str]:
    """By kind in the order of KINDS, then day, person and event."""
    event = cause.event
    return (
        _ORDER[cause.kind],
        cause.day,
        cause.subject or "",
        "" if event is None else event.source,
        "" if event is None else event.id,
    )
