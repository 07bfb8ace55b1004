"""What `lampit audit explain` prints: a summary by kind, then the causes one by one.

In: an explanation. Out: tables, JSON or CSV on standard output. Called by `lampit.audit.explain`. A person is shown by the
ledger's id, an event by its source and id; nothing else of them is known here.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, Final

import click
import msgspec

from lampit import reference, tables
from lampit.audit.options import known_text, shown_instant
from stream.calendar import format_instant, iso_day
from stream.causes import KINDS
from stream.coverage import percent
from stream.events import Event, OpeningBalance, Placed
from stream.explanation import Cause, Explanation, Question
from stream.ledger_data import TYPES
from stream.opening_figures import Row
from stream.tally import MEASURES

SEXES: Final = ("M", "F", "unknown")
KEYS: Final = (*SEXES, "total")
TABLE_CAUSES_MAX: Final = 40
CSV_COLUMNS: Final = (
    "kind", "day", "subject", "source", "id", "type", "time", "occurred_on", "region", "measure", "sex", "change",
)  # fmt: skip
_OBLIGED: Final = MEASURES.index("obliged")
_RECORDED: Final = MEASURES.index("recorded")
_TOTAL: Final = KEYS.index("total")

Figures = tuple[Row, ...]


def signed(number: int | None) -> str:
    """A change with its sign; – where it is not known."""
    return tables.NOTHING if number is None else f"{number:+,}" if number else "0"


def postings(cause: Cause) -> tuple[tuple[str, str | None, int], ...]:
    """(measure, sex, change) of a cause; sex None where a balance gives a total alone."""
    return _postings(cause.rows())


@lru_cache(maxsize=4096)
def _postings(rows: tuple[Row, ...]) -> tuple[tuple[str, str | None, int], ...]:
    """The same of its rows; thousands of causes move the same."""
    return tuple(_unequal(rows))


def _unequal(rows: tuple[Row, ...]) -> Iterator[tuple[str, str | None, int]]:
    for measure, row in zip(MEASURES, rows, strict=True):
        parts = [value or 0 for value in row[:_TOTAL]]
        yield from ((measure, sex, value) for sex, value in zip(SEXES, parts, strict=True) if value)
        rest = (row[_TOTAL] or 0) - sum(parts)
        if rest:
            yield measure, None, rest


def show(
    form: str,
    question: Question,
    explanation: Explanation,
    figures: tuple[Figures, Figures] | None,
    limit: int | None,
) -> None:
    """Print in one of the three forms."""
    if form == "table":
        _tables(question, explanation, figures, TABLE_CAUSES_MAX if limit is None else limit)
        return
    causes = explanation.causes if limit is None else explanation.causes[:limit]
    if form == "csv":
        click.echo(_csv(causes), nl=False)
        return
    output = click.get_binary_stream("stdout")
    output.write(msgspec.json.encode(_json(question, explanation, figures, causes)) + b"\n")
    output.flush()


def _json(
    question: Question, explanation: Explanation, figures: tuple[Figures, Figures] | None, causes: Sequence[Cause]
) -> dict[str, Any]:
    states = ((question.begin, question.known_from), (question.end, question.known_to))
    begin, end = (
        {
            "as_of": iso_day(day),
            "known_at": shown_instant(known),
            "figures": None if figures is None else _by_measure(figures[index]),
        }
        for index, (day, known) in enumerate(states)
    )
    return {
        "region": question.region,
        "name": reference.load().name(question.region, question.end),
        "from": begin,
        "to": end,
        "difference": _by_measure(explanation.difference),
        "explained": _by_measure(explanation.explained()),
        "kinds": [
            {"kind": kind, "causes": number, **dict(zip((*MEASURES, "unrecorded"), changes, strict=True))}
            for kind, number, changes in summary(explanation.causes)
        ],
        "causes": [_cause(cause) for cause in causes],
        "causes_left_out": len(explanation.causes) - len(causes),
    }


def _by_measure(figures: Figures) -> dict[str, dict[str, int | None]]:
    return {measure: dict(zip(KEYS, row, strict=True)) for measure, row in zip(MEASURES, figures, strict=True)}


def _cause(cause: Cause) -> dict[str, Any]:
    return {
        "kind": cause.kind,
        "day": iso_day(cause.day),
        "subject": cause.subject,
        "event": None if cause.event is None else _event(cause.event),
        "postings": [{"measure": measure, "sex": sex, "change": change} for measure, sex, change in postings(cause)],
    }


def _event(event: Event | OpeningBalance) -> dict[str, Any]:
    return {
        "source": event.source,
        "id": event.id,
        "type": TYPES[type(event)],
        "time": format_instant(event.time),
        "occurred_on": iso_day(event.occurred_on),
        "region": event.region if isinstance(event, Placed | OpeningBalance) else None,
    }


def _csv(causes: Sequence[Cause]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for cause in causes:
        named = dict.fromkeys(CSV_COLUMNS[3:9]) if cause.event is None else _event(cause.event)
        for posting in postings(cause):
            writer.writerow([cause.kind, iso_day(cause.day), cause.subject, *named.values(), *posting])
    return text.getvalue()


def summary(causes: Sequence[Cause]) -> list[tuple[str, int, list[int]]]:
    """(kind, number of causes, changes of the totals by measure, of unrecorded last), in the order of KINDS."""
    found = []
    for kind in KINDS:
        of_kind = Counter(cause.rows() for cause in causes if cause.kind == kind)
        if of_kind:
            totals = [
                sum((rows[index][_TOTAL] or 0) * number for rows, number in of_kind.items())
                for index in range(len(MEASURES))
            ]
            found.append((kind, of_kind.total(), [*totals, totals[_OBLIGED] - totals[_RECORDED]]))
    return found


def _tables(question: Question, explanation: Explanation, figures: tuple[Figures, Figures] | None, limit: int) -> None:
    name = reference.load().name(question.region, question.end) or "a region that the reference does not know"
    whose = "what one person counts for in " if question.people_only else ""
    click.echo(f"Why {whose}{question.region} ({name}) changed")
    click.echo(f"  from the end of {iso_day(question.begin)}{known_text(question.known_from)}")
    click.echo(f"  to the end of {iso_day(question.end)}{known_text(question.known_to)}")
    click.echo()
    _figure_table(explanation, figures)
    click.echo()
    if not explanation.causes:
        click.echo("Nothing moved the figure.")
        return
    header = ("kind", "causes", *MEASURES, "unrecorded", "")
    rows = [
        (kind.replace("_", " "), f"{number:,}", *(signed(change) if change else "" for change in changes), KINDS[kind])
        for kind, number, changes in summary(explanation.causes)
    ]
    tables.print_table(header, rows, header[1:-1])
    click.echo()
    _cause_table(explanation.causes, limit)


def _figure_table(explanation: Explanation, figures: tuple[Figures, Figures] | None) -> None:
    begin, end = figures or (None, None)
    rows: list[tuple[str, ...]] = []
    explained = explanation.explained()
    for index, measure in enumerate(MEASURES):
        difference = explanation.difference[index][_TOTAL]
        told = None if difference is None else explained[index][_TOTAL]
        rows.append((measure, _total(begin, index), _total(end, index), signed(difference), signed(told)))
    rows.append(("coverage", _percent(begin), _percent(end), "", ""))
    if figures is None:
        rows = [(row[0], *row[3:]) for row in rows[:-1]]
        tables.print_table(("measure", "difference", "explained"), rows, ("difference", "explained"))
        return
    header = ("measure", "from", "to", "difference", "explained")
    tables.print_table(header, rows, header[1:])


def _total(figures: Figures | None, index: int) -> str:
    value = None if figures is None else figures[index][_TOTAL]
    return tables.NOTHING if value is None else f"{value:,}"


def _percent(figures: Figures | None) -> str:
    if figures is None:
        return tables.NOTHING
    value = percent(figures[_RECORDED][_TOTAL], figures[_OBLIGED][_TOTAL])
    return tables.NOTHING if value is None else f"{value} %"


def _cause_table(causes: Sequence[Cause], limit: int) -> None:
    header = ("day", "kind", "person", "event", "reported", "moved")
    rows = []
    for cause in causes[:limit]:
        event = cause.event
        rows.append(
            (
                iso_day(cause.day),
                cause.kind.replace("_", " "),
                cause.subject or tables.NOTHING,
                tables.NOTHING if event is None else f"{TYPES[type(event)][7:-3]} {event.source} {event.id}",
                tables.NOTHING if event is None else format_instant(event.time),
                ", ".join(_moved(cause)),
            )
        )
    if rows:
        tables.print_table(header, rows)
    if len(causes) > limit:
        click.echo(
            f"{len(causes) - limit:,} more causes: --limit {len(causes)} shows them, --json and --format csv all."
        )


def _moved(cause: Cause) -> Iterator[str]:
    """`obliged +1`; the sexes only where the total alone would hide them."""
    by_sex = postings(cause)
    totals: dict[str, int] = {}
    for measure, _, change in by_sex:
        totals[measure] = totals.get(measure, 0) + change
    for measure, total in totals.items():
        if total:
            yield f"{measure} {signed(total)}"
        else:
            yield from (f"{measure} of {sex} {signed(change)}" for name, sex, change in by_sex if name == measure)
