"""An archive and a file of the same ledger give the same answers, though from an archive only the people concerned are read."""

from __future__ import annotations

import subprocess
import sys
from datetime import date
from pathlib import Path

import duckdb
import msgspec
import pytest

from agents.errors import ConfigurationError
from lampit import reference
from lampit.audit.archive_source import ArchiveSource
from lampit.audit.coverage import by_core, by_sql
from lampit.audit.explain import answer, explained
from lampit.audit.halves import FIRST, SECOND
from lampit.audit.index import build
from lampit.audit.sources import open_source
from stream.calendar import end_of_day
from stream.explain import explain
from stream.explanation import Heard, Question, joined
from stream.ledger import LedgerRecord, decode_record
from stream.rules import Rules
from tests import archives

DAYS = 6
LOGS = archives.ledger(4_000, partitions=2, days=DAYS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of a small ledger, its last day sealed."""
    path = tmp_path_factory.mktemp("archive")
    archives.write(path, LOGS, 512)
    return path


@pytest.fixture(scope="module")
def heard(folder: Path) -> list[Heard]:
    """What the archive holds, by the log itself."""
    with open_source((str(folder),), need_instants=None) as source:
        archived = source.archive.next_offsets()  # type: ignore[attr-defined]
    records = [
        decode_record(record.value)
        for number, log in LOGS.items()
        for record in log
        if record.value is not None and record.offset < archived[number]
    ]
    return [Heard(one.received_at, one.subject, one.event) for one in records if isinstance(one, LedgerRecord)]


def instant(day: str) -> int:
    return end_of_day(date.fromisoformat(day).toordinal(), None) - 1


@pytest.fixture(scope="module")
def index(folder: Path) -> Path:
    """The archive turned round."""
    path = folder.parent / f"{folder.name}.duckdb"
    with ArchiveSource(str(folder)) as source:
        build(source, path)
    return path


QUESTIONS = [
    (region, *days, *known)
    for region in ("16.05.02", "16.05.02.2001", "16", "ID", "ID-transit")
    for days in (("2019-03-01", "2019-03-31"), ("2018-12-31", "2019-12-31"), ("2019-03-28", "2019-03-28"))
    for known in ((None, None), ("2019-03-21", "2019-03-23"), ("2019-03-22", None))
]


@pytest.mark.parametrize("asked", QUESTIONS, ids=lambda asked: "-".join(str(word) for word in asked))
def test_the_people_concerned_are_enough(
    folder: Path, index: Path, heard: list[Heard], asked: tuple[str, str, str, str | None, str | None]
) -> None:
    region, begin, end, known_from, known_to = asked
    question = Question(
        region,
        date.fromisoformat(begin).toordinal(),
        date.fromisoformat(end).toordinal(),
        None if known_from is None else instant(known_from),
        None if known_to is None else instant(known_to),
    )
    expected = explain(heard, question, Rules(30), reference.load())
    for place in (folder, index):
        with open_source((str(place),), need_instants=None) as source:
            found = answer(source, question, Rules(30), person=None, recount=False)
            chosen = source.heard(question, None, Rules(30))
        assert found.explanation == expected
        assert not found.faults
        assert len(chosen) <= len(heard)
    halves = []
    for share in (FIRST, SECOND):
        with open_source((str(index),), need_instants=None, share=share) as source:
            asked_of = msgspec.structs.replace(question, people_only=share == SECOND)
            halves.append(explained(source, asked_of, Rules(30)))
    assert joined(*halves) == expected
    assert not expected.causes or max(len(half.causes) for half in halves) <= len(expected.causes)


def test_the_command_asks_two_processes_and_says_the_same(folder: Path, index: Path) -> None:
    """A process of its own, because in one with threads nothing is forked."""
    words = ("audit", "explain", "16.05", "--from", "2019-03-01", "--to", "2019-03-31", "--json", "--no-recount")
    said = [
        subprocess.run(
            [sys.executable, "-m", "lampit", *words, str(place)], capture_output=True, check=True, timeout=120
        )
        for place in (folder, index)
    ]
    assert said[0].stdout == said[1].stdout
    assert b'"causes_left_out":0' in said[0].stdout


@pytest.mark.parametrize("region", ["16.05.02", "16", "ID"])
@pytest.mark.parametrize("known_at", [None, "2019-03-22"])
def test_an_index_counts_as_its_archive_and_as_the_engine(
    folder: Path, index: Path, region: str, known_at: str | None
) -> None:
    """By the SQL count over the chosen records, and by the engine over all of them."""
    known = None if known_at is None else instant(known_at)
    asked = (date(2019, 3, 28), known, Rules(), region)
    with open_source((str(folder),), need_instants=None) as source:
        expected = by_sql(source, *asked)
        assert by_core(source, *asked) == expected
    with open_source((str(index),), need_instants=None) as source:
        assert by_sql(source, *asked) == expected
    assert len(expected) > 2


def test_one_person_of_an_index(index: Path, heard: list[Heard]) -> None:
    subject = next(one.subject for one in heard if one.subject is not None)
    question = Question("ID", 1, date(2019, 3, 28).toordinal(), None, None, True)
    with open_source((str(index),), need_instants=None) as source:
        found = answer(source, question, Rules(), person=subject, recount=True)
    assert {cause.subject for cause in found.explanation.causes} == {subject}


def test_a_file_that_is_no_index_and_one_that_is_there(folder: Path, index: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.duckdb"
    duckdb.connect(str(other)).close()
    with (
        pytest.raises(ConfigurationError, match="no index of this version"),
        open_source((str(other),), need_instants=None),
    ):
        pass
    with ArchiveSource(str(folder)) as source, pytest.raises(ConfigurationError, match="there already"):
        build(source, index)
