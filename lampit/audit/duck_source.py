"""What an archive and an index have in common as sources: DuckDB reads them, and finds the few people whom a question concerns.

In: a question. Out: their events. Called by `archive_source` and `index_source`. Whom a question concerns is found generously:
who is left out is nowhere near the region, or nothing of theirs, no event, birthday or permit, turns between the two states.
`explain --recount` holds the answer against figures that are counted without that choice.
"""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, Self

import duckdb
import msgspec

from agents.errors import LampitError
from lampit.audit import conditions
from lampit.audit.database import OFFLINE, settle
from stream.events import OpeningBalance
from stream.explanation import Heard, Question
from stream.ledger import ControlRecord, Epoch, EpochSettings, LedgerRecord, decode_record
from stream.regions import within
from stream.rules import Rules

BALANCE: Final = "lampit.opening_balance.v1"


class DuckSource(ABC):
    """A source that DuckDB reads; a context manager, because it holds a database and a folder for what does not fit."""

    rejected = 0

    def __init__(self, database: str = ":memory:") -> None:
        """Open the database."""
        self._folder = tempfile.TemporaryDirectory()
        self._duckdb = duckdb.connect(database, read_only=database != ":memory:", config=OFFLINE)
        settle(self._duckdb, Path(self._folder.name))

    @staticmethod
    def received(text: str) -> int:
        """When a record was accepted."""
        return heard_of(text).received_at

    @abstractmethod
    def texts(self, kind: str) -> list[str]:
        """The records of a type that are of no person, as JSON."""

    @abstractmethod
    def texts_of(self, region: str | None, here: str, turns: str) -> list[str]:
        """The records of all persons of whom one event is here, and one turns. region: where here is, if that is a region."""

    @abstractmethod
    def records(self, known_at: int | None, region: str | None) -> Path | list[Path]:
        """See `Source`."""

    def is_person(self, person: str) -> str:
        """SQL: an event of somebody with that id."""
        return f"person = {conditions.text(person)}"

    def __enter__(self) -> Self:
        """The source."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the database, remove the copies."""
        self._duckdb.close()
        self._folder.cleanup()

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows of a query; LampitError says no content."""
        return self.run(sql).fetchall()

    def run(self, sql: str) -> duckdb.DuckDBPyConnection:
        """Run SQL."""
        try:
            return self._duckdb.execute(sql)
        except (duckdb.Error, UnicodeDecodeError) as error:
            # The message can quote a record, or bytes that are no text.
            raise LampitError(
                f"The source cannot be read ({type(error).__name__}): `lampit audit verify` says what an archive lacks."
            ) from None

    def rules(self, transit_expiry_days: int | None, leap_birthday: Any) -> Rules:
        """What is given, else the settings of the archive's last epoch, else those in force."""
        controls = [decode_record(text.encode()) for text in self.texts("lampit.epoch.v1")]
        epochs = [one.control for one in controls if isinstance(one, ControlRecord) and isinstance(one.control, Epoch)]
        if epochs:
            said = max(epochs, key=lambda one: one.epoch).settings
        else:
            from agents.settings import load_settings

            settings = load_settings()
            said = EpochSettings(settings.transit_expiry_days, settings.leap_birthday)
        return Rules(transit_expiry_days or said.transit_expiry_days, leap_birthday or said.leap_birthday)

    def heard(
        self, question: Question | None = None, person: str | None = None, rules: Rules | None = None
    ) -> list[Heard]:
        """Every event that can play a part in the answer; everything where nothing is asked."""
        balances = self.texts(BALANCE)
        if question is None:
            texts = self.texts_of(None, "true", "true")
        elif person is not None:
            texts = self.texts_of(None, self.is_person(person), "true")
        else:
            redrawn = conditions.is_redrawn(question.region, question.begin, question.end)
            everybody = redrawn or _is_balanced(balances, question.region)
            turns = "true" if everybody else conditions.turns(question, rules)
            texts = self.texts_of(question.region, conditions.here(question.region), turns)
        known_to = None if question is None else question.known_to
        found = (heard_of(text) for text in dict.fromkeys([*balances, *texts]))
        return [one for one in found if known_to is None or one.received_at <= known_to]


def _is_balanced(balances: Iterable[str], region: str) -> bool:
    """Whether a balance has a say in the region: then what it holds of people can turn on any event of theirs."""
    named = [event.region for event in (heard_of(text).event for text in balances) if isinstance(event, OpeningBalance)]
    mine = conditions.codes_of(region)
    return any(within(code, one) or within(one, code) for code in named for one in mine)


def heard_of(text: str) -> Heard:
    """A ledger record as the audit takes it; LampitError where it is none."""
    try:
        record = decode_record(text.encode())
    except (msgspec.MsgspecError, ValueError):
        record = None
    if not isinstance(record, LedgerRecord):
        raise LampitError("A record of the source is no ledger record: `lampit audit verify` says which of an archive.")
    return Heard(record.received_at, record.subject, record.event)
