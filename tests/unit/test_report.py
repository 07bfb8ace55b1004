"""`lampit report`: the four formats say the same, and what cannot be reported is one sentence."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from openpyxl import load_workbook

from lampit.cli import lampit
from lampit.report.layout import COLUMNS
from stream.delay import Delay, delays
from stream.flow_tally import BIRTHS, DEATHS
from stream.flows import Flow
from stream.places import NO_CHANGES
from tests.scenario_files import load_scenarios

MUSI_RAWAS = next(one for one in load_scenarios() if one.name == "musi-rawas-in-march")
LATE = next(one for one in load_scenarios() if one.name == "births-of-a-month")


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("LAMPIT_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def musi_rawas(tmp_path: Path) -> Path:
    return written(tmp_path / "musi-rawas.jsonl", MUSI_RAWAS.events)


def written(file: Path, events: list[dict[str, Any]]) -> Path:
    file.write_text("".join(f"{json.dumps(event)}\n" for event in events), encoding="utf-8")
    return file


def report(*arguments: str | Path, exit_code: int = 0) -> Result:
    result = CliRunner().invoke(lampit, ["report", *map(str, arguments)])
    assert result.exit_code == exit_code, result.output
    return result


def test_the_table_of_musi_rawas(musi_rawas: Path) -> None:
    """293,578 and 283,755 on 28 March 2019, 96.65 %; 9,823 are left."""
    shown = report("16.05", "--period", "2019-03", musi_rawas).stdout
    lines = shown.splitlines()
    assert lines[0] == "Lampit report of 16.05 Kabupaten Musi Rawas (regency), 2019-03, by day of report"
    assert lines[1] == "2019-03-01 to 2019-03-28; rests on: balance; from event files"
    rows = {line[3:35].strip(): line[35:].split() for line in lines[4:22] if line}
    assert rows["Population on 2019-02-28"] == ["–", "–", "–", "401,000"]
    assert rows["Deaths (mati)"] == ["1", "0", "0", "1"]
    assert rows["Moved out (pindah)"] == ["1", "0", "0", "1"]
    assert rows["Moved in (datang)"] == ["0", "1", "0", "1"]
    assert rows["Corrections"] == ["–", "–", "–", "0"]
    assert rows["Population on 2019-03-28"] == ["–", "–", "–", "400,999"]
    assert rows["Turned 17"] == ["0", "0", "2", "2"]
    assert rows["Recordings, by home (perekaman)"] == ["1", "1", "0", "2"]
    assert rows["Recordings, by office"] == ["0", "1", "0", "1"]
    assert rows["Obliged (wajib KTP)"][-1] == "293,578"
    assert rows["Recorded (rekam)"][-1] == "283,755"
    assert rows["Unrecorded (belum rekam)"][-1] == "9,823"
    assert rows["Coverage"] == ["96.65", "%"]
    assert [line[0] for line in lines[5:9]] == ["L", "M", "P", "D"]
    assert not any(line != line.rstrip() for line in lines)


def test_all_formats_say_the_same(musi_rawas: Path, tmp_path: Path) -> None:
    arguments = ("16", "--period", "2019-03", "--by", "event", "--children", musi_rawas)
    said = json.loads(report(*arguments, "--json").stdout)
    assert [record["region"] for record in said["closings"]] == ["16", "16.05", "16.09"]
    assert said["by"] == "event"

    rows = list(csv.DictReader(io.StringIO(report(*arguments, "--format", "csv").stdout)))
    expected: dict[tuple[str, str], list[str]] = {}
    for record in said["closings"]:
        month = record["by_event_date"]
        counts = {"opening": month["opening"]["population"], "closing": month["closing"]["population"]}
        counts |= month["flows"] | {name: month["closing"][name] for name in ("obliged", "recorded", "unrecorded")}
        for item, by_sex in counts.items():
            expected[record["region"], item] = ["" if count is None else str(count) for count in by_sex.values()]
        expected[record["region"], "coverage"] = ["", "", "", str(month["coverage"] or "")]
    for kind, delay in said["delays"].items():
        expected["16", f"{kind}_delay_median_days"] = ["", "", "", str(delay["median_days"])]
        expected["16", f"{kind}_delay_90th_percentile_days"] = ["", "", "", str(delay["ninetieth_days"])]
    found = {(row["region"], row["item"]): [row[key] for key in ("M", "F", "unknown", "total")] for row in rows}
    assert found == expected
    assert len(rows) == len(found)

    report(*arguments, "--output", tmp_path / "report.xlsx")
    book = load_workbook(tmp_path / "report.xlsx")
    assert book.sheetnames == ["2019-03", "Regions", "Delays"]
    regions = [[cell.value for cell in row] for row in book["Regions"].iter_rows(min_row=4)]
    assert regions[0] == [*COLUMNS, "coverage"]
    assert [row[0] for row in regions[1:]] == ["16.05", "16.09", "16"]
    assert regions[1][:2] == ["16.05", "Kabupaten Musi Rawas"]
    assert regions[1][2:] == [401000, 0, 1, 1, 1, 0, 400999, 2, 2, 1, 293578, 283755, 9823, 0.9665]
    by_sex = {row[1].value: [cell.value for cell in row[2:]] for row in book["2019-03"].iter_rows(min_row=5)}
    assert by_sex["Population on 2019-02-28"] == ["–", "–", "–", 401001]
    assert by_sex["Deaths (mati)"] == [1, 0, 0, 1]
    assert by_sex["Coverage"][3] == pytest.approx(0.9665)
    total = next(row[5] for row in book["2019-03"].iter_rows(min_row=5) if row[1].value == "Deaths (mati)")
    assert total.number_format.startswith("#,##0")

    shown = report(*arguments).stdout
    assert "16.05       Kabupaten Musi Rawas" in shown.replace("16.05 ", "16.05       ", 1) or "16.05 " in shown
    assert " ".join(shown.split()).count("401,000 0 1 1 1 0 400,999 2 2 1 293,578 283,755 9,823 96.65 %") == 1


def test_by_event_and_by_report(tmp_path: Path) -> None:
    """A late report is in the month it came in, and of the month it happened in."""
    file = written(tmp_path / "births.jsonl", LATE.events)

    def births(period: str, by: str) -> tuple[int, int]:
        said = json.loads(report("16.05", "--period", period, "--by", by, "--json", file).stdout)
        month = said["closings"][0][f"by_{by}_date"]
        return month["flows"]["births"]["total"], month["closing"]["population"]["total"]

    assert [births(period, "event") for period in ("2019-02", "2019-03", "2019-04")] == [(1, 1), (2, 3), (0, 3)]
    assert [births(period, "report") for period in ("2019-02", "2019-03", "2019-04")] == [(0, 0), (2, 2), (1, 3)]


def test_another_closing_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the option, else by the setting."""
    file = written(tmp_path / "births.jsonl", LATE.events)
    arguments = ("16.05", "--period", "2019-03", "--by", "event", "--json", file)

    def opened_on(*more: str) -> str:
        return str(json.loads(report(*arguments, *more).stdout)["closings"][0]["opened_on"])

    assert opened_on("--closing-day", "15") == "2019-02-15"
    monkeypatch.setenv("LAMPIT_CLOSING_DAY", "10")
    assert opened_on() == "2019-02-10"
    assert opened_on("--closing-day", "15") == "2019-02-15"


def test_what_is_in_no_region_below_has_a_line(tmp_path: Path) -> None:
    """Recordings that name the regency's own office are in none of its districts."""
    recording = next(event for event in MUSI_RAWAS.events if event["data"].get("service_point"))
    register = next(event for event in MUSI_RAWAS.events if event["data"].get("nik") == recording["data"]["nik"])
    file = written(tmp_path / "two.jsonl", [register, recording])
    shown = report("16.05", "--period", "2019-03", "--children", file).stdout
    line = next(line for line in shown.splitlines() if "not in a region below" in line)
    assert line.split()[-11:] == ["0", "0", "0", "0", "0", "0", "0", "1", "0", "0", "0"]


def test_delays() -> None:
    """Nearest ranks, of the days asked for, in the dating asked for, of the region asked for."""

    def birth(day: int, reported: int, place: str = "16.05.02.2001") -> Flow:
        return Flow(place, day, reported, BIRTHS, 0)

    flows = [birth(100, 100 + delay) for delay in (0, 1, 2, 3, 4, 5, 6, 7, 8, 50)]
    flows += [birth(99, 100), birth(100, 100, "16.09.01.1013"), Flow("16.05.02.2001", 100, 98, DEATHS, 1)]
    assert delays(flows, "16.05", 100, 100, NO_CHANGES, by_report=False) == {
        "births": Delay(10, 4, 8),
        "deaths": Delay(1, -2, -2),
    }
    assert delays(flows, "16", 100, 100, NO_CHANGES, by_report=True) == {"births": Delay(3, 0, 1)}
    assert delays(flows, "17", 100, 100, NO_CHANGES, by_report=False) == {}


def test_delays_of_a_report(tmp_path: Path) -> None:
    file = written(tmp_path / "births.jsonl", LATE.events)
    said = json.loads(report("16.05", "--period", "2019-03", "--by", "event", "--json", file).stdout)
    assert said["delays"] == {"births": {"flows": 2, "median_days": 0, "ninetieth_days": 13}}


def test_rejected_lines_are_told(musi_rawas: Path) -> None:
    with musi_rawas.open("a") as file:
        file.write("not json\n")
    result = report("16.05", "--period", "2019-03", musi_rawas)
    assert "Rejected lines: 1" in result.stderr
    assert "96.65 %" in result.stdout
    report("16.05", "--period", "2019-03", "--strict", musi_rawas, exit_code=1)


def test_a_region_without_figures(musi_rawas: Path) -> None:
    said = report("17", "--period", "2019-03", musi_rawas, exit_code=1).stderr
    assert said == "No event and no balance in these files names 17 or a place in it: check the code.\n"


def test_the_ending_of_a_file_says_the_format_in_any_case(musi_rawas: Path, tmp_path: Path) -> None:
    arguments = ("16.05", "--period", "2019-03", musi_rawas, "--output")
    report(*arguments, tmp_path / "report.XLSX")
    assert load_workbook(tmp_path / "report.XLSX").sheetnames[0] == "2019-03"
    report(*arguments, tmp_path / "report.txt")
    assert (tmp_path / "report.txt").read_text() == report(*arguments[:-1]).stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--format", "xlsx"], "--output"),
        (["--known-day", "2019-04-01"], "--known-day"),
        (["--json", "--format", "csv"], "exclude each other"),
        (["--period", "2019-13"], "YYYY-MM"),
        (["--closing-day", "29"], "29"),
        (["--output", "/nowhere/report.csv"], "cannot be written"),
        (["--output", "report.pdf"], "says no format"),
        (["--output", "report.xlsx", "--format", "csv"], "does not fit"),
        (["--output", "report.csv", "--format", "xlsx"], "does not fit"),
        (["--output", "report.xlsx", "--json"], "does not fit"),
    ],
)
def test_wrong_usage(musi_rawas: Path, arguments: list[str], sentence: str) -> None:
    assert sentence in report("16.05", "--period", "2019-03", musi_rawas, *arguments, exit_code=2).stderr


def test_a_closing_day_of_closed_months() -> None:
    assert "--closing-day" in report("16.05", "--period", "2019-03", "--closing-day", "15", exit_code=2).stderr


def test_no_broker() -> None:
    """One sentence, and nothing from the client library."""
    environment = {"LAMPIT_BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    result = CliRunner().invoke(lampit, ["report", "16.05", "--period", "2019-03"], env=environment)
    assert result.exit_code == 2
    assert result.stderr == (
        "No Kafka broker answers at 127.0.0.1:1: check LAMPIT_BOOTSTRAP_SERVERS, or name event files.\n"
    )
