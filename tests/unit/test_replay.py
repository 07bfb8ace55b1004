"""`lampit replay` into files: the records of the archive, or of the part that is asked for, one a line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lampit.audit.archive import Archive, Filter
from lampit.cli import lampit
from lampit.replay import in_order
from tests.archives import ledger, write


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("archive")
    write(path, ledger(900, 2, 4), 60)
    return path


def replayed(folder: Path, *arguments: str | Path) -> Result:
    return CliRunner().invoke(lampit, ["replay", "--archive", str(folder), *map(str, arguments)])


def test_a_file_holds_every_record_once(folder: Path, tmp_path: Path) -> None:
    result = replayed(folder, "--output", tmp_path / "all.jsonl", "--json")
    lines = (tmp_path / "all.jsonl").read_bytes().splitlines()
    assert sorted(lines) == sorted(record.value or b"" for record in Archive.open(str(folder)).records())
    assert json.loads(result.stdout)["replayed"] == len(lines) > 800
    assert result.exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["all.jsonl"]


def test_a_file_that_cannot_be_written_whole_is_told_and_goes_again(folder: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands for a full disk."""
    output = tmp_path / "all.jsonl"
    command = [sys.executable, "-m", "lampit", "replay", "--archive", str(folder), "--output", str(output)]
    limited = ["bash", "-c", 'ulimit -f 8 && exec "$@"', "bash", *command]
    result = subprocess.run(limited, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr == f"{output}.part cannot be written (File too large): name another file.\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("there", "reason"), [(False, "the segment is missing"), (True, "Is a directory")])
def test_an_archive_that_cannot_be_read_whole_is_told_and_no_part_is_left(
    there: bool, reason: str, tmp_path: Path
) -> None:
    write(tmp_path / "archive", ledger(300, 1, 4), 60)
    last = max((tmp_path / "archive").rglob("*.parquet"))
    last.unlink()
    if there:
        last.mkdir()
    result = replayed(tmp_path / "archive", "--output", tmp_path / "all.jsonl")
    assert result.exit_code != 0
    assert reason in result.output and last.name in result.output and "all.jsonl" not in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["archive"]


def test_standard_output_holds_nothing_but_records(folder: Path) -> None:
    result = replayed(folder, "--partition", "1", "--output", "-")
    expected = [record.value for record in Archive.open(str(folder)).records(Filter(partitions={1}))]
    assert result.stdout.encode().splitlines() == expected
    assert "records replayed" in result.stderr


def test_filters(folder: Path) -> None:
    instants = ["--received-from", "2019-03-21T07:00:00+07:00", "--received-before", "2019-03-22T00:00:00Z"]
    lines = [json.loads(line) for line in replayed(folder, *instants, "--output", "-").stdout.splitlines()]
    assert lines
    assert {line["receivedat"][:10] for line in lines} == {"2019-03-21"}
    region = lines[0]["data"]["region"][:8]
    lines = [json.loads(line) for line in replayed(folder, "--region", region, "--output", "-").stdout.splitlines()]
    assert lines
    assert {line["data"]["region"][:8] for line in lines} == {region}


def test_partitions_go_on_together(folder: Path) -> None:
    """No partition is a day ahead of another: figures of a day are given out once all have reached it."""
    day = dict.fromkeys((0, 1), 0)
    for partition, table in in_order(Archive.open(str(folder)), Filter()):
        days = [key == b"control|day" for key in table.column("key").to_pylist()]
        day[partition] += sum(days)
        assert max(day.values()) - min(day.values()) <= 1
    assert day == {0: 4, 1: 4}


def test_what_exists_is_not_replaced(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "there").write_text("there")
    result = replayed(folder, "--output", tmp_path / "there")
    assert (result.exit_code, (tmp_path / "there").read_text()) == (2, "there")


@pytest.mark.parametrize("to", [("--output", "-"), ("--to", "127.0.0.1:1")])
def test_a_partition_that_is_not_there_is_told(folder: Path, to: tuple[str, str]) -> None:
    """Nothing would come of it, and that looks like success."""
    result = replayed(folder, "--partition", "1", "--partition", "3", *to)
    assert (result.exit_code, result.output) == (2, "The archive has no partition 3: it has [0, 1].\n")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--output", "a", "--to", "b:1"],
        ["--output", "-", "--received-from", "2019-03-21"],
        ["--output", "-", "--region", "16.5"],
    ],
)
def test_wrong_usage_is_2(folder: Path, arguments: list[str]) -> None:
    assert replayed(folder, *arguments).exit_code == 2
