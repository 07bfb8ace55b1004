"""`lampit count`: the cases of tests/scenarios/cases through the command, the forms of a file, and what it prints."""

from __future__ import annotations

import gzip
import json
import os
import resource
from pathlib import Path
from typing import Any

import pytest
import zstandard
from click.testing import CliRunner, Result

from lampit.cli import lampit
from lampit.files import LINE_BYTES_MAX, EventFile

CASES = sorted((Path(__file__).parents[1] / "scenarios" / "cases").iterdir())
VILLAGE = "16.05.02.2001"
NIK = "1605024203190001"


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("LAMPIT_")]:
        monkeypatch.delenv(name)


def count(*arguments: str | Path, stdin: bytes | None = None, exit_code: int = 0) -> Result:
    result = CliRunner().invoke(lampit, ["count", *map(str, arguments)], input=stdin)
    assert result.exit_code == exit_code, result.output
    return result


def counted(*arguments: str | Path, stdin: bytes | None = None) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(count(*arguments, "--json", stdin=stdin).stdout)
    return answer


def event(kind: str, nik: str = NIK, day: str = "2019-03-05", **data: Any) -> bytes:
    said = {"nik": nik, "occurred_on": day, "region": VILLAGE, **data}
    return json.dumps(
        {
            "specversion": "1.0",
            "id": f"{kind}-{nik[-4:]}-{day}",
            "source": "/siak/1605",
            "type": f"lampit.{kind}.v1",
            "time": f"{day}T10:00:00+07:00",
            "data": {name: value for name, value in said.items() if value is not None},
        }
    ).encode()


ADULT = event("register", day="2010-01-01", person={"birth_date": "1990-01-01", "sex": "F"})
RECORDED = event("recording", day="2019-03-05", service_point="16.05")
LINES = ADULT + b"\n" + RECORDED + b"\n"


def obliged_and_recorded(answer: dict[str, Any], region: str = VILLAGE) -> tuple[int, int]:
    record = next(record for record in answer["regions"] if record["region"] == region)
    return record["obliged"]["total"], record["recorded"]["total"]


@pytest.mark.parametrize("engine", ["python", "sql"])
@pytest.mark.parametrize("order", ["as sent", "reversed", "repeated"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Path, order: str, engine: str, tmp_path: Path) -> None:
    expected = json.loads((case / "expect.json").read_text())
    lines = (case / "events.jsonl").read_bytes().splitlines()
    arranged = {"as sent": lines, "reversed": lines[::-1], "repeated": [line for line in lines for _ in range(2)]}[
        order
    ]
    file = tmp_path / "events.jsonl"
    file.write_bytes(b"\n".join(arranged))
    for expectation in expected["expect"]:
        answer = counted(file, "--as-of", expectation["as_of"], "--engine", engine)
        records = {record["region"]: record for record in answer["regions"]}
        if all(value in (0, None) for value in expectation["values"].values()):
            records.setdefault(expectation["region"], dict.fromkeys(expectation["values"], 0))
        record = records[expectation["region"]]
        for name, value in expectation["values"].items():
            figure = (
                record[name]["total"]
                if isinstance(record[name], dict) and not isinstance(value, dict)
                else record[name]
            )
            assert figure == (pytest.approx(value) if isinstance(value, float) else value), (expectation, name)
        anomalies = [{"event": anomaly["event"], "kind": anomaly["kind"]} for anomaly in answer["anomalies"]]
        if expected["anomalies"] is not None:
            wanted = [{"event": anomaly["event"], "kind": anomaly["kind"]} for anomaly in expected["anomalies"]]
            assert sorted(anomalies, key=json.dumps) == sorted(wanted, key=json.dumps)
        assert len(answer["rejected"]) == expected["rejected"] * (2 if order == "repeated" else 1)


@pytest.mark.parametrize(
    "content",
    [
        LINES,
        LINES.rstrip(b"\n"),
        LINES.replace(b"\n", b"\r\n"),
        b"\n \n" + LINES.replace(b"\n", b"\n\n\r\n"),
        b"\xef\xbb\xbf" + LINES,
        gzip.compress(b"\xef\xbb\xbf" + LINES),
        gzip.compress(b"\xef") + gzip.compress(b"\xbb\xbf" + LINES),
        zstandard.compress(b"\xef\xbb\xbf" + LINES),
        gzip.compress(LINES),
        gzip.compress(ADULT + b"\n" + RECORDED[:50]) + gzip.compress(RECORDED[50:]),
        zstandard.compress(LINES),
        zstandard.compress(ADULT[:90]) + zstandard.compress(ADULT[90:] + b"\n" + RECORDED),
    ],
    ids=[
        *("plain", "no-last-newline", "crlf", "blank-lines", "bom", "bom-gzip", "bom-gzip-members", "bom-zstd"),
        *("gzip", "gzip-members", "zstd", "zstd-frames"),
    ],
)
@pytest.mark.parametrize("from_stdin", [False, True], ids=["file", "stdin"])
def test_every_form_of_a_file_counts_the_same(content: bytes, from_stdin: bool, tmp_path: Path) -> None:
    file = tmp_path / "events"
    file.write_bytes(content)
    name, stdin = ("-", content) if from_stdin else (str(file), None)
    answer = counted(name, "--as-of", "2019-03-28", stdin=stdin)
    assert obliged_and_recorded(answer) == (1, 1)
    assert answer["rejected"] == []


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (gzip.compress(LINES)[:-4], "ends too early"),
        (zstandard.compress(LINES)[:-4], "ends too early"),
        (gzip.compress(LINES) + b"something else", "is damaged"),
        (zstandard.compress(LINES) + b"something else", "is damaged"),
        (None, "No such file"),
    ],
    ids=["gzip-cut", "zstd-cut", "gzip-tail", "zstd-tail", "missing"],
)
def test_a_file_that_cannot_be_read_is_one_sentence(content: bytes | None, why: str, tmp_path: Path) -> None:
    file = tmp_path / "events"
    if content is not None:
        file.write_bytes(content)
    result = count(file, "--as-of", "2019-03-28", "--json", exit_code=2)
    assert result.stdout == ""
    assert why in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_lines_are_whole_across_chunks_and_endless_ones_are_cut(tmp_path: Path) -> None:
    file = tmp_path / "events"
    long = b"x" * (LINE_BYTES_MAX + 300_000)
    content = [b"%d" % number * 200 for number in range(3000)]
    file.write_bytes(b"\n".join([*content, long, b"last"]))
    with EventFile(str(file)) as opened:
        batches = list(opened.batches())
        assert opened.bytes_read == opened.bytes_total
    lines = [line for _, batch in batches for line in batch]
    assert lines[:3000] == content
    assert LINE_BYTES_MAX < len(lines[3000]) < len(long)
    assert lines[3001:] == [b"last"]
    numbers = [first for first, _ in batches]
    assert numbers == [1 + sum(len(batch) for _, batch in batches[:index]) for index in range(len(batches))]


def test_a_file_whose_name_is_no_utf8_is_named(tmp_path: Path) -> None:
    file = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jsonl"))
    file.write_bytes(RECORDED + b"no event\n")
    answer = counted(file, "--as-of", "2019-03-28")
    assert [one["file"] for one in answer["rejected"]] == [f"{tmp_path}/caf\\xe9.jsonl"]


def test_little_that_unpacks_to_much_is_not_in_memory_at_once(tmp_path: Path) -> None:
    """A day's export appended to itself again and again: 96 MiB of it in some kilobytes."""
    line = b"x" * (64 * 1024 - 1) + b"\n"
    (tmp_path / "events").write_bytes(zstandard.compress(line * 1536))
    sizes = [sum(map(len, lines)) for _, lines in EventFile(str(tmp_path / "events")).batches()]
    assert sum(sizes) == 1536 * (len(line) - 1)
    assert max(sizes) < 40 * 1024 * 1024


def test_more_files_than_may_be_open_at_a_time(tmp_path: Path) -> None:
    """Years of daily files: each is open while it is read, and all are looked for before the first is."""
    files = [tmp_path / f"{number}.jsonl" for number in range(80)]
    for file in files:
        file.write_bytes(RECORDED)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with files[0].open() as next_one:
        resource.setrlimit(resource.RLIMIT_NOFILE, (next_one.fileno() + 20, limits[1]))
    try:
        result = count(*files, "--as-of", "2019-03-28", "--region", VILLAGE)
        missing = count(*files, tmp_path / "none", "--as-of", "2019-03-28", exit_code=2)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert VILLAGE in result.stdout
    assert missing.stdout == ""


def test_files_add_up_in_any_order_and_may_overlap(tmp_path: Path) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    first.write_bytes(RECORDED)
    second.write_bytes(LINES)
    one = count(first, second, "--as-of", "2019-03-28", "--json").stdout
    other = count(second, first, first, "--as-of", "2019-03-28", "--json").stdout
    assert one == other
    assert obliged_and_recorded(json.loads(one)) == (1, 1)


def test_rejects_are_told_with_their_line_and_change_the_exit_code_only_when_strict(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.write_bytes(b"\n".join([ADULT, b"", b"{", event("death", nik="160502"), b"x" * 70_000]))
    result = count(file, "--as-of", "2019-03-28", "--json")
    answer = json.loads(result.stdout)
    assert list(answer) == ["as_of", "regions", "rejected", "anomalies"]
    assert [(one["file"], one["line"], one["reason"]) for one in answer["rejected"]] == [
        (str(file), 3, "not_json"),
        (str(file), 4, "malformed_nik"),
        (str(file), 5, "too_large"),
    ]
    assert all(set(one) == {"file", "line", "reason", "message"} and one["message"] for one in answer["rejected"])
    assert "Rejected lines: 3" in result.stderr
    assert f"1  malformed_nik, first in {file}, line 4" in result.stderr
    assert count(file, "--as-of", "2019-03-28", "--strict", exit_code=1).stdout


def test_strict_without_rejects_is_0(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.write_bytes(LINES)
    result = count(file, "--as-of", "2019-03-28", "--strict", "--json")
    assert result.stderr == ""


def test_regions_are_sorted_and_filtered(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    elsewhere = event("register", nik="1805024203190002", region="18.05.01.2001", person={"birth_date": "1990-01-01"})
    file.write_bytes(LINES + elsewhere)

    def codes(*options: str) -> list[str]:
        return [record["region"] for record in counted(file, "--as-of", "2019-03-28", *options)["regions"]]

    everything = codes()
    assert everything == sorted(everything)
    assert {"ID", "ID-transit", "16", "18.05.01.2001"} <= set(everything)
    assert codes("--region", "16.05") == ["16.05", "16.05.02", VILLAGE]
    assert codes("--region", "ID") == everything
    assert codes("--region", "ID-transit") == ["ID-transit"]
    assert codes("--level", "regency") == ["16.05", "18.05"]
    assert codes("--level", "district", "--region", "16") == ["16.05.02"]
    assert codes("--region", "31") == []
    count(file, "--as-of", "2019-03-28", "--region", "1605", exit_code=2)


def test_the_codes_of_another_day(tmp_path: Path) -> None:
    file = tmp_path / "merauke.jsonl"
    file.write_bytes(event("register", day="2018-01-01", region="91.01.01.1003", person={"birth_date": "1990-01-01"}))
    asked = (file, "--as-of", "2020-12-31", "--level", "province")
    then, later = counted(*asked), counted(*asked, "--hierarchy-of", "2025-12-31")
    assert "hierarchy_of" not in then
    assert list(later)[:2] == ["as_of", "hierarchy_of"]
    assert later["hierarchy_of"] == "2025-12-31"
    assert [(one["region"], one["name"], one["as_of"]) for one in (*then["regions"], *later["regions"])] == [
        ("91", "Papua", "2020-12-31"), ("93", "Papua Selatan", "2020-12-31"),
    ]  # fmt: skip
    shown = count(*asked, "--hierarchy-of", "2025-12-31").stdout
    assert shown.startswith("Coverage at the end of 2020-12-31, by the region codes of 2025-12-31\n")
    assert counted(*asked, "--hierarchy-of", "2025-12-31", "--engine", "sql") == later


def test_the_table_shows_half_up_percentages_and_what_is_not_stated(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    balance = event(
        "opening_balance", day="2018-12-31", region="16.09", counts={"population": 9999, "obliged": 800, "recorded": 1}
    )
    balance = balance.replace(b'"nik": "%s", ' % NIK.encode(), b"")
    file.write_bytes(balance)
    lines = count(file, "--as-of", "2019-01-01").stdout.splitlines()
    row = next(line.split() for line in lines if line.startswith("16.09 "))
    # 0.125 % exactly; the nearest even would be 0.12.
    assert row[-7:] == ["9,999", "800", "1", "799", "0.13", "%", "balance"]
    transit = next(line.split() for line in lines if line.startswith("ID-transit"))
    assert transit[-2] == "–"


def test_output_in_a_pipe_has_no_colour_and_no_bar(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.write_bytes(LINES)
    result = count(file, "--as-of", "2019-03-28")
    assert "\x1b" not in result.output
    assert result.stderr == ""


def test_settings_come_from_options_then_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "events.jsonl"
    file.write_bytes(event("register", day="2010-01-01", person={"birth_date": "2008-02-29"}))

    def obliged(*options: str) -> int:
        return obliged_and_recorded(counted(file, "--as-of", "2025-02-28", *options))[0]

    assert obliged() == 0
    assert obliged("--leap-birthday", "feb28") == 1
    monkeypatch.setenv("LAMPIT_LEAP_BIRTHDAY", "feb28")
    assert obliged() == 1
    assert obliged("--leap-birthday", "mar1") == 0

    file.write_bytes(ADULT + b"\n" + event("move_out", day="2019-01-01", destination="18.05"))
    assert obliged_and_recorded(counted(file, "--as-of", "2019-01-31"))[0] == 0
    assert obliged_and_recorded(counted(file, "--as-of", "2019-01-31", "--transit-expiry-days", "30"))[0] == 1


def test_subjects_are_of_the_key_of_the_settings_else_of_one_made_for_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "events.jsonl"
    file.write_bytes(RECORDED)

    def subject() -> tuple[str, str]:
        result = count(file, "--as-of", "2019-03-28", "--json")
        (anomaly,) = json.loads(result.stdout)["anomalies"]
        assert anomaly["kind"] == "unplaced"
        assert set(anomaly) == {"subject", "event", "kind"}
        return anomaly["subject"], result.stderr

    (first, note), (second, _) = subject(), subject()
    assert first != second
    assert note.startswith("No pseudonym key is set") and len(note.splitlines()) == 1
    monkeypatch.setenv("LAMPIT_PSEUDONYM_KEY", "k" * 32)
    assert subject() == subject()
    assert subject()[1] == ""


def test_no_nik_in_any_output(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    wrong = [event("death", region="Lakitan"), event("death", letter=NIK), RECORDED[:-3], event("divorce")]
    unplaced = event("move_out", nik="1605024203190002", destination=None)
    file.write_bytes(b"\n".join([LINES, *wrong, unplaced]))
    for options in ([], ["--json"]):
        result = count(file, "--as-of", "2019-03-28", *options)
        assert NIK not in result.output
        assert "1605024203190002" not in result.output
    assert len(json.loads(result.stdout)["rejected"]) == 3


def test_a_region_without_figures_is_told() -> None:
    """Also with --json, whose answer stays alone on standard output."""
    for more in ((), ("--json",)):
        result = count("-", "--as-of", "2019-03-28", "--region", "99", *more, stdin=LINES)
        assert result.stderr == "No event and no balance names 99 or a place in it: check the code.\n"
    assert count("-", "--as-of", "2019-03-28", "--region", "16.05", "--level", "province", stdin=LINES).stderr == ""
