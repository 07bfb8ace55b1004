"""SQL conditions on the columns of events: what places somebody in a region, what turns between two states.

In: a region or a question. Out: SQL for DuckDB, over columns type, occurred_on, region, receivedat and `extra`, a text that
holds the days of the person data, each behind a quotation mark. Called by the sources of the audit. The conditions are
generous: an event too many costs time, one too few a wrong answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import Final

from lampit import reference
from stream.explanation import Question
from stream.regions import COUNTRY, TRANSIT, within
from stream.rules import Rules

MONTHS_MAX: Final = 1_200
"""Looked for by their names. Of more, looking at everything is quicker: the condition alone would take gigabytes."""


def text(value: str | Path) -> str:
    """A text of SQL."""
    return "'" + str(value).replace("'", "''") + "'"


@cache
def codes_of(region: str) -> tuple[str, ...]:
    """The region's code, and those outside it by which places are named that lay, lie or will lie in it on some day."""
    places = reference.load().places
    eras = range(len(places.days) + 1)
    others = (
        code
        for code in places.codes()
        if not within(code, region)
        # While it is in force a place lies at its code.
        and any(
            within(places.code_in(place.column, era), region)
            for place in places.changed(code)
            for era in eras
            if not place.in_force(era)
        )
    )
    return (region, *sorted(others))


def is_redrawn(region: str, begin: int, end: int) -> bool:
    """Whether a decree between two days brings a place into the region, or takes one out of it, with all who live there."""
    places = reference.load().places
    eras = range(places.era(begin), places.era(end) + 1)
    changed = (place for code in places.codes() for place in places.changed(code)) if len(eras) > 1 else ()
    return any(len({within(places.code_in(place.column, era), region) for era in eras}) > 1 for place in changed)


def here(region: str) -> str:
    """SQL: an event that can place somebody in the region."""
    if region == COUNTRY:
        return "true"
    if region == TRANSIT:
        return "type = 'lampit.move_out.v1'"
    _, *others = codes_of(region)
    inside = f"region = {text(region)} OR starts_with(region, {text(region + '.')})"
    named = text(f'"origin":"{region}')
    origins = [f"contains(extra, {named})"]
    if others:
        listed = ", ".join(map(text, others))
        inside += f" OR region IN ({listed})"
        origins.append(f"""regexp_extract(extra, '"origin":"([0-9.]+)"', 1) IN ({listed})""")
    return f"({inside} OR (type = 'lampit.move_in.v1' AND ({' OR '.join(origins)})))"


def turns(question: Question, rules: Rules | None) -> str:
    """SQL: an event by which somebody may count otherwise in the second state than in the first."""
    found = ["false"]
    if question.begin < question.end:
        first, last = date.fromordinal(question.begin + 1), date.fromordinal(question.end)
        found.append(f"occurred_on BETWEEN DATE '{first}' AND DATE '{last}'")
        born = (_days_before(_years_before(first, 17), 2), _years_before(last, 17) + timedelta(days=1))
        found.append(f"occurred_on BETWEEN DATE '{born[0]}' AND DATE '{born[1]}' AND type = 'lampit.birth.v1'")
        found += [_says(*born), _says(_days_before(first, 1), last)]
        if rules is not None and rules.transit_expiry_days is not None:
            left = [_days_before(day, rules.transit_expiry_days) for day in (first, last)]
            found.append(f"occurred_on BETWEEN DATE '{left[0]}' AND DATE '{left[1]}' AND type = 'lampit.move_out.v1'")
    if question.known_from is not None:
        found.append(f"receivedat > make_timestamp({question.known_from})")
    return " OR ".join(f"({one})" for one in found)


def _says(first: date, last: date) -> str:
    """SQL: the person data may name a day of these months; most events name no day of the years, which is soon seen."""
    months = sorted(_months(first, last))
    if len(months) > MONTHS_MAX:
        return "true"
    years = " OR ".join(f"contains(extra, {text(chr(34) + year)})" for year in sorted({month[:5] for month in months}))
    return f"({years}) AND (" + " OR ".join(f"contains(extra, {text(chr(34) + month)})" for month in months) + ")"


def _days_before(day: date, days: int) -> date:
    return date.fromordinal(max(day.toordinal() - days, 1))


def _years_before(day: date, years: int) -> date:
    """The same day of an earlier year; of 29 February the 28th."""
    return day.replace(year=max(day.year - years, 1), day=min(day.day, 28) if day.month == 2 else day.day)


def _months(first: date, last: date) -> Iterator[str]:
    """Every month from one day to another as 2019-03."""
    year, month = first.year, first.month
    while (year, month) <= (last.year, last.month):
        yield f"{year:04}-{month:02}"
        year, month = (year + 1, 1) if month == 12 else (year, month + 1)
