"""The monthly closing of every region: opening, flows, closing, by event date and by report date (contract.md section 3).

In: figures at the two cut-offs of a period, made by `figures` as those of coverage are, and the flows between them. Out:
closing records, plain dictionaries in the order of `schemas/closing.py`, each of them checked: one that does not add up
raises `IdentityError`. In steps, since a whole country takes seconds and the roll-up has other work beside. Called by the
roll-up at the turn of the business day, the counting engine and `lampit report`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from datetime import date
from typing import Any, Final, NamedTuple

from stream.coverage import ratio
from stream.flow_tally import FLOWS, rows
from stream.opening_figures import Row
from stream.periods import Period
from stream.places import Places
from stream.reference import Reference
from stream.regions import TRANSIT, level, lineage
from stream.rollup import Figure, Partial, Rollup
from stream.tally import MEASURES

BY_EVENT_DATE: Final = "by_event_date"
BY_REPORT_DATE: Final = "by_report_date"
DATINGS: Final = (BY_EVENT_DATE, BY_REPORT_DATE)
KEYS: Final = ("M", "F", "unknown", "total")
CORRECTIONS: Final = "corrections"

_NOBODY: Final = Figure(((0, 0, 0, 0),) * len(MEASURES), "register", False)
_POPULATION, _OBLIGED, _RECORDED = map(MEASURES.index, ("population", "obliged", "recorded"))
_SIGNS: Final = {"births": 1, "deaths": -1, "moved_in": 1, "moved_out": -1, CORRECTIONS: 1}
_CONTENT: Final = ("name", "opened_on", "closed_on", *DATINGS, "basis", "stale_denominator")

Figures = Mapping[str, Figure]
"""Figures by region code."""

Json = dict[str, Any]


class IdentityError(Exception):
    """A closing that is not its opening and its flows: the engine is wrong, and what it would publish is not to be trusted."""


class Dating(NamedTuple):
    """One dating of a period: the figures at its two cut-offs, and each place's own flows between them.

    The closing has every region that is to be closed; of one that is not in the opening nobody was there. A region's flows are
    its own and those of everything below it.
    """

    opening: Figures
    closing: Figures
    flows: Mapping[str, int]


def figures(
    parts: Iterable[tuple[int, str, Partial]],
    day: int,
    stale_after_days: int,
    places: Places,
    codes_of: int,
    regions: Iterable[str] = (),
) -> Generator[None, None, dict[str, Figure]]:
    """The figures of all regions at the end of a cut-off day, from (partition, place, absolute part), as coverage has them.

    In a step for each part and each region.

    codes_of: the last day of the period, whose codes both of its cut-offs are given in (docs/decisions/0007, reading 10).
    regions: other places that are to be there, whoever lives there.
    """
    rollup = Rollup(stale_after_days, places, codes_of)
    for region in (TRANSIT, *regions):
        rollup.apply(0, region, Partial())
    found = dict(rollup.take_changed(day))  # from now on each part is added under its code in the step that brings it
    for partition, region, part in parts:
        rollup.apply(partition, region, part)
        yield
    for region, figure in rollup.each_changed(day):
        found[region] = figure
        yield
    return found


def roll_up(own: Mapping[str, int], places: Places, codes_of: int) -> Generator[None, None, dict[str, int]]:
    """Flows of every region by the codes of a day, from those of each place alone; a step for each place."""
    summed: dict[str, int] = {}
    for place, tally in own.items():
        for code in lineage(places.code(place, codes_of)):
            summed[code] = summed.get(code, 0) + tally
        yield
    return summed


def close(
    period: Period,
    by_event: Dating,
    by_report: Dating,
    reference: Reference,
    known_day: int | None = None,
    regions: Iterable[str] | None = None,
) -> Iterator[Json | None]:
    """The closing records of a period, sorted by region code: of every region in the closings, or of those named.

    They are of revision 0, without epoch and position; `revised` makes the later ones. None for a step without a record.
    Raises IdentityError.
    """
    datings = dict(zip(DATINGS, (by_event, by_report), strict=True))
    flows = {}
    for name, dating in datings.items():
        flows[name] = yield from roll_up(dating.flows, reference.places, period.closed_on)
    everything = by_event.closing.keys() | by_report.closing.keys() | set().union(*flows.values())
    for region in sorted(everything if regions is None else regions):
        blocks = {
            name: _block(dating.opening.get(region, _NOBODY), dating.closing[region], flows[name].get(region, 0))
            for name, dating in datings.items()
        }
        figure = by_event.closing[region]
        record = {
            "region": region,
            "level": level(region),
            "name": reference.name(region, period.closed_on),
            "period": period.name,
            "opened_on": date.fromordinal(period.opened_on).isoformat(),
            "closed_on": date.fromordinal(period.closed_on).isoformat(),
            **({} if known_day is None else {"known_day": date.fromordinal(known_day).isoformat()}),
            "revision": 0,
            **blocks,
            "basis": figure.opening,
            "stale_denominator": figure.stale_denominator,
            "difference": None,
        }
        check(record)
        yield record


def _block(opening: Figure, closing: Figure, flow_tally: int) -> Json:
    flows = {name: _by_key(row) for name, row in zip(FLOWS, rows(flow_tally), strict=True)}
    change = _minus(closing.counts[_POPULATION], opening.counts[_POPULATION])
    flows[CORRECTIONS] = {
        key: None
        if moved is None
        else moved - sum(sign * flows[name][key] for name, sign in _SIGNS.items() if name != CORRECTIONS)
        for key, moved in zip(KEYS, change, strict=True)
    }
    obliged, recorded = closing.counts[_OBLIGED][3], closing.counts[_RECORDED][3]
    return {
        "opening": _stock(opening),
        "flows": flows,
        "closing": _stock(closing),
        "coverage": None if closing.opening == "parent" else ratio(recorded, obliged),
    }


def _stock(figure: Figure) -> Json:
    stock = {measure: _by_key(row) for measure, row in zip(MEASURES, figure.counts, strict=True)}
    stock["unrecorded"] = _by_key(_minus(figure.counts[_OBLIGED], figure.counts[_RECORDED]))
    return stock


def _by_key(row: Row) -> Json:
    return dict(zip(KEYS, row, strict=True))


def _minus(first: Row, second: Row) -> Row:
    male, female, unknown, total = (
        None if one is None or other is None else one - other for one, other in zip(first, second, strict=True)
    )
    return (male, female, unknown, total)


def check(record: Mapping[str, Any]) -> None:
    """closing = opening + births − deaths + moved_in − moved_out + corrections, by sex and in total, in both datings.

    Also that the sexes of each flow add up to its total. A figure that is not stated is not checked. Raises IdentityError,
    naming region and period.
    """
    for dating in DATINGS:
        block = record[dating]
        for key in KEYS:
            opening, closing = (block[stock]["population"][key] for stock in ("opening", "closing"))
            corrections = block["flows"][CORRECTIONS][key]
            if (corrections is None) != (opening is None or closing is None):
                raise _error(record, dating, f"corrections of {key} are stated otherwise than the population")
            if corrections is not None:
                moved = sum(sign * block["flows"][name][key] for name, sign in _SIGNS.items())
                if closing != opening + moved:
                    raise _error(
                        record, dating, f"{key} closes at {closing}, {opening} and {moved} were to be added up"
                    )
        for name in FLOWS:
            flow = block["flows"][name]
            if flow["M"] + flow["F"] + flow["unknown"] != flow["total"]:
                raise _error(record, dating, f"the sexes of {name} do not add up to the total")


def _error(record: Mapping[str, Any], dating: str, what: str) -> IdentityError:
    return IdentityError(f"The closing of {record['region']} in {record['period']} {dating}: {what}.")


def content(record: Mapping[str, Any]) -> Json:
    """What a closing says of its region: all but when it was known, and how it came about."""
    return {name: record[name] for name in _CONTENT}


def revised(record: Json, previous: Mapping[str, Any] | None) -> Json | None:
    """The record as it is to be published after the latest one of its region and period; None when that says the same.

    previous: the latest record published; None: this is the first, of revision 0.
    """
    if previous is None:
        return record
    if content(record) == content(previous):
        return None
    difference = {
        dating: {part: _less(record[dating][part], previous[dating][part]) for part in ("opening", "flows", "closing")}
        for dating in DATINGS
    }
    return {**record, "revision": previous["revision"] + 1, "difference": difference}


def _less(new: Mapping[str, Json], old: Mapping[str, Json]) -> Json:
    return {name: _each(new[name], old[name], _subtract) for name in new}


def _each(new: Json, old: Json, what: Callable[[int | None, int | None], int | None]) -> Json:
    return {key: what(new[key], old[key]) for key in new}


def _subtract(new: int | None, old: int | None) -> int | None:
    return None if new is None or old is None else new - old
