"""The day that a head of the archive states is the one that the ledger workers had reached."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents import archive_books
from agents.archive_books import day_named_at_end
from lampit.audit.archive import Archive
from lampit.audit.checks import check
from lampit.audit.finding import Trust
from stream.calendar import end_of_day, ordinal
from stream.ledger import Day, Genesis, control_key, encode_control
from tests.archives import LEDGER_ID, SIGNER, LogRecord, write

SEGMENT = 250


def test_a_day_that_turns_nothing_changes_no_day_in_the_heads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One behind that reached, and one that the ledger workers refuse. Archives of before name each."""
    named = ["2019-03-20", "2019-03-22", "2019-03-21", "2030-01-01", "2019-03-23"]
    reached = ["2019-03-20", "2019-03-22", "2019-03-22", "2019-03-22", "2019-03-23"]
    controls = [Genesis(LEDGER_ID, 1, 0, "fingerprint"), *(Day(ordinal(day)) for day in named)]
    at = end_of_day(ordinal("2019-03-22"), None) // 1000
    log = [LogRecord(offset, at, control_key(one), encode_control(one, 0)) for offset, one in enumerate(controls)]

    def found(name: str) -> list[str | None]:
        """The days of an archive that is written now, and verified by what is."""
        with monkeypatch.context() as patch:
            if name == "of before":
                patch.setattr(archive_books, "day_at_end", lambda table, before: day_named_at_end(table))
            write(tmp_path / name, {0: log}, SEGMENT)
        archive = Archive.open(str(tmp_path / name))
        assert list(check(archive, Trust({SIGNER.public}))) == []
        return [entry.day for entry in archive.segments(0)]

    assert found("of now") == reached
    assert found("of before") == named
