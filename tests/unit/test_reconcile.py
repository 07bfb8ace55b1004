"""`lampit audit reconcile`: each kind of gap and its size, what is no gap, and wrong files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Final

import pytest
from click.testing import CliRunner, Result

from lampit.cli import lampit

ROOT: Final = Path(__file__).resolve().parents[2]
PUBLISHED: Final = ROOT / "docs" / "examples" / "references.csv"
LEDGER: Final = ROOT / "docs" / "examples" / "ledger.jsonl"
HEADER: Final = "region,date,source,wajib,recorded,unrecorded,percent"
NIK: Final = "1605024203190001"


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("LAMPIT_")]:
        monkeypatch.delenv(name)


def reconcile(file: Path, *arguments: str | Path, exit_code: int) -> Result:
    result = CliRunner().invoke(lampit, ["audit", "reconcile", str(file), *map(str, arguments)])
    assert result.exit_code == exit_code, result.output
    return result


def gaps(tmp_path: Path, *rows: str, against: Path | None = None) -> list[dict[str, Any]]:
    """The gaps of some rows; the exit code says whether there are any."""
    file = tmp_path / "references.csv"
    file.write_text("\n".join((HEADER, *rows)) + "\n", encoding="utf-8")
    words = ["--json", *(["--against", str(against)] if against else [])]
    result = CliRunner().invoke(lampit, ["audit", "reconcile", str(file), *words])
    found: list[dict[str, Any]] = json.loads(result.stdout)["gaps"]
    assert result.exit_code == (1 if found else 0), result.output
    return found


def test_the_published_figures() -> None:
    """Musi Rawas does not add up by one, Sarolangun has two figures; all other percentages follow from their counts."""
    found = json.loads(reconcile(PUBLISHED, "--json", exit_code=1).stdout)["gaps"]
    assert [(one["kind"], one["region"], one["said"], one["expected"], one["gap"]) for one in found] == [
        ("arithmetic", "16.05", 9822, 9823, -1),
        ("sources", "15.03", 66496, 57000, 9496),
    ]
    assert found[1]["expected_about"]
    shown = reconcile(PUBLISHED, exit_code=1).output
    assert "293,578 − 283,755 = 9,823" in shown
    assert "about 57,000" in shown


@pytest.mark.parametrize(
    ("row", "gap", "cut_off"),
    [
        ("ID,,x,200426767,194649012,,97.12", None, False),
        ("ID,,x,200426767,194649012,,97.11", -0.01, True),
        ("ID,,x,200426767,194649012,,97.2", 0.1, False),
        ("ID,,x,200426767,194649012,,97.1", None, False),
        ('ID,,x,200426767,194649012,,"97,12 %"', None, False),
        ("32.01,,x,3213248,3269003,,101.74", None, False),
        ("32.01,,x,3213248,3269003,,100", -2, False),
        ("16,,x,200,,101,49.5", None, False),
        ("16,,x,,99,101,49.6", 0.1, False),
        ("16,,x,800,1,,0.12", -0.01, True),
        ("16,,x,800,1,,0.13", None, False),
        ("16,,x,0,0,0,100", None, False),
        ("16,,x,~200,99,,12.34", None, False),
    ],
)  # fmt: skip
def test_percentages(tmp_path: Path, row: str, gap: float | None, cut_off: bool) -> None:
    found = gaps(tmp_path, row)
    assert [(one["kind"], one["gap"]) for one in found] == ([] if gap is None else [("percent", gap)])
    assert any("cut off" in one["note"] for one in found) is cut_off


@pytest.mark.parametrize(
    ("row", "gap"),
    [
        ("16,2019-03-28,x,100,90,10,", None),
        ("16,2019-03-28,x,100,90,11,", 1),
        ("16,2019-03-28,x,100,110,-10,", None),
        # half a unit of the last digit that is not zero
        ("16,2019-03-28,x,~57000,50000,7500,", None),
        ("16,2019-03-28,x,~57000,50000,7501,", 501),
    ],
)
def test_arithmetic(tmp_path: Path, row: str, gap: int | None) -> None:
    assert [one["gap"] for one in gaps(tmp_path, row)] == ([] if gap is None else [gap])


def test_sources_disagree_only_of_one_region_and_day(tmp_path: Path) -> None:
    found = gaps(
        tmp_path,
        "15.03,2018-10-08,a,100,,,",
        "15.03,2018-10-08,b,~100,,,",
        "15.03,2018-10-09,c,900,,,",
        "15.04,2018-10-08,d,900,,,",
        "15.03,,e,900,,,",
        "15.03,2018-10-08,f,151,,,",
    )
    assert [(one["lines"], one["gap"]) for one in found] == [([2, 7], -51), ([3, 7], -51)]


def test_against_what_the_events_say(tmp_path: Path) -> None:
    found = gaps(
        tmp_path,
        "16.05.02,2019-02-28,right,11,10,1,90.91",
        "16.05.02,2019-02-28,wrong,12,10,,90.9",
        "16.05.03,2019-02-28,wrong,1,,,5",
        "31,2019-02-28,elsewhere,5,,,",
        against=LEDGER,
    )
    ours = [(one["region"], one["measure"], one["gap"]) for one in found if one["kind"] == "ours"]
    assert ours == [("16.05.02", "wajib", 1), ("16.05.03", "percent", 5)]


def test_a_row_of_which_nothing_is_counted_is_said(tmp_path: Path) -> None:
    file = tmp_path / "references.csv"
    file.write_text(f"{HEADER}\n31,2019-02-28,x,5,,,\n", encoding="utf-8")
    said = reconcile(file, "--against", LEDGER, exit_code=0)
    assert "Line 2: nothing is counted for 31 on 2019-02-28." in said.stderr
    assert "everything adds up" in said.stdout


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("region,date,source\n", "has no column wajib, recorded, unrecorded, percent"),
        (f"{HEADER},note\n", "has a column too many: note"),
        ("", "has no column region"),
        (f"{HEADER}\n16.05,2019-03-28,x,1,1\n", "line 2: 5 cells instead of 7"),
        (f"{HEADER}\nMusi Rawas,2019-03-28,x,1,1,0,\n", "line 2: region is no code"),
        (f"{HEADER}\n16.05,28-03-2019,x,1,1,0,\n", "line 2: date is no day"),
        (f"{HEADER}\n16.05,2019-03-28,x,many,1,0,\n", "line 2: wajib is no number"),
        (f"{HEADER}\n16.05,2019-03-28,x,1,1,0,nearly all\n", "line 2: percent is no number"),
    ],
)
def test_a_wrong_file_is_said_in_a_sentence(tmp_path: Path, content: str, sentence: str) -> None:
    file = tmp_path / "references.csv"
    file.write_text(content, encoding="utf-8")
    assert sentence in reconcile(file, exit_code=2).output


def test_an_event_file_given_by_mistake_is_not_repeated(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.write_text(json.dumps({"data": {"nik": NIK, "nama": "Siti"}}) + "\n", encoding="utf-8")
    said = reconcile(file, exit_code=2).output
    assert "(not a word)" in said
    assert NIK not in said
    assert "Siti" not in said
