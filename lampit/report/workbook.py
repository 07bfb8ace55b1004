"""The report as a workbook, for the office's own tables: numbers are numbers, and print on one page across.

In: a `Report`. Out: an XLSX file. Called by `lampit.report`.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from openpyxl import Workbook
from openpyxl.styles import Alignment, Border, Font, Side
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.properties import PageSetupProperties
from openpyxl.worksheet.worksheet import Worksheet

from lampit.report.layout import COLUMNS, DELAYED, Report, columns, coverage_percent, lines, remainder
from lampit.tables import NOTHING

_BOLD: Final = Font(bold=True)
_TITLE: Final = Font(bold=True, size=14)
_RIGHT: Final = Alignment(horizontal="right")
_RULE: Final = Border(bottom=Side(style="thin"))
_COUNT: Final = "#,##0;-#,##0;0"
_PERCENT: Final = "0.00%"
_HEADS: Final = ("male", "female", "unknown", "total")
_STOCKS: Final = ("opening", "closing", "coverage")


def write(report: Report, path: Path) -> None:
    """Write the workbook: the region by sex, the regions below it, the delays, each on a sheet; OSError as it comes."""
    book = Workbook()
    sheet = book.active
    assert isinstance(sheet, Worksheet)
    _by_sex(sheet, report)
    if report.children:
        _regions(book.create_sheet("Regions"), report)
    if report.delays:
        _delays(book.create_sheet("Delays"), report)
    for one in book.worksheets:
        one.page_setup.orientation = "landscape"
        one.page_setup.paperSize = one.PAPERSIZE_A4
        one.page_setup.fitToWidth = 1
        one.page_setup.fitToHeight = 0
        one.sheet_properties.pageSetUpPr = PageSetupProperties(fitToPage=True)
    book.save(path)


def _head(sheet: Worksheet, report: Report, header: Sequence[str], left: int) -> int:
    """Title and header; the number of the header's row."""
    sheet["A1"], sheet["A2"] = report.title, report.subtitle
    sheet["A1"].font = _TITLE
    sheet.append([])
    sheet.append(list(header))
    number = sheet.max_row
    for column, cell in enumerate(sheet[number], 1):
        cell.font, cell.border = _BOLD, _RULE
        if column > left:
            cell.alignment = _RIGHT
    sheet.freeze_panes = f"{get_column_letter(left + 1)}{number + 1}"
    sheet.print_title_rows = f"{number}:{number}"
    return number


def _row(sheet: Worksheet, left: Sequence[str | None], figures: Sequence[Any], *, bold: bool) -> None:
    """A row of names and figures; what is not stated is a dash, which no sum takes for zero."""
    sheet.append([*left, *(NOTHING if figure is None else figure for figure in figures)])
    for column, cell in enumerate(sheet[sheet.max_row], 1):
        if bold:
            cell.font = _BOLD
        if column > len(left):
            cell.alignment = _RIGHT
            cell.number_format = _PERCENT if isinstance(cell.value, Decimal) else _COUNT


def _ratio(record: Any, by: str) -> Decimal | None:
    """The percentage as it is shown, so that the workbook rounds as every other table does."""
    shown = coverage_percent(record, by)
    return None if shown is None else Decimal(shown) / 100


def _by_sex(sheet: Worksheet, report: Report) -> None:
    sheet.title = report.record["period"]
    _head(sheet, report, ("", "", *_HEADS), left=2)
    for group in lines(report.record, report.by):
        for line in group:
            _row(sheet, (line.mark, line.label), line.figures, bold=line.item in _STOCKS)
        sheet.append([None])
    _row(sheet, ("", "Coverage"), ("", "", "", _ratio(report.record, report.by)), bold=True)
    _widths(sheet, (4, 36, 13, 13, 13, 13))


def _regions(sheet: Worksheet, report: Report) -> None:
    _head(sheet, report, (*COLUMNS, "coverage"), left=2)
    for record in report.children:
        row = columns(record, report.by)
        _row(sheet, row[:2], [*row[2:], _ratio(record, report.by)], bold=False)
    left = remainder(report)
    if left is not None:
        _row(sheet, left[:2], [*left[2:], ""], bold=False)
    row = columns(report.record, report.by)
    _row(sheet, row[:2], [*row[2:], _ratio(report.record, report.by)], bold=True)
    _widths(sheet, (15, 38, *(12,) * (len(COLUMNS) - 1)))


def _delays(sheet: Worksheet, report: Report) -> None:
    _head(sheet, report, ("Days from event to registration", "flows", "median", "90 %"), left=1)
    for kind, delay in (report.delays or {}).items():
        _row(sheet, (DELAYED[kind],), tuple(delay), bold=False)
    _widths(sheet, (34, 12, 12, 12))


def _widths(sheet: Worksheet, widths: Sequence[int]) -> None:
    for number, width in enumerate(widths, 1):
        sheet.column_dimensions[get_column_letter(number)].width = width
