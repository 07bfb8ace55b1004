"""`lampit audit prove` and `heads`: proofs that a script without our code accepts, and that nothing else is accepted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.signing import make_key
from lampit.audit.archive import Archive
from lampit.audit.proofs import Prover, heads
from lampit.cli import lampit
from schemas.head import HeadRecord
from stream.archive import encode_line
from stream.ledger import LedgerRecord, decode_record, encode_record
from tests import example_archive
from tests.archives import LogRecord, ledger, write

CHECKER = example_archive.EXAMPLES / "check_proof.py"
LOGS = ledger(700, 2, 4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive, its published heads and its public key."""
    path = tmp_path_factory.mktemp("proved")
    write(path / "archive", LOGS, 64)
    (path / "heads.jsonl").write_bytes(example_archive.head_lines(path / "archive"))
    (path / "all.jsonl").write_bytes(
        b"".join(encode_line(head) + b"\n" for head in heads(Archive.open(str(path / "archive"))))
    )
    (path / "key.pub").write_bytes(example_archive.public_pem())
    return path


def asked(folder: Path, *words: str) -> Result:
    return CliRunner().invoke(lampit, ["audit", *words, "--archive", str(folder / "archive")])


def proof(folder: Path, *words: str) -> dict[str, Any]:
    result = asked(folder, "prove", *words)
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def checked(folder: Path, shown: dict[str, Any], file: str = "heads.jsonl") -> tuple[int, str]:
    """Exit code and words of the independent script."""
    command = [sys.executable, str(CHECKER), str(folder / "key.pub"), str(folder / file)]
    done = subprocess.run(command, input=json.dumps(shown), capture_output=True, text=True, check=False, timeout=120)
    return done.returncode, done.stdout + done.stderr


def record_at(partition: int, offset: int) -> LogRecord | None:
    return next((record for record in LOGS[partition] if record.offset == offset), None)


def test_the_script_has_fifty_lines_and_none_of_our_code() -> None:
    text = CHECKER.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 50
    imported = {line.split()[1] for line in text.splitlines() if line.startswith(("import ", "from "))}
    assert not imported & {"lampit", "agents", "stream", "schemas"}


def test_an_event_is_proved_by_its_source_and_id(folder: Path) -> None:
    archived = next(record for record in LOGS[1][40:] if b'"id":' in (record.value or b""))
    event = json.loads(archived.value or b"")
    shown = proof(folder, "inclusion", "--source", event["source"], "--id", event["id"])
    assert (shown["partition"], shown["leaf_index"]) == (1, archived.offset)
    assert json.loads(shown["record"]["value"]) == event
    code, said = checked(folder, shown)
    assert code == 0 and said.startswith(f"PROVED: offset {archived.offset} of partition 1")


def test_a_name_that_json_writes_in_another_way_is_found(tmp_path: Path) -> None:
    known = decode_record(next(record for record in LOGS[1][40:] if b'"id":' in (record.value or b"")).value or b"")
    assert isinstance(known, LedgerRecord) and known.subject is not None
    key = known.subject.encode()
    names = ["C:\\records\\7", "C:\\\\records", 'a "name"', "née"]
    events = [msgspec.structs.replace(known.event, source="\\\\office", id=name) for name in names]
    values = [encode_record(known.subject, event, 0) for event in events]
    write(tmp_path / "archive", {0: [LogRecord(number, 0, key, one) for number, one in enumerate(values)]}, 4)
    for offset, name in enumerate(names):
        shown = proof(tmp_path, "inclusion", "--source", "\\\\office", "--id", name)
        assert shown["leaf_index"] == offset


@pytest.mark.parametrize(
    "change", ["value", "key", "timestamp_ms", "leaf_index", "path", "tree_size", "partition", "none"]
)
def test_a_changed_proof_proves_nothing(folder: Path, change: str) -> None:
    shown = proof(folder, "inclusion", "--partition", "0", "--offset", "77")
    assert shown["record"] is not None
    if change == "value":
        shown["record"]["value"] = shown["record"]["value"].replace("2019", "2018", 1)
    elif change == "key":
        shown["record"]["key"] = None
    elif change == "timestamp_ms":
        shown["record"]["timestamp_ms"] += 1
    elif change == "leaf_index":
        shown["leaf_index"] += 1
    elif change == "path":
        shown["path"][1] = shown["path"][0]
    elif change == "tree_size":
        shown["tree_size"] -= 1
    elif change == "partition":
        shown["partition"] = 1
    else:
        shown["record"] = None
    code, said = checked(folder, shown)
    assert code == 1 and "NOT PROVED" in said


def test_a_head_that_the_key_did_not_sign_proves_nothing(folder: Path) -> None:
    shown = proof(folder, "inclusion", "--partition", "0", "--offset", "77")
    forged = (folder / "heads.jsonl").read_bytes().replace(b'"day":"2019-03-2', b'"day":"2019-04-2')
    (folder / "forged.jsonl").write_bytes(forged)
    assert checked(folder, shown, "forged.jsonl") == (1, "NOT PROVED: the head is not signed with this key\n")


def test_a_key_that_did_not_sign_proves_nothing(folder: Path, tmp_path: Path) -> None:
    make_key(tmp_path / "other.key", tmp_path / "key.pub")
    (tmp_path / "heads.jsonl").write_bytes((folder / "heads.jsonl").read_bytes())
    inclusion = proof(folder, "inclusion", "--partition", "0", "--offset", "77")
    consistency = proof(folder, "consistency", "--partition", "0", "--from", "2019-03-20")
    for shown in (inclusion, consistency):
        assert checked(tmp_path, shown) == (1, "NOT PROVED: the head is not signed with this key\n")


def test_that_nothing_stands_at_an_offset_and_that_a_hash_does(folder: Path) -> None:
    hole = next(offset for offset in range(20, 200) if record_at(0, offset) is None)
    shown = proof(folder, "inclusion", "--partition", "0", "--offset", str(hole))
    assert shown["record"] is None
    assert checked(folder, shown)[0] == 0
    short = proof(folder, "inclusion", "--partition", "0", "--offset", "77", "--no-record")
    assert "record" not in short and len(json.dumps(short)) < 1_200
    assert checked(folder, short)[0] == 0


def test_every_later_day_extends_every_earlier_one(folder: Path) -> None:
    days = ["2019-03-20", "2019-03-21", "2019-03-22", "2019-03-23"]
    for number, first in enumerate(days):
        for second in days[number + 1 :]:
            shown = proof(folder, "consistency", "--partition", "1", "--from", first, "--to", second)
            code, said = checked(folder, shown)
            assert code == 0 and said.startswith(f"PROVED: the {shown['tree_size']} offsets"), said
    shown["path"] = shown["path"][::-1]
    assert checked(folder, shown)[0] == 1


@settings(max_examples=12)
@given(st.data())
def test_every_offset_under_every_head(folder: Path, data: st.DataObject) -> None:
    """Segments are of 64 offsets or less, heads are at the end of each."""
    archive = Archive.open(str(folder / "archive"))
    partition = data.draw(st.sampled_from([0, 1]))
    ends = [line.next_offset for line in archive.tree(partition)[1]]
    size, first = data.draw(st.sampled_from(ends)), data.draw(st.sampled_from(ends))
    offset = data.draw(st.integers(0, size - 1))
    prover = Prover(archive, partition)
    assert prover.size(str(size)) == size
    shown = prover.inclusion(offset, size, with_record=True)
    record = record_at(partition, offset)
    assert shown["record"] == (
        None
        if record is None
        else {
            "timestamp_ms": record.timestamp,
            "key": (record.key or b"").decode(),
            "value": (record.value or b"").decode(),
        }
    )
    assert checked(folder, shown, "all.jsonl")[0] == 0
    first, size = sorted((first, size))
    if first < size:
        assert checked(folder, prover.consistency(first, size), "all.jsonl")[0] == 0


def test_the_heads_of_an_archive_are_those_that_are_published(folder: Path) -> None:
    shown = asked(folder, "heads")
    assert shown.stdout_bytes == (folder / "heads.jsonl").read_bytes()
    records = [HeadRecord.model_validate_json(line) for line in shown.stdout.splitlines()]
    assert [record.day.isoformat() for record in records if record.partition == 0] == [
        f"2019-03-2{number}" for number in range(4)
    ]
    assert asked(folder, "heads", "--all").stdout_bytes == (folder / "all.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("inclusion", "--offset", "3"), "Which partition"),
        (("inclusion", "--partition", "0"), "Which record"),
        (("inclusion", "--partition", "0", "--source", "/siak/1605"), "Which record"),
        (("inclusion", "--source", "/siak/1605", "--id", "none"), "No record of source"),
        (("inclusion", "--partition", "0", "--offset", "99999"), "name a later one with --head"),
        (("inclusion", "--partition", "7", "--offset", "1"), "has no partition 7"),
        (("consistency", "--partition", "0", "--from", "2018-01-01"), "those of days are 2019-03-20 to 2019-03-23"),
        (("consistency", "--partition", "0", "--from", "2019-03-23", "--to", "2019-03-20"), "name them in order"),
    ],
)
def test_wrong_usage_is_said_in_one_sentence(folder: Path, words: tuple[str, ...], said: str) -> None:
    result = asked(folder, "prove", *words)
    assert result.exit_code == 2 and said in result.output


@pytest.mark.parametrize("damage", ["tree", "segment"])
def test_a_damaged_archive_proves_nothing(tmp_path: Path, damage: str) -> None:
    write(tmp_path / "archive", LOGS, 64)
    where = tmp_path / "archive/ledger/partition=00000"
    if damage == "tree":
        header, *lines = (where / "tree.jsonl").read_bytes().splitlines(keepends=True)
        line = json.loads(lines[0])
        line["blocks"][0] = "0" * 64
        lines[0] = json.dumps(line, separators=(",", ":")).encode() + b"\n"
        (where / "tree.jsonl").write_bytes(b"".join([header, *lines]))
    else:
        names = sorted(where.glob("*.parquet"))
        names[2].write_bytes(names[2].read_bytes()[:-9])
        sought = asked(tmp_path, "prove", "inclusion", "--source", "/siak/1605", "--id", "nowhere")
        assert sought.exit_code == 1 and f"{names[2].name}: it cannot be read (`lampit audit verify`)" in sought.output
    result = asked(tmp_path, "prove", "inclusion", "--partition", "0", "--offset", "77")
    assert result.exit_code == 1 and "lampit audit verify" in result.output
    (where / "tree.jsonl").unlink()
    result = asked(tmp_path, "prove", "inclusion", "--partition", "0", "--offset", "77")
    assert result.exit_code == 2 and "has no tree yet" in result.output


def test_the_example_archive_is_that_of_the_example_ledger(tmp_path: Path) -> None:
    """Its roots and heads are; the Parquet files may be of another version."""
    example_archive.write_example(tmp_path)
    for name in ("tree.jsonl",):
        made = tmp_path / "ledger/partition=00000" / name
        assert made.read_bytes() == (example_archive.EXAMPLES / "archive/ledger/partition=00000" / name).read_bytes()
    assert example_archive.head_lines(tmp_path) == (example_archive.EXAMPLES / "heads.jsonl").read_bytes()
    assert example_archive.public_pem() == (example_archive.EXAMPLES / "archive.key.pub").read_bytes()
    values = [record.value for record in Archive.open(str(example_archive.EXAMPLES / "archive")).records()]
    lines = (example_archive.EXAMPLES / "ledger.jsonl").read_bytes().splitlines()
    assert [value for value in values if value in lines] == lines
