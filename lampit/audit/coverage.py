"""`lampit audit coverage`: the figures of a day, as known now or as known at an instant.

In: an archive, ledger records or event files; two times, the day and the instant. Out: a table, CSV, Parquet or JSON. What
counts is the audit's SQL count, or the engine of the agents; nothing is counted here.
"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal

import click
import msgspec

from agents.errors import ConfigurationError
from lampit import reference, tables
from lampit.audit.options import Instant, Memory, known_text, shown_instant, with_rules
from lampit.audit.sources import Source, notice_rejected, open_source
from lampit.count import notice_nobody, select
from lampit.words import Day, region_code
from stream.regions import LEVELS
from stream.rules import Rules
from stream.tally import MEASURES

_SEXES: Final = ("M", "F", "unknown", "total")
COLUMNS: Final = (
    "region", "level", "name", "as_of", "known_at",
    *(f"{measure}_{sex}" for measure in (*MEASURES, "unrecorded") for sex in _SEXES),
    "coverage", "opening", "stale_denominator",
)  # fmt: skip
"""The columns of CSV and Parquet: every number of a coverage record."""


def by_sql(
    source: Source,
    as_of: date,
    known_at: int | None,
    rules: Rules,
    region: str | None,
    memory_limit: str | None = None,
) -> list[dict[str, Any]]:
    """The coverage records of the audit's second count; of a region and what lies in it, all else being left unread."""
    import duckdb

    from lampit.audit.sql_count import CountSettings, sql_count
    from lampit.audit.sql_regions import Machine

    records = source.records(known_at, region)
    try:
        counted = sql_count(
            records,
            as_of=as_of,
            regions=reference.DATA / "regions",
            region_changes=reference.DATA / "region_changes.csv",
            settings=CountSettings(rules.transit_expiry_days, rules.leap_birthday, rules.stale_after_days),
            machine=Machine(memory_limit=memory_limit),
        )
    except duckdb.OutOfMemoryException:
        raise ConfigurationError(
            f"--memory {memory_limit} is too little for this count: give more."
            if memory_limit is not None
            else "The count ran out of memory and of room in the temporary folder (TMPDIR): make room in either."
        ) from None
    return select(counted.regions, region, None)


def by_core(
    source: Source, as_of: date, known_at: int | None, rules: Rules, region: str | None
) -> list[dict[str, Any]]:
    """The coverage records of the engine of the agents."""
    from stream.engine import Engine

    engine = Engine(rules, reference.load())
    for one in source.heard():
        if known_at is None or one.received_at <= known_at:
            engine.add(one.subject, one.event)
    return select(engine.count(as_of).regions, region, None)


ENGINES: Final = ("sql", "core")


def flat(record: dict[str, Any], known_at: int | None) -> list[Any]:
    """The row of a coverage record."""
    figures = [record[measure][sex] for measure in (*MEASURES, "unrecorded") for sex in _SEXES]
    head = [record["region"], record["level"], record["name"], record["as_of"], shown_instant(known_at)]
    return [*head, *figures, record["coverage"], record["opening"], record["stale_denominator"]]


def _csv(rows: Sequence[Sequence[Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow([str(value).lower() if isinstance(value, bool) else value for value in row])
    return text.getvalue().encode()


def _parquet(rows: Sequence[Sequence[Any]]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = dict.fromkeys(COLUMNS, pa.int64()) | dict.fromkeys(("region", "level", "name", "opening"), pa.string())
    kinds |= {"as_of": pa.date32(), "known_at": pa.timestamp("us", "UTC")}
    kinds |= {"coverage": pa.float64(), "stale_denominator": pa.bool_()}
    texts = pa.schema([(name, pa.string() if name in ("as_of", "known_at") else kinds[name]) for name in COLUMNS])
    table = pa.Table.from_pylist([dict(zip(COLUMNS, row, strict=True)) for row in rows], texts)
    buffer = io.BytesIO()
    pq.write_table(table.cast(pa.schema([(name, kinds[name]) for name in COLUMNS])), buffer, compression="zstd")
    return buffer.getvalue()


def _written(form: str, records: list[dict[str, Any]], as_of: date, known_at: int | None) -> bytes:
    if form == "json":
        answer = {"as_of": as_of.isoformat(), "known_at": shown_instant(known_at), "regions": records}
        return msgspec.json.encode(answer) + b"\n"
    rows = [flat(record, known_at) for record in records]
    return _csv(rows) if form == "csv" else _parquet(rows)


def _put(content: bytes, output: Path | None) -> None:
    if output is not None:
        try:
            output.write_bytes(content)
        except OSError as error:
            raise ConfigurationError(f"{output} cannot be written ({error.strerror}): name another --output.") from None
        return
    stream: BinaryIO = click.get_binary_stream("stdout")
    stream.write(content)
    stream.flush()


@click.command()
@click.argument("source", nargs=-1, required=True, metavar="SOURCE...")
@click.option("--as-of", type=Day(), required=True, help="The day; figures are those at its end.")
@click.option("--known-at", type=Instant(), help="Only what was accepted by then; a day stands for its end (WIB).")
@click.option("--region", callback=region_code, metavar="CODE", help="Only this region and what lies in it.")
@click.option("--level", type=click.Choice(LEVELS), help="Only regions of this level.")
@click.option(
    "--format", "form", type=click.Choice(["table", "csv", "parquet", "json"]), default="table", show_default=True
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Write to a file instead.")
@click.option("--engine", type=click.Choice(ENGINES), default="sql", show_default=True, help="What counts.")
@click.option(
    "--memory",
    type=Memory(),
    help="What the SQL count may take of memory, as 8GiB; beyond that it writes to the temporary folder (TMPDIR). "
    "Default: 80 % of the machine's.",
)
@with_rules
def command(
    source: tuple[str, ...],
    as_of: date,
    known_at: int | None,
    region: str | None,
    level: str | None,
    form: str,
    as_json: bool,
    output: Path | None,
    engine: str,
    memory: str | None,
    transit_expiry_days: int | None,
    leap_birthday: Literal["mar1", "feb28"] | None,
) -> None:
    """Figures of a day, as known now or as known at an instant.

    SOURCE is an archive (a directory or s3:// URL), a file of ledger records one a line, or event files as `lampit count`
    takes them; those do not say when they were accepted, so --known-at cannot be asked of them.

    \b
    Examples:
      lampit audit coverage --as-of 2019-03-28 --level regency /srv/lampit/archive
      lampit audit coverage --as-of 2019-02-28 --known-at 2019-02-28 --region 16.05 --format csv ledger.jsonl.zst
    """
    form = "json" if as_json else form
    if form == "parquet" and output is None and sys.stdout.isatty():
        raise click.UsageError("Parquet is no text for a terminal: name a file with --output.")
    if form == "table" and output is not None:
        raise click.UsageError("A table goes to the terminal: choose --format csv, parquet or json for --output.")
    with open_source(source, need_instants=None if known_at is None else "--known-at") as opened:
        rules = opened.rules(transit_expiry_days, leap_birthday)
        if engine == "sql":
            counted = by_sql(opened, as_of, known_at, rules, region, memory)
        else:
            counted = by_core(opened, as_of, known_at, rules, region)
        records = select(counted, None, level)
        notice_rejected(opened)
        notice_nobody(counted, region)
    if form == "table":
        click.echo(f"Coverage at the end of {as_of.isoformat()}{known_text(known_at)}")
        tables.print_coverage(records)
    else:
        _put(_written(form, records, as_of, known_at), output)
