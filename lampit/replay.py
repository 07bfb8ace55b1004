"""`lampit replay`: an archived ledger, or a part of it, into a fresh cluster or a file.

In: an archive. Out: the same records (key, value, time) in the same partitions and the same order, in `lampit.ledger` of
another cluster; or their values, one a line. Offsets are new where the old log had markers. Not in here: how the archive
is read (lampit/audit/archive.py) and the writing to a cluster (lampit/replaying.py).
"""

from __future__ import annotations

import heapq
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Final

import click
import msgspec

from agents import segments
from agents.errors import ConfigurationError
from agents.logs import configure_logging
from agents.settings import load_settings
from lampit import tables
from lampit.audit.archive import Archive, Filter, named_archive
from lampit.files import STANDARD_INPUT as STANDARD_OUTPUT
from lampit.publishing import Interrupted, Stop, stop_signals
from lampit.servers import settings_at
from lampit.words import region_code

BLOCK_RECORDS: Final = 5_000
"""Written and acknowledged at once; with a rate, a tenth of a second's worth."""

_NO_ZONE: Final = "give the instant with its offset, as 2019-03-28T00:00:00+07:00"


@dataclass
class Summary:
    """What was done. already: records that an earlier run had written."""

    replayed: int = 0
    already: int = 0
    interrupted: bool = False
    seconds: float = 0.0
    rate: float = 0.0


class Pace:
    """At most so many records a second."""

    def __init__(self, rate: float | None, stopped: Stop) -> None:
        """None: as fast as it goes."""
        self._rate, self._stopped = rate, stopped
        self._began, self._done = time.monotonic(), 0
        self.block = BLOCK_RECORDS if rate is None else max(1, min(BLOCK_RECORDS, int(rate / 10)))

    def done(self, records: int) -> None:
        """Wait until they may have been written; raise Interrupted where a signal asks to stop."""
        self._stopped.check()
        self._done += records
        if self._rate is not None:
            ahead = self._done / self._rate - (time.monotonic() - self._began)
            if ahead > 0:
                self._stopped.wait(ahead)


def in_order(archive: Archive, wanted: Filter) -> Iterator[tuple[int, Any]]:
    """Tables of records, segment by segment, of all partitions by the time of their first record: days go on together."""
    sources = {
        partition: archive.tables(_only(wanted, partition))
        for partition in archive.partitions()
        if wanted.wants(partition)
    }
    # (time, how many of the partition came before, partition): at one time, partitions take turns.
    waiting: list[tuple[int, int, int]] = []
    tables_of: dict[int, Any] = {}

    def pull(partition: int, number: int) -> None:
        found = next(sources[partition], None)
        if found is not None:
            tables_of[partition] = found[1]
            heapq.heappush(waiting, (found[1].column("timestamp_ms")[0].as_py(), number, partition))

    for partition in sources:
        pull(partition, 0)
    while waiting:
        _, number, partition = heapq.heappop(waiting)
        yield partition, tables_of.pop(partition)
        pull(partition, number + 1)


def _only(wanted: Filter, partition: int) -> Filter:
    return Filter({partition}, wanted.received_from, wanted.received_before, wanted.region, wanted.upto)


def to_lines(archive: Archive, wanted: Filter, output: BinaryIO, pace: Pace, tell: Callable[[int], None]) -> int:
    """Write the values, one a line; how many."""
    written = 0
    for _, table in in_order(archive, wanted):
        for begin in range(0, len(table), pace.block):
            rows = [record.value for record in segments.records(table.slice(begin, pace.block)) if record.value]
            # A line feed outside a text is white space in JSON.
            output.writelines(value.replace(b"\n", b" ") + b"\n" for value in rows)
            written += len(rows)
            tell(written)
            pace.done(len(rows))
    return written


def _to_file(archive: Archive, wanted: Filter, path: str, rate: float | None) -> tuple[Summary, int]:
    summary, exit_code = Summary(), 0
    temporary = Path(f"{path}.part")
    if path != STANDARD_OUTPUT and os.path.exists(path):  # where it may not be seen, opening it says why
        raise ConfigurationError(f"{path} exists: name another file, or remove it first.")
    with stop_signals() as stopped, _progress(archive, wanted) as progress:
        pace = Pace(rate, stopped)

        def tell(written: int) -> None:
            summary.replayed = written
            progress(written, written)

        try:
            if path == STANDARD_OUTPUT:
                to_lines(archive, wanted, sys.stdout.buffer, pace, tell)
                sys.stdout.buffer.flush()
            else:
                with _opened(temporary) as file:
                    to_lines(archive, wanted, file, pace, tell)
                    file.flush()
                    os.fsync(file.fileno())
                temporary.rename(path)
        except Interrupted as interrupted:
            summary.interrupted, exit_code = True, interrupted.exit_code
    return summary, exit_code


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """A new file; one that is not written whole goes again: it takes the room on a disk that has none left.

    What goes wrong with the archive meanwhile is no OSError by then, and told by the archive's name.
    """
    try:
        with path.open("wb") as file:
            yield file
    except BaseException as error:
        with suppress(OSError):
            path.unlink()
        if isinstance(error, OSError):
            raise ConfigurationError(f"{path} cannot be written ({error.strerror}): name another file.") from None
        raise


def _progress(archive: Archive, wanted: Filter) -> Any:
    """A bar over the records; of a part of them, how many there are is not known before."""
    total = None
    if not wanted.of_columns:
        chosen = [number for number in archive.partitions() if wanted.wants(number)]
        total = sum(entry.records for number in chosen for entry in archive.segments(number))
    return tables.progress("Replaying", total, "records")


def _to_cluster(archive: Archive, wanted: Filter, servers: str, rate: float | None) -> tuple[Summary, int]:
    from lampit.replaying import Destination

    summary, exit_code = Summary(), 0
    count = max(archive.partitions()) + 1
    settings = settings_at("--to", servers, partitions=count)
    # What goes wrong is told in one sentence at the end; the client's own lines about every attempt are not.
    configure_logging(logging.CRITICAL)
    with Destination(settings) as destination:
        destination.require_beginning_of(archive, wanted)
        summary.already = sum(destination.held.values())
        with stop_signals() as stopped, _progress(archive, wanted) as progress:
            pace = Pace(rate, stopped)
            try:
                for partition, table in in_order(archive, wanted):
                    rest = destination.missing_of(partition, table)
                    for begin in range(0, len(rest), pace.block):
                        block = rest.slice(begin, pace.block)
                        destination.write(partition, block)
                        summary.replayed += len(block)
                        progress(summary.already + summary.replayed, summary.replayed)
                        pace.done(len(block))
            except Interrupted as interrupted:
                summary.interrupted, exit_code = True, interrupted.exit_code
    return summary, exit_code


def _instant(ctx: click.Context, option: click.Parameter, text: str | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text) if text is not None else None
    except ValueError:
        raise click.BadParameter(_NO_ZONE) from None
    if moment is not None and moment.tzinfo is None:
        raise click.BadParameter(_NO_ZONE)
    return moment


def _print(summary: Summary, as_json: bool, to_standard_output: bool) -> None:
    if as_json:
        click.echo(msgspec.json.encode(asdict(summary)), err=to_standard_output)
        return
    before = f" ({summary.already:,} were there from an earlier run)" if summary.already else ""
    line = f"{summary.replayed:,} records replayed in {summary.seconds:,.1f} s, {summary.rate:,.0f} records/s{before}"
    click.echo(line, err=to_standard_output)
    if summary.interrupted:
        tables.notice("Interrupted: the same command goes on from here, or begins a file anew.")


@click.command()
@click.option("--archive", "url", help="Directory or s3:// URL; default: LAMPIT_ARCHIVE_URL.")
@click.option("--to", "servers", metavar="HOST:PORT", help="Brokers of the cluster whose ledger is to be filled.")
@click.option("--output", metavar="FILE", help="File for the records, one a line; - is standard output.")
@click.option(
    "--partition", "partitions", multiple=True, type=click.IntRange(0), help="Only this one; may be repeated."
)
@click.option("--received-from", callback=_instant, metavar="INSTANT", help="Only events accepted then or later.")
@click.option("--received-before", callback=_instant, metavar="INSTANT", help="Only events accepted before.")
@click.option(
    "--region", callback=region_code, metavar="CODE", help="Only events that name this region or a place in it."
)
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), metavar="N", help="At most N records a second.")
@click.option("--json", "as_json", is_flag=True, help="The summary as one JSON object.")
def command(
    url: str | None,
    servers: str | None,
    output: str | None,
    partitions: tuple[int, ...],
    received_from: datetime | None,
    received_before: datetime | None,
    region: str | None,
    rate: float | None,
    as_json: bool,
) -> None:
    """Replay an archived ledger into a fresh cluster (--to), or write it to a file (--output).

    A cluster gets the same records in the same partitions, byte for byte; agents started on it with the same pseudonym
    key count the same figures. A ledger that holds anything but the beginning of this very replay is refused; the same
    command again goes on where it stopped. --region and the times choose single events, and leave control records out:
    for files, to look into, not for a cluster that is to be counted.

    \b
    Examples:
      lampit replay --archive /srv/lampit/archive --to other-kafka:9092
      lampit replay --archive /srv/lampit/archive --region 16.05 --output musi-rawas.jsonl
      lampit replay --partition 3 --output - | head
    """
    if (servers is None) == (output is None):
        raise click.UsageError("Give either --to or --output.")
    archive = named_archive(url, load_settings())
    archive.require_partitions(partitions)
    wanted = Filter(set(partitions) or None, received_from, received_before, region)
    began = time.monotonic()
    if servers is not None:
        summary, exit_code = _to_cluster(archive, wanted, servers, rate)
    else:
        summary, exit_code = _to_file(archive, wanted, str(output), rate)
    summary.seconds = round(time.monotonic() - began, 3)
    summary.rate = round(summary.replayed / summary.seconds, 1) if summary.seconds else 0.0
    _print(summary, as_json, output == STANDARD_OUTPUT)
    raise click.exceptions.Exit(exit_code)
