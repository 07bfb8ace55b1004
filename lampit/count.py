"""`lampit count`: the figures of a day from event files, without Kafka and without a store.

In: event files, a day, the settings that change figures. Out: coverage records, rejects and anomalies as JSON
(contract.md section 4), or a table. Admission and counting are those of the agents (stream/), or with `--engine sql` the
audit's second implementation. Nothing here decides what counts.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final, Literal

import click
import msgspec

from agents.settings import Settings, load_settings
from lampit import reference, tables
from lampit.cli import EXIT_PROBLEM
from lampit.collecting import no_collection
from lampit.files import EventFile, bytes_of, in_unicode, open_all
from lampit.words import Day, region_code
from stream.admission import Admitted, admit
from stream.engine import Engine
from stream.events import OpeningBalance, PersonEvent
from stream.pseudonym import Pseudonymiser
from stream.regions import LEVELS, within
from stream.rules import Rules

Take = Callable[[str | None, PersonEvent | OpeningBalance], None]


class Rejected(msgspec.Struct, frozen=True, gc=False):
    """A line that is no event."""

    file: str
    line: int
    reason: str
    message: str


@dataclass
class Outcome:
    """What `lampit count` prints, in the order of the contract; hierarchy_of only where it was asked for."""

    as_of: str
    hierarchy_of: str | msgspec.UnsetType = msgspec.UNSET
    regions: list[dict[str, Any]] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    anomalies: list[dict[str, Any]] = field(default_factory=list)


def pseudonymiser(settings: Settings) -> tuple[Pseudonymiser, bool]:
    """By the key of the settings, else by a random one; and whether it is the settings'."""
    if settings.pseudonym_key is None and settings.pseudonym_key_file is None:
        return Pseudonymiser(secrets.token_bytes(32)), False
    return Pseudonymiser(*settings.pseudonym_keys()), True


def read_events(files: list[EventFile], pseudonymise: Pseudonymiser, take: Take) -> list[Rejected]:
    """Hand every accepted event to `take`; the lines that are none."""
    rejected: list[Rejected] = []
    read = done = 0
    with tables.progress("Reading", bytes_of(files), "lines") as progress:
        for file in files:
            name = in_unicode(file.path)
            for first, lines in file.batches():
                for number, line in enumerate(lines, first):
                    admitted = admit(line, pseudonymise)
                    if isinstance(admitted, Admitted):
                        take(admitted.subject, admitted.event)
                    elif not line.isspace() and line:
                        rejected.append(Rejected(name, number, admitted.reason.value, admitted.message))
                done += len(lines)
                progress(read + file.bytes_read, done)
            read += file.bytes_read
    return rejected


def count_python(
    files: list[EventFile], pseudonymise: Pseudonymiser, rules: Rules, as_of: date, hierarchy_of: date | None = None
) -> Outcome:
    """By the engine of the agents."""
    with no_collection():
        engine = Engine(rules, reference.load())
        rejected = read_events(files, pseudonymise, engine.add)
        counted = engine.count(as_of, hierarchy_of)
    anomalies = [
        {"subject": one.subject, "event": {"source": one.source, "id": one.id}, "kind": one.kind}
        for one in counted.anomalies
    ]
    return Outcome(as_of.isoformat(), _asked(hierarchy_of), counted.regions, rejected, anomalies)


def count_sql(
    files: list[EventFile], pseudonymise: Pseudonymiser, rules: Rules, as_of: date, hierarchy_of: date | None = None
) -> Outcome:
    """By the audit's SQL, over the same accepted events as ledger records."""
    from lampit.audit.sql_count import CountSettings, sql_count
    from stream.ledger import encode_record

    records: list[tuple[str | None, bytes]] = []

    def take(subject: str | None, event: PersonEvent | OpeningBalance) -> None:
        # When they were accepted plays no part in a count.
        records.append((subject, encode_record(subject, event, 0)))

    with no_collection():
        rejected = read_events(files, pseudonymise, take)
    counted = sql_count(
        records,
        as_of=as_of,
        hierarchy_of=hierarchy_of,
        regions=reference.DATA / "regions",
        region_changes=reference.DATA / "region_changes.csv",
        settings=CountSettings(rules.transit_expiry_days, rules.leap_birthday, rules.stale_after_days),
    )
    return Outcome(as_of.isoformat(), _asked(hierarchy_of), counted.regions, rejected, counted.anomalies)


def _asked(hierarchy_of: date | None) -> str | msgspec.UnsetType:
    return msgspec.UNSET if hierarchy_of is None else hierarchy_of.isoformat()


ENGINES: Final = {"python": count_python, "sql": count_sql}


def select(records: list[dict[str, Any]], region: str | None, level: str | None) -> list[dict[str, Any]]:
    """The records of a region and what lies in it, of one level."""
    return [
        record
        for record in records
        if (region is None or within(record["region"], region)) and (level is None or record["level"] == level)
    ]


def notice_nobody(records: Collection[object], region: str | None) -> None:
    """Say on standard error that a region has no figures, which is mostly a code mistyped."""
    if region is not None and not records:
        tables.notice(f"No event and no balance names {region} or a place in it: check the code.")


def _print(outcome: Outcome, as_json: bool, keyed: bool) -> None:
    if as_json:
        output = click.get_binary_stream("stdout")
        output.write(msgspec.json.encode(outcome) + b"\n")
        output.flush()
    else:
        under = f", by the region codes of {outcome.hierarchy_of}" if outcome.hierarchy_of else ""
        click.echo(f"Coverage at the end of {outcome.as_of}{under}")
        tables.print_coverage(outcome.regions)
        kinds = Counter(anomaly["kind"] for anomaly in outcome.anomalies)
        tables.print_summary("Anomalies, events without the expected effect (--json lists them)", kinds)
    if as_json and outcome.anomalies and not keyed:
        tables.notice(
            "No pseudonym key is set, so the subjects of the anomalies are of a key made for this run; "
            "the figures do not depend on it."
        )
    print_rejected(outcome.rejected)


def print_rejected(rejects: list[Rejected]) -> None:
    """How many lines were no events, by reason, with the first of each; on standard error."""
    first: dict[str, Rejected] = {}
    for rejected in rejects:
        first.setdefault(rejected.reason, rejected)
    reasons = Counter(rejected.reason for rejected in rejects)
    shown = {reason: f"{reason}, first in {one.file}, line {one.line}" for reason, one in first.items()}
    tables.print_summary("Rejected lines", Counter({shown[reason]: count for reason, count in reasons.items()}))


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--as-of", type=Day(), required=True, help="The day; figures are those at its end.")
@click.option(
    "--hierarchy-of",
    type=Day(),
    help="Figures of --as-of under the region codes and hierarchy of this day; default: those of --as-of itself.",
)
@click.option("--level", type=click.Choice(LEVELS), help="Only regions of this level.")
@click.option("--region", callback=region_code, metavar="CODE", help="Only this region and what lies in it.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.option("--strict", is_flag=True, help="Exit with 1 when a line was rejected.")
@click.option(
    "--transit-expiry-days",
    type=click.IntRange(1, 36_500),
    help="Days in transit after which a person counts at the old home again; default: the setting, which is never.",
)
@click.option(
    "--leap-birthday",
    type=click.Choice(["mar1", "feb28"]),
    help="When someone born on 29 February turns 17 in a common year; default: the setting, which is mar1.",
)
@click.option(
    "--engine",
    type=click.Choice(list(ENGINES)),
    default="python",
    show_default=True,
    help="What counts: the engine of the agents, or the audit's SQL. Both give the same figures.",
)
def command(
    files: tuple[str, ...],
    as_of: date,
    hierarchy_of: date | None,
    level: str | None,
    region: str | None,
    as_json: bool,
    strict: bool,
    transit_expiry_days: int | None,
    leap_birthday: Literal["mar1", "feb28"] | None,
    engine: str,
) -> None:
    """Count event files: the figures of every region at the end of a day, without Kafka.

    FILE holds one event a line, plain or compressed by gzip or zstd; - is standard input. Files may repeat each other,
    and their order does not matter. A day in the future is a projection: birthdays run, nobody moves or dies.

    \b
    Examples:
      lampit count events.jsonl --as-of 2019-03-28
      lampit count 2018.jsonl.gz 2019.jsonl.zst --as-of 2019-03-28 --region 16.05 --json
      zcat *.gz | lampit count - --as-of 2019-04-17 --level regency
      lampit count events.jsonl --as-of 2020-12-31 --hierarchy-of 2025-12-31 --level province
    """
    settings = load_settings()
    rules = Rules(transit_expiry_days or settings.transit_expiry_days, leap_birthday or settings.leap_birthday)
    pseudonymise, keyed = pseudonymiser(settings)
    outcome = ENGINES[engine](open_all(files), pseudonymise, rules, as_of, hierarchy_of)
    within_region = select(outcome.regions, region, None)
    outcome.regions = select(within_region, None, level)
    _print(outcome, as_json, keyed)
    notice_nobody(within_region, region)
    if strict and outcome.rejected:
        raise click.exceptions.Exit(EXIT_PROBLEM)


__all__ = ["Outcome", "command", "count_python", "count_sql", "read_events"]
