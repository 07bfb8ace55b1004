"""Figures from elsewhere: read from a CSV file, held against arithmetic, against each other and against counted figures.

In: references.csv (columns region, date, source, wajib, recorded, unrecorded, percent). Out: `Gap`s, each with its size. A
cell may be empty. `~57000` is "about 57,000": half a unit of its last digit that is not zero either way. Called by
`lampit audit reconcile`.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from itertools import combinations
from pathlib import Path
from typing import Any, Final, NamedTuple

from agents.errors import ConfigurationError
from stream.regions import REGION

COLUMNS: Final = ("region", "date", "source", "wajib", "recorded", "unrecorded", "percent")
COUNTS: Final = ("wajib", "recorded", "unrecorded")
OURS: Final = {"wajib": "obliged", "recorded": "recorded", "unrecorded": "unrecorded"}
"""Column → measure of the coverage record."""

_COUNT: Final = re.compile(r"(~?)(-?[0-9]{1,12})", re.ASCII)
_PERCENT: Final = re.compile(r"(~?)([0-9]{1,6}(?:[.,][0-9]{1,6})?) ?%?", re.ASCII)
_WORD: Final = re.compile(r"[A-Za-z][A-Za-z_ ]{0,30}", re.ASCII)
_HUNDREDTH: Final = Decimal("0.01")


class Value(NamedTuple):
    """A figure as published; slack is what "about" leaves open either way, 0 for an exact one."""

    number: Decimal
    slack: Decimal = Decimal(0)

    @property
    def text(self) -> str:
        """As it is shown: thousands apart, `about` where it is."""
        return f"{'about ' if self.slack else ''}{self.number:,}"

    def agrees(self, other: Value) -> bool:
        """Whether both can be one figure."""
        return abs(self.number - other.number) <= self.slack + other.slack


@dataclass(frozen=True)
class Reference:
    """One row; as_of None where the publication names no day."""

    line: int
    region: str
    as_of: date | None
    source: str
    values: Mapping[str, Value]


@dataclass(frozen=True)
class Gap:
    """What does not agree. kind: arithmetic, percent, sources or ours; gap: said less expected."""

    kind: str
    region: str
    as_of: date | None
    lines: tuple[int, ...]
    sources: tuple[str, ...]
    measure: str
    said: Value
    expected: Value
    note: str

    @property
    def gap(self) -> Decimal:
        """How far apart."""
        return self.said.number - self.expected.number


def read(path: Path) -> list[Reference]:
    """The rows; ConfigurationError names the first thing that is wrong with them."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file)
            header = [name.strip() for name in next(rows, [])]
            if sorted(header) != sorted(COLUMNS):
                raise ConfigurationError(_wrong_columns(path, header))
            return [
                _reference(path, rows.line_num, dict(zip(header, row, strict=False)), len(row))
                for row in rows
                if any(cell.strip() for cell in row)
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigurationError(f"{path} cannot be read ({type(error).__name__}): give a CSV file in UTF-8.") from None


def _wrong_columns(path: Path, header: list[str]) -> str:
    missing = [name for name in COLUMNS if name not in header]
    # Whatever file was given by mistake, nothing but a plain word of it is repeated.
    more = [name if _WORD.fullmatch(name) else "(not a word)" for name in header if name not in COLUMNS]
    said = [f"has no column {', '.join(missing)}"] if missing else []
    said += [f"has a column too many: {', '.join(more)}"] if more else []
    said = said or ["names a column twice"]
    return f"{path} {' and '.join(said)}; the columns are {', '.join(COLUMNS)}."


def _reference(path: Path, line: int, row: dict[str, str], cells: int) -> Reference:
    def wrong(what: str) -> ConfigurationError:
        return ConfigurationError(f"{path}, line {line}: {what}.")

    if cells != len(COLUMNS):
        raise wrong(f"{cells} cells instead of {len(COLUMNS)}")
    said = {name: cell.strip() for name, cell in row.items()}
    if not REGION.fullmatch(said["region"]):
        raise wrong("region is no code like ID, 16, 16.05, 16.05.02 or 16.05.02.2001")
    try:
        as_of = date.fromisoformat(said["date"]) if said["date"] else None
    except ValueError:
        raise wrong("date is no day written YYYY-MM-DD") from None
    values = {}
    for name in (*COUNTS, "percent"):
        if said[name]:
            value = _value(said[name], _PERCENT if name == "percent" else _COUNT)
            if value is None:
                raise wrong(f"{name} is no number like {'96.65' if name == 'percent' else '293578 or ~57000'}")
            values[name] = value
    return Reference(line, said["region"], as_of, said["source"], values)


def _value(text: str, form: re.Pattern[str]) -> Value | None:
    matched = form.fullmatch(text)
    if matched is None:
        return None
    number = Decimal(matched[2].replace(",", "."))
    if not matched[1]:
        return Value(number)
    shortest = number.normalize().as_tuple().exponent
    return Value(number, Decimal(5).scaleb(int(shortest) - 1))


def gaps(references: Iterable[Reference]) -> Iterator[Gap]:
    """What does not add up in a row, then what two sources say differently of one region and day."""
    listed = list(references)
    for reference in listed:
        yield from _arithmetic(reference)
        yield from _percentage(reference)
    for first, second in combinations(listed, 2):
        if first.as_of is not None and (first.region, first.as_of) == (second.region, second.as_of):
            yield from _disagreement(first, second)


def _arithmetic(reference: Reference) -> Iterator[Gap]:
    values = reference.values
    if all(name in values for name in COUNTS):
        left = Value(
            values["wajib"].number - values["recorded"].number, values["wajib"].slack + values["recorded"].slack
        )
        if not left.agrees(values["unrecorded"]):
            note = f"{values['wajib'].text} − {values['recorded'].text} = {left.text}"
            yield _gap("arithmetic", reference, "unrecorded", values["unrecorded"], left, note)


def _percentage(reference: Reference) -> Iterator[Gap]:
    said, counts = reference.values.get("percent"), _completed(reference.values)
    if said is None or said.slack or counts is None or not counts[1]:
        return
    exact = 100 * counts[0] / counts[1]
    digits = max(_HUNDREDTH, Decimal(1).scaleb(int(said.number.as_tuple().exponent)))
    expected = exact.quantize(digits, ROUND_HALF_UP)
    if said.number != expected:
        follows = said.number == exact.quantize(digits, ROUND_DOWN)
        note = f"{counts[0]:,} / {counts[1]:,} = {exact.quantize(Decimal('0.0001'))} %"
        note += ", cut off instead of rounded half up" if follows else ""
        yield _gap("percent", reference, "percent", said, Value(expected), note)


def _completed(values: Mapping[str, Value]) -> tuple[Decimal, Decimal] | None:
    """(recorded, wajib), one of them from the other two columns where it is not given; None unless exact."""
    exact = {name: values[name].number for name in COUNTS if name in values and not values[name].slack}
    if "recorded" not in exact and {"wajib", "unrecorded"} <= exact.keys():
        exact["recorded"] = exact["wajib"] - exact["unrecorded"]
    if "wajib" not in exact and {"recorded", "unrecorded"} <= exact.keys():
        exact["wajib"] = exact["recorded"] + exact["unrecorded"]
    return (exact["recorded"], exact["wajib"]) if {"recorded", "wajib"} <= exact.keys() else None


def _disagreement(first: Reference, second: Reference) -> Iterator[Gap]:
    for name in (*COUNTS, "percent"):
        one, other = first.values.get(name), second.values.get(name)
        if one is not None and other is not None and not one.agrees(other):
            yield Gap(
                "sources",
                first.region,
                first.as_of,
                (first.line, second.line),
                (first.source, second.source),
                name,
                one,
                other,
                f"{first.source}: {one.text}; {second.source}: {other.text}",
            )


def against(reference: Reference, record: Mapping[str, Any] | None) -> Iterator[Gap]:
    """What the counted figures of the region and day say differently; nothing where they are silent."""
    if record is None:
        return
    ours = {name: record[measure]["total"] for name, measure in OURS.items()}
    for name in COUNTS:
        said, counted = reference.values.get(name), ours[name]
        if said is not None and counted is not None and not said.agrees(Value(Decimal(counted))):
            yield _gap("ours", reference, name, said, Value(Decimal(counted)), f"counted: {counted:,}")
    said = reference.values.get("percent")
    if said is not None and record["coverage"] is not None:
        digits = max(_HUNDREDTH, Decimal(1).scaleb(int(said.number.as_tuple().exponent)))
        counted = (100 * Decimal(ours["recorded"]) / Decimal(ours["wajib"])).quantize(digits, ROUND_HALF_UP)
        if not said.agrees(Value(counted)):
            yield _gap("ours", reference, "percent", said, Value(counted), f"counted: {counted} %")


def _gap(kind: str, reference: Reference, measure: str, said: Value, expected: Value, note: str) -> Gap:
    return Gap(
        kind,
        reference.region,
        reference.as_of,
        (reference.line,),
        (reference.source,),
        measure,
        said,
        expected,
        note,
    )
