"""The counters that scenarios are held against: the core, and the SQL recount.

In: events as producers send them. Out: coverage records by region, the anomalies, the number of rejects; closing records.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from lampit import reference
from lampit.audit.sql_closings import sql_closings, sql_delays
from lampit.audit.sql_count import CountSettings, sql_counts
from lampit.audit.sql_regions import Machine
from stream.admission import Admitted, admit
from stream.delay import delays
from stream.engine import Engine
from stream.ledger import encode_record
from stream.periods import Periods
from stream.pseudonym import Pseudonymiser
from stream.regions import lineage
from stream.rules import Rules

KEY = b"a key that only the tests use, 32 bytes or more"

ONE_THREAD = Machine(threads=1)
"""The tests run on every core already, and a story is a handful of events."""

_NOBODY = dict.fromkeys(("M", "F", "unknown", "total"), 0)

Json = dict[str, Any]


@dataclass(frozen=True)
class Count:
    """What a counter says of one day."""

    regions: dict[str, Json]
    anomalies: list[tuple[str, str, str]]
    rejected: int


Day = date | tuple[date, date]
"""The day of the figures; or that and the day whose region codes they are given in."""

Counter = Callable[[Sequence[Json], Rules, Sequence[Day]], list[Count]]


def accept(events: Iterable[Json], key: bytes = KEY) -> tuple[list[Admitted], int]:
    """The accepted events and the number of rejects."""
    pseudonymise = Pseudonymiser(key)
    outcomes = [admit(json.dumps(event).encode(), pseudonymise) for event in events]
    accepted = [outcome for outcome in outcomes if isinstance(outcome, Admitted)]
    return accepted, len(outcomes) - len(accepted)


def by_core(events: Sequence[Json], rules: Rules, days: Sequence[Day], key: bytes = KEY) -> list[Count]:
    """By `stream.engine`."""
    accepted, rejected = accept(events, key)
    engine = Engine(rules, reference.load())
    for admitted in accepted:
        engine.add(admitted.subject, admitted.event)
    counts = []
    for day in days:
        counted = engine.count(*day) if isinstance(day, tuple) else engine.count(day)
        anomalies = sorted((one.source, one.id, one.kind) for one in counted.anomalies)
        counts.append(Count({record["region"]: record for record in counted.regions}, anomalies, rejected))
    return counts


def by_sql(events: Sequence[Json], rules: Rules, days: Sequence[Day], *, plain_apart: bool = True) -> list[Count]:
    """By `lampit/audit/count.sql`; of people whose life is plain by its short way, or like all others."""
    accepted, rejected = accept(events)
    records = [(one.subject, encode_record(one.subject, one.event, 0)) for one in accepted]
    found = sql_counts(
        records,
        days=[day if isinstance(day, tuple) else (day, day) for day in days],
        regions=reference.DATA / "regions",
        region_changes=reference.DATA / "region_changes.csv",
        settings=CountSettings(transit_expiry_days=rules.transit_expiry_days, leap_birthday=rules.leap_birthday),
        machine=ONE_THREAD,
        plain_apart=plain_apart,
    )
    counts = []
    for counted in found:
        anomalies = sorted((one["event"]["source"], one["event"]["id"], one["kind"]) for one in counted.anomalies)
        counts.append(Count({record["region"]: record for record in counted.regions}, anomalies, rejected))
    return counts


def closings_by_core(events: Sequence[Json], rules: Rules, period: str, first_period: str) -> dict[str, Json]:
    """The closing records of a period, by region, of `stream.engine`; what came before `first_period` is in its opening."""
    engine = Engine(rules, reference.load())
    for admitted in accept(events)[0]:
        engine.add(admitted.subject, admitted.event)
    found = engine.closings(Periods.since(first_period, rules.closing_day), [period])[period]
    return {record["region"]: record for record in found}


def closings_by_sql(events: Sequence[Json], rules: Rules, period: str) -> dict[str, Json]:
    """The closing records of a period, by region, of lampit/audit/closings.sql."""
    found = sql_closings(
        [(one.subject, encode_record(one.subject, one.event, 0)) for one in accept(events)[0]],
        period=period,
        closing_day=rules.closing_day,
        regions=reference.DATA / "regions",
        region_changes=reference.DATA / "region_changes.csv",
        settings=CountSettings(transit_expiry_days=rules.transit_expiry_days, leap_birthday=rules.leap_birthday),
        machine=ONE_THREAD,
    )
    return {record["region"]: record for record in found}


def delays_by_core(events: Sequence[Json], rules: Rules, first: date, last: date) -> dict[tuple[str, str, str], Json]:
    """How late the flows of these days were reported, by (region, dating, kind), of `stream.delay`; regions with flows."""
    engine, places = Engine(rules, reference.load()), reference.load().places
    for admitted in accept(events)[0]:
        engine.add(admitted.subject, admitted.event)
    flows, (begin, end) = list(engine.flows()), (first.toordinal(), last.toordinal())
    regions = {region for flow in flows for region in lineage(places.code(flow.place, end))}
    return {
        (region, dating, kind): dict(delay._asdict())
        for region in regions
        for dating in ("event", "report")
        for kind, delay in delays(flows, region, begin, end, places, by_report=dating == "report").items()
    }


def delays_by_sql(events: Sequence[Json], rules: Rules, first: date, last: date) -> dict[tuple[str, str, str], Json]:
    """The same by lampit/audit/delays.sql."""
    found = sql_delays(
        [(one.subject, encode_record(one.subject, one.event, 0)) for one in accept(events)[0]],
        first_day=first,
        last_day=last,
        regions=reference.DATA / "regions",
        region_changes=reference.DATA / "region_changes.csv",
        settings=CountSettings(transit_expiry_days=rules.transit_expiry_days, leap_birthday=rules.leap_birthday),
        machine=ONE_THREAD,
    )
    names = ("flows", "median_days", "ninetieth_days")
    return {(row["region"], row["dating"], row["kind"]): {name: row[name] for name in names} for row in found}


def closing_disagreements(first: dict[str, Json], second: dict[str, Json]) -> list[str]:
    """One line a difference of two closings; a region that only one closes has nobody and no flows."""
    found = []
    for region in sorted(first.keys() | second.keys()):
        one, other = first.get(region), second.get(region)
        for dating in ("by_event_date", "by_report_date"):
            for part in ("opening", "flows", "closing"):
                months = [record[dating][part] if record else {} for record in (one, other)]
                for name in sorted(months[0] | months[1]):
                    left, right = (month.get(name, _NOBODY) for month in months)
                    if left != right:
                        found.append(f"{region} {dating} {part} {name}: {left} / {right}")
        if one and other:
            names = ("level", "name", "period", "opened_on", "closed_on", "basis", "stale_denominator")
            found += [f"{region} {name}: {one[name]} / {other[name]}" for name in names if one[name] != other[name]]
            for dating in ("by_event_date", "by_report_date"):
                if one[dating]["coverage"] != other[dating]["coverage"]:
                    found.append(f"{region} {dating} coverage: {one[dating]['coverage']} / {other[dating]['coverage']}")
    return found


def disagreements(first: Count, second: Count) -> list[str]:
    """One line a difference of two counters; a region that only one names counts as nobody there."""
    found = []
    for region in sorted(first.regions.keys() | second.regions.keys()):
        one, other = first.regions.get(region), second.regions.get(region)
        for name in ("population", "obliged", "recorded", "recorded_early", "print_ready", "issued", "unrecorded"):
            left, right = (record[name] if record else _NOBODY for record in (one, other))
            if left != right:
                found.append(f"{region} {name}: {left} / {right}")
        if one and other:
            names = ("level", "name", "as_of", "coverage", "opening", "stale_denominator")
            found += [f"{region} {name}: {one[name]} / {other[name]}" for name in names if one[name] != other[name]]
    if first.anomalies != second.anomalies:
        found.append(f"anomalies: {first.anomalies} / {second.anomalies}")
    return found
