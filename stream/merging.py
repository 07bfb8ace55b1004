"""Who holds the events of people with several NIKs, when those lie in several partitions of the ledger.

In: what a partition holds under one pseudonym, its own events and the copies it was sent. Out: whether that pseudonym is
counted here, as which persons, and which copies have to go where. A pure function of the set held, so that order,
repetition and crashes change nothing. Called by `stream.partition`; the ledger worker only sends.

A family is all pseudonyms that any nik_change joins, one that lost a conflict too: the smallest of them keeps the events of
all, splits them into persons as `lampit count` does, and counts them. The others are given up: they count as nobody and
send on what is theirs. Nobody knows the whole family at first. Each pseudonym knows those its nik_changes name, sends all
it has to the smallest it knows, and who is smallest of all it knows tells the others. So knowledge of a smaller one
spreads until there is one left.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from stream.count import Context, Groups, Part, count
from stream.events import Event, NikChange, PersonEvent
from stream.identity import named
from stream.standing import Anomaly

PARTITION_DIGITS: Final = 8


class Copy(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An event that is held under another pseudonym than the one it was sent under."""

    sent_under: str
    event: PersonEvent


class Forward(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A copy on its way to the pseudonym that is to hold it."""

    to: str
    copy: Copy


def partition_of(subject: str, partitions: int) -> int:
    """The partition of the ledger in which a person id lies."""
    return int(subject[:PARTITION_DIGITS], 16) % partitions


def holders(subject: str, event: Event) -> tuple[str, ...]:
    """The pseudonyms under which an accepted event is kept: a change of NIK under both."""
    return (subject, event.new_subject) if isinstance(event, NikChange) else (subject,)


class Hold:
    """All that is held under one pseudonym: the events sent under it, and copies of those of others."""

    def __init__(self, subject: str, own: Sequence[Event], copies: Sequence[Copy] = ()) -> None:
        """own, copies: without exact repeats."""
        self.subject = subject
        self.own = own
        self.copies = copies

    def with_more(self, arrived: Iterable[tuple[str, Event]]) -> Hold:
        """The same with what arrived, each with the pseudonym it was sent under; repeats are left out."""
        own, copies = dict.fromkeys(self.own), dict.fromkeys(self.copies)
        for sent_under, event in arrived:
            if sent_under == self.subject:
                own[event] = None
            else:
                copies[Copy(sent_under, event)] = None  # type: ignore[arg-type]
        return Hold(self.subject, list(own), list(copies))

    def groups(self) -> Groups:
        """The events by the pseudonym they were sent under."""
        found: dict[str, list[Event]] = {self.subject: list(self.own)} if self.own else {}
        for copy in self.copies:
            found.setdefault(copy.sent_under, []).append(copy.event)
        return found

    def _changes(self) -> list[tuple[str, NikChange]]:
        mine = [(self.subject, event) for event in self.own if isinstance(event, NikChange)]
        theirs = [(copy.sent_under, copy.event) for copy in self.copies if isinstance(copy.event, NikChange)]
        return mine + theirs

    def family(self) -> set[str]:
        """The pseudonyms known to belong together with this one, itself among them."""
        known = {self.subject, *(copy.sent_under for copy in self.copies)}
        known.update(change.new_subject for _, change in self._changes())
        return known

    @property
    def keeper(self) -> str:
        """The pseudonym that is to hold everything, as far as is known here."""
        return min(self.family())

    @property
    def is_given_up(self) -> bool:
        """Whether another pseudonym counts what is held here."""
        return self.keeper < self.subject

    def forwards(self) -> list[Forward]:
        """Everything that has to be sent because of what is held, also what was sent before."""
        keeper = self.keeper
        changes = self._changes()
        if keeper != self.subject:
            mine = [Copy(self.subject, event) for event in self.own if not isinstance(event, NikChange)]  # type: ignore[arg-type]
            return [Forward(keeper, copy) for copy in (*(Copy(*change) for change in changes), *mine)]
        # The first that names this one and reached it by intake: its copy tells another that both belong together.
        naming = next((one for one in changes if self.subject in holders(*one)), None)
        if naming is None:
            return []
        aware = {self.subject}.union(*(holders(*one) for one in changes if self.subject in holders(*one)))
        return [Forward(other, Copy(*naming)) for other in sorted(self.family() - aware)]

    def persons(self) -> list[tuple[str, Groups]]:
        """The persons counted here, each with its surviving pseudonym; nobody when given up."""
        return [] if self.is_given_up else named(self.groups())

    def parts(self, context: Context) -> list[tuple[str, Part]]:
        """What the persons counted here count as."""
        return [(name, count(groups, context)) for name, groups in self.persons()]

    def anomalies(self, context: Context) -> dict[str, Sequence[Anomaly]]:
        """The present list of every pseudonym of the family, empty ones too; of none when given up: the keeper has them."""
        if self.is_given_up:
            return {}
        lists: dict[str, Sequence[Anomaly]] = dict.fromkeys(self.family(), ())
        lists.update((name, part.anomalies) for name, part in self.parts(context))
        return lists


def to_send(before: Hold, after: Hold) -> list[Forward]:
    """What has to be sent now: what was not to be sent before."""
    already = set(before.forwards())
    return [forward for forward in after.forwards() if forward not in already]
