"""`lampit audit coverage` and `explain`: two times, forms of output, refusals, and that nobody is shown by name."""

from __future__ import annotations

import csv
import io
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any, Final

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from agents.errors import LampitError
from lampit.audit.explain import answer
from lampit.audit.file_source import FileSource
from lampit.cli import lampit
from lampit.files import open_all
from stream.calendar import ordinal
from stream.explanation import Heard, Question
from stream.ledger import encode_record
from stream.rules import Rules
from stream.tally import MEASURES
from tests.archives import ledger, write
from tests.counters import accept
from tests.unit.test_private import CASES, assert_private

ROOT: Final = Path(__file__).resolve().parents[2]
LEDGER: Final = ROOT / "docs" / "examples" / "ledger.jsonl"
EXAMPLE_ARCHIVE: Final = ROOT / "docs" / "examples" / "archive"
PERSON: Final = "50928f1637a7b687f32185472e1bc659"
FEBRUARY: Final = ("--from", "2019-02-28", "--to", "2019-02-28", "--known-from", "2019-02-28")
MARCH: Final = ("--from", "2019-02-28", "--to", "2019-03-28")


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("LAMPIT_")]:
        monkeypatch.delenv(name)


def audit(*arguments: str | Path, exit_code: int = 0) -> Result:
    result = CliRunner().invoke(lampit, ["audit", *map(str, arguments)])
    assert result.exit_code == exit_code, result.output
    return result


def explained(*arguments: str | Path) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(audit("explain", *arguments, "--json").stdout)
    return said


def coverage(*arguments: str | Path) -> dict[str, Any]:
    """The coverage records by region."""
    said = json.loads(audit("coverage", *arguments, "--json").stdout)
    return {record["region"]: record for record in said["regions"]}


@pytest.mark.parametrize("engine", ["sql", "core"])
@pytest.mark.parametrize(
    ("known_at", "population"),
    [
        (None, 14),
        ("2019-02-28", 15),
        # to the second in which the late death was accepted, and just before
        ("2019-03-12T09:00:02+07:00", 14),
        ("2019-03-12T02:00:01.999999Z", 15),
        ("2019-01-01", None),
    ],
)
def test_what_was_known(known_at: str | None, population: int | None, engine: str) -> None:
    said = ["--as-of", "2019-02-28", "--engine", engine, *(["--known-at", known_at] if known_at else []), str(LEDGER)]
    record = coverage(*said).get("16.05.02")
    assert (record["population"]["total"] if record else None) == population


def test_memory_is_bounded_and_changes_no_figure() -> None:
    said = ("--as-of", "2019-03-28", LEDGER)
    assert coverage(*said, "--memory", "500MiB") == coverage(*said)
    assert "write it as 8GiB" in audit("coverage", *said, "--memory", "plenty", exit_code=2).output


def test_the_forms_of_coverage_say_the_same(tmp_path: Path) -> None:
    said = ("coverage", "--as-of", "2019-03-28", "--known-at", "2019-03-28", LEDGER)
    records = json.loads(audit(*said, "--format", "json").stdout)["regions"]
    rows = list(csv.DictReader(io.StringIO(audit(*said, "--format", "csv").stdout)))
    audit(*said, "--format", "parquet", "--output", tmp_path / "figures.parquet")
    stored = pq.read_table(tmp_path / "figures.parquet").to_pylist()
    assert len(records) == len(rows) == len(stored) > 3
    for record, row, kept in zip(records, rows, stored, strict=True):
        for measure in (*MEASURES, "unrecorded"):
            for sex, value in record[measure].items():
                assert row[f"{measure}_{sex}"] == str(value)
                assert kept[f"{measure}_{sex}"] == value
        assert row["region"] == kept["region"] == record["region"]
        assert kept["coverage"] == record["coverage"]
        assert str(kept["as_of"]) == row["as_of"] == "2019-03-28"
        assert row["known_at"] == "2019-03-28T16:59:59.999999Z"
        assert row["stale_denominator"] == "false"


def test_regions_and_levels_are_chosen() -> None:
    assert set(coverage("--as-of", "2019-03-28", "--region", "16.05.02", LEDGER)) == {
        "16.05.02",
        "16.05.02.2001",
        "16.05.02.2002",
    }
    assert set(coverage("--as-of", "2019-03-28", "--level", "regency", LEDGER)) == {"16.05"}


def test_the_causes_add_up_and_are_summed_up_by_kind() -> None:
    said = explained("16.05.02", *MARCH, "--known-from", "2019-02-28", LEDGER)
    assert said["difference"] == said["explained"]
    sums: Counter[tuple[str, str]] = Counter()
    for cause in said["causes"]:
        for posting in cause["postings"]:
            sums[cause["kind"], posting["measure"]] += posting["change"]
    for kind in said["kinds"]:
        assert {measure: kind[measure] for measure in MEASURES} == {
            measure: sums[kind["kind"], measure] for measure in MEASURES
        }
        assert kind["unrecorded"] == kind["obliged"] - kind["recorded"]
    for measure in MEASURES:
        moved = sum(kind[measure] for kind in said["kinds"])
        begin, end = (said[side]["figures"][measure]["total"] for side in ("from", "to"))
        assert moved == end - begin


def test_a_correction_counts_from_the_corrected_birthday() -> None:
    (cause,) = explained("16.05.03", *FEBRUARY, LEDGER)["causes"]
    assert (cause["kind"], cause["day"]) == ("corrections", "2019-01-20")
    assert cause["postings"] == [{"measure": "obliged", "sex": "F", "change": 1}]
    assert cause["event"]["id"] == "correction-001"


def test_nothing_moves_between_the_same_states() -> None:
    assert (
        "Nothing moved the figure." in audit("explain", "16.05", *FEBRUARY, "--known-to", "2019-02-28", LEDGER).output
    )


@pytest.mark.parametrize(
    ("begin", "end"),
    [("0001-01-01", "9999-12-31"), ("0001-01-01", "2019-03-28"), ("9999-12-31", "9999-12-31")],
)
def test_an_index_answers_for_the_first_and_the_last_day_there_are(begin: str, end: str, tmp_path: Path) -> None:
    index = tmp_path / "index.duckdb"
    audit("index", EXAMPLE_ARCHIVE, index)
    of_index, of_records = (explained("16.05", "--from", begin, "--to", end, source) for source in (index, LEDGER))
    assert of_index == of_records


def test_a_person_alone() -> None:
    said = explained("ID", *FEBRUARY[:4], "--known-from", "2019-01-01", "--person", PERSON, LEDGER)
    assert {cause["subject"] for cause in said["causes"]} == {PERSON}
    assert said["difference"]["population"]["total"] == 1


def test_a_limit_leaves_out_causes_and_says_so() -> None:
    said = explained("16.05.02", *MARCH, "--limit", "2", LEDGER)
    assert (len(said["causes"]), said["causes_left_out"]) == (2, 4)
    assert "4 more causes" in audit("explain", "16.05.02", *MARCH, "--limit", "2", LEDGER).output


def test_csv_has_every_posting() -> None:
    said = explained("16.05.02", *MARCH, LEDGER)
    rows = list(csv.DictReader(io.StringIO(audit("explain", "16.05.02", *MARCH, "--format", "csv", LEDGER).stdout)))
    assert [(row["kind"], row["measure"], row["sex"], int(row["change"])) for row in rows] == [
        (cause["kind"], posting["measure"], posting["sex"], posting["change"])
        for cause in said["causes"]
        for posting in cause["postings"]
    ]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("explain", "16", "--from", "2019-03-28", "--to", "2019-02-28", LEDGER), "--from is after --to"),
        (("explain", "16", *MARCH, "--known-to", "2019-02-28", LEDGER), "--known-to without --known-from"),
        (("explain", "16", *FEBRUARY, "--known-to", "2019-02-27", LEDGER), "--known-from is after --known-to"),
        (("explain", "Musi", *MARCH, LEDGER), "a code is ID"),
        (("coverage", "--as-of", "2019-02-28", "--known-at", "noon", LEDGER), "no day"),
        (("coverage", "--as-of", "2019-02-28", ROOT / "docs", LEDGER), "is counted by itself"),
        (("coverage", "--as-of", "2019-02-28", ROOT / "docs"), "no archive"),
        (("coverage", "--as-of", "2019-02-28", "--output", "x", LEDGER), "A table goes to the terminal"),
        (("coverage", "--as-of", "2019-02-28", "--known-at", "2019-02-28", CASES[0]), "line 1 does not say when"),
        (("explain", "ID", *FEBRUARY, CASES[0]), "--known-from needs"),
        (("coverage", "--as-of", "2019-02-28", "nowhere.jsonl"), "cannot be read"),
    ],
)  # fmt: skip
def test_wrong_usage_is_said_in_a_sentence(arguments: tuple[str | Path, ...], sentence: str) -> None:
    assert sentence in audit(*arguments, exit_code=2).output


def test_an_index_that_cannot_be_written_is_told_by_its_name(tmp_path: Path) -> None:
    file = tmp_path / "nowhere" / "index.duckdb"
    refused = audit("index", EXAMPLE_ARCHIVE, file, exit_code=2)
    assert refused.output == f"{file} cannot be written (No such file or directory): name another file.\n"


def test_what_an_index_answers_is_in_its_help(tmp_path: Path) -> None:
    told = audit("index", EXAMPLE_ARCHIVE, tmp_path / "index.duckdb", "--json")
    assert json.loads(told.stdout) == {"file": str(tmp_path / "index.duckdb"), "offsets": 33}
    (tmp_path / "figures.csv").write_text(
        "region,date,source,wajib,recorded,unrecorded,percent\n16.05,2019-03-28,siak,14,,,\n"
    )
    with_index = audit("reconcile", tmp_path / "figures.csv", "--against", tmp_path / "index.duckdb", "--json")
    assert json.loads(with_index.stdout) == {"rows": 1, "gaps": [], "not_counted": []}
    assert "`lampit audit explain`, `coverage` and `reconcile`" in " ".join(audit("index", "--help").output.split())


def test_a_segment_that_cannot_be_read_is_said_in_a_sentence(tmp_path: Path) -> None:
    write(tmp_path / "archive", ledger(300, 2, 2), 100)
    first, *_ = sorted((tmp_path / "archive" / "ledger").rglob("*.parquet"))
    first.unlink()
    first.mkdir()
    said = audit("coverage", "--as-of", "2019-03-21", tmp_path / "archive", exit_code=1).output
    assert said == "The source cannot be read (IOException): `lampit audit verify` says what an archive lacks.\n"


def test_a_segment_with_bytes_that_are_no_text_is_said_in_a_sentence(tmp_path: Path) -> None:
    write(tmp_path / "archive", ledger(300, 2, 2), 100)
    first, *_ = sorted((tmp_path / "archive" / "ledger").rglob("*.parquet"))
    first.write_bytes(first.read_bytes().replace(b"receivedat", b"received\xd5t"))
    said = audit("explain", "16.05", *MARCH, tmp_path / "archive", exit_code=1).output
    assert said.startswith("The source cannot be read (") and said.endswith("says what an archive lacks.\n")


@pytest.mark.parametrize("memory", ["1MiB", "20MiB"])
def test_too_little_memory_is_told_by_its_option(memory: str) -> None:
    refused = audit("coverage", "--as-of", "2019-03-28", "--memory", memory, LEDGER, exit_code=2)
    assert refused.output == f"--memory {memory} is too little for this count: give more.\n"


def test_an_unknown_person_and_a_damaged_record_are_problems(tmp_path: Path) -> None:
    nobody = audit("explain", "ID", *MARCH, "--person", "1605024203190001", LEDGER, exit_code=1).output
    assert "Nobody has that id" in nobody
    assert_private(nobody)
    file = tmp_path / "ledger.jsonl"
    file.write_bytes(LEDGER.read_bytes().splitlines()[0].replace(b'"occurred_on":"2019', b'"occurred_on":"20x9'))
    assert "line 1 is neither" in audit("coverage", "--as-of", "2019-02-28", file, exit_code=1).output


class Forgetful(FileSource):
    """A source that does not tell one event to who explains, and tells it to who counts."""

    def heard(
        self, question: Question | None = None, person: str | None = None, rules: Rules | None = None
    ) -> list[Heard]:
        """All but a death."""
        return [one for one in self._heard if one.event.id != "death-002"]


@pytest.mark.parametrize("name", ["nik", "receivedat", "an-id"])
def test_an_id_may_be_the_name_of_a_field(name: str, tmp_path: Path) -> None:
    person = {"birth_date": "1990-01-01"}
    sent = {"specversion": "1.0", "id": name, "source": "/siak/1605", "time": "2019-03-05T09:12:00+07:00"}
    data = {"nik": "1605024203190001", "occurred_on": "2019-03-02", "region": "16.05.02.2001", "person": person}
    balance = {"occurred_on": "2019-03-02", "region": "16.06", "counts": {"population": 5}}
    events = [
        sent | {"type": "lampit.register.v1", "data": data},
        sent | {"type": "lampit.opening_balance.v1", "data": balance},
    ]
    (tmp_path / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    records = [encode_record(one.subject, one.event, 0) for one in accept(events)[0]]
    (tmp_path / "ledger.jsonl").write_bytes(b"".join(record + b"\n" for record in records))
    for file in ("events.jsonl", "ledger.jsonl"):
        source = FileSource(open_all((str(tmp_path / file),)), None)
        assert (len(source.heard()), source.rejected) == (2, 0)


def test_what_does_not_add_up_is_found() -> None:
    source = Forgetful(open_all((str(LEDGER),)), None)
    question = Question("16.05.02", ordinal("2019-02-01"), ordinal("2019-03-28"))
    found = answer(source, question, Rules(), person=None, recount=True)
    assert any("population (total)" in fault for fault in found.faults)
    assert not answer(source, question, Rules(), person=None, recount=False).faults


@pytest.mark.parametrize(
    "arguments",
    [
        ("explain", "ID", "--from", "2018-01-01", "--to", "2020-01-01"),
        ("explain", "ID", "--from", "2018-01-01", "--to", "2020-01-01", "--json"),
        ("explain", "ID", "--from", "2018-01-01", "--to", "2020-01-01", "--format", "csv"),
        ("coverage", "--as-of", "2020-01-01"),
    ],
)
def test_nothing_personal_is_shown(arguments: tuple[str, ...]) -> None:
    assert_private(audit(*arguments, *CASES).output)


def test_an_error_of_the_reader_says_no_content() -> None:
    with pytest.raises(LampitError, match="neither an event nor a ledger record"):
        FileSource(open_all((str(ROOT / "tests" / "unit" / "test_audit_commands.py"),)), None)._take_record(
            b'{"receivedat":', "file", 1
        )
