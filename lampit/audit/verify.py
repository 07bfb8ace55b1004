"""`lampit audit verify`: is the archive complete, unaltered, and do the published figures follow from it?

In: an archive; public keys and published heads from elsewhere; a broker or a file of coverage records. Out: the first thing
that differs and all others, or that nothing does. Exit code 1 where something does. What is checked is in
lampit/audit/checks.py and agreement.py.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from agents.errors import ConfigurationError
from agents.settings import Settings
from agents.signing import load_public
from agents.topics import HEADS, LEDGER
from lampit import tables
from lampit.audit import agreement, log, succession
from lampit.audit.agreement import Agreement
from lampit.audit.archive import Archive, ArchiveDamaged, named_archive, on_disk
from lampit.audit.checks import check_shown
from lampit.audit.finding import Finding, Trust
from lampit.audit.place import shown
from lampit.audit.succession import Link
from lampit.cli import EXIT_PROBLEM
from lampit.servers import settings_at
from stream.archive import Statement

SHOWN_MAX: Final = 10

_head: Final = msgspec.json.Decoder(Statement)


@dataclass
class Report:
    """What was found. Everything is in order when `findings` is empty and the figures do not differ."""

    archive: str
    partitions: list[dict[str, Any]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    heads: int = 0
    agreement: Agreement = field(default_factory=lambda: Agreement("skipped", "no figures were given"))
    id_reused: list[dict[str, Any]] = field(default_factory=list)
    succession: Link | None = None

    @property
    def is_ok(self) -> bool:
        """Whether nothing differs."""
        return not self.findings and self.agreement.status != "differs"


def verify(
    archive: Archive,
    trust: Trust,
    settings: Settings | None = None,
    coverage: Path | None = None,
    previous: Archive | None = None,
) -> Report:
    """All checks, then, on an archive that is in order, the figures. previous: the archive that this one succeeds."""
    report = Report(shown(archive.files.url))
    _summarise(archive, trust, report)
    report.findings = list(check_shown(archive, trust))
    if not report.findings:
        _succeed(archive, trust, previous, report)
    if report.findings:
        report.agreement = Agreement("skipped", "the archive is not in order")
        return report
    if archive.topic == LEDGER:
        with on_disk(archive) as readable:
            report.id_reused = agreement.reused_ids(readable)
            if coverage is not None:
                report.agreement = agreement.compare(readable, _coverage_of(coverage), settings)
            elif settings is not None:
                report.agreement = agreement.compare_published(readable, settings)
    return report


def _succeed(archive: Archive, trust: Trust, previous: Archive | None, report: Report) -> None:
    """Of a rotated ledger: whether it follows on the one before it."""
    report.succession = succession.link(archive)
    if report.succession is None:
        if previous is not None:
            report.findings = [Finding(succession.KIND, "The ledger of this archive does not succeed another one.")]
        return
    report.findings = list(succession.check_statement(archive, trust))
    if previous is not None and not report.findings:
        report.findings = list(succession.compare(archive, previous, trust))
    if previous is not None and not report.findings:
        persons, differing = succession.differing_persons(archive, previous)
        report.succession = replace(report.succession, compared=persons)
        if differing:
            message = f"{differing:,} persons have other events than in the previous archive."
            report.findings = [Finding(succession.KIND, message)]


def _summarise(archive: Archive, trust: Trust, report: Report) -> None:
    """Fill in what is there, and how many of the published heads are of it."""
    for partition in archive.partitions():
        try:
            header, entries = archive.header(partition), archive.segments(partition)
        except ArchiveDamaged:
            continue
        place = (header.ledger_id, archive.topic, partition)
        report.heads += sum((head.ledger_id, head.topic, head.partition) == place for head in trust.heads)
        last = entries[-1] if entries else None
        report.partitions.append(
            {
                "partition": partition,
                "segments": len(entries),
                "records": sum(entry.records for entry in entries),
                "bytes": sum(entry.bytes for entry in entries),
                "next_offset": last.last + 1 if last else 0,
                "tree_size": _tree_size(archive, partition),
                "day": next((entry.day for entry in reversed(entries) if entry.day), None),
                "head": last.head if last else None,
            }
        )


def _tree_size(archive: Archive, partition: int) -> int:
    try:
        lines = archive.tree(partition)[1]
    except ArchiveDamaged:
        return 0  # a finding of its own
    return lines[-1].next_offset if lines else 0


def published_heads(settings: Settings) -> list[Statement]:
    """Every head on lampit.heads."""
    return [_head.decode(record.value) for _, record in log.read(settings, HEADS, {0: 0}) if record.value]


def _coverage_of(file: Path) -> dict[str, dict[str, Any]]:
    try:
        return agreement.newest(line for line in file.read_bytes().splitlines() if line.strip())
    except ValueError as error:
        raise ConfigurationError(
            f"{file} is no file of published figures ({type(error).__name__}): give records of lampit.coverage, one a line."
        ) from None


def _heads_of(file: Path) -> list[Statement]:
    try:
        return [_head.decode(line) for line in file.read_bytes().splitlines() if line.strip()]
    except ValueError as error:
        raise ConfigurationError(
            f"{file} is no file of heads ({type(error).__name__}): give records of lampit.heads, one a line."
        ) from None


def _print(report: Report) -> None:
    rows = [
        (
            str(one["partition"]),
            f"{one['segments']:,}",
            f"{one['records']:,}",
            f"{one['bytes'] / one['records']:.1f}" if one["records"] else tables.NOTHING,
            f"{one['next_offset']:,}",
            one["day"] or tables.NOTHING,
            (one["head"] or tables.NOTHING)[:16],
        )
        for one in report.partitions
    ]
    header = ("partition", "segments", "records", "bytes/record", "next offset", "day", "head")
    tables.print_table(header, rows, header[:5])
    for number, finding in enumerate(report.findings[:SHOWN_MAX]):
        click.echo(f"{'first: ' if number == 0 else '       '}{finding.place}: {finding.message}")
    if len(report.findings) > SHOWN_MAX:
        click.echo(f"       and {len(report.findings) - SHOWN_MAX:,} more (--json lists all)")
    click.echo(f"archive:   {'complete and unaltered' if not report.findings else 'NOT in order'}")
    click.echo(f"heads:     {report.heads:,} published ones compared" if report.heads else _NO_HEADS)
    if not report.findings:
        click.echo(f"trees:     {_trees(report)}")
    _print_succession(report)
    _print_agreement(report.agreement)
    if report.id_reused:
        click.echo(f"id_reused: {len(report.id_reused):,} ids stand under several persons")
        for one in report.id_reused[:SHOWN_MAX]:
            click.echo(f"       {one['source']} {one['id']}: {one['persons']} persons, first at {one['first']}")


def _trees(report: Report) -> str:
    grown, offsets = (sum(one[name] for one in report.partitions) for name in ("tree_size", "next_offset"))
    if not grown:
        return "none yet: the archive agent lets them grow once it has caught up with the log"
    return f"roots are those of the records, up to {grown:,} of {offsets:,} offsets"


def _print_succession(report: Report) -> None:
    found = report.succession
    if found is None:
        return
    if found.compared is None or report.findings:
        compared = "not compared with it (--previous)" if not report.findings else "NOT in order"
    else:
        compared = f"linked with it, {found.compared:,} persons with the same events"
    click.echo(f"succeeds:  ledger {found.previous_ledger}, by key number {found.keys}: {compared}")


_NO_HEADS: Final = "heads:     none to compare with: that the end was not cut off is not shown (--bootstrap or --heads)"


def _print_agreement(found: Agreement) -> None:
    if found.status == "skipped":
        click.echo(f"figures:   not compared: {found.reason}")
        return
    log_part = f", {found.from_the_log:,} records of them from the log behind the archive" if found.from_the_log else ""
    verdict = "equal" if found.status == "equal" else "DIFFER from"
    of_day = f" of {found.as_of}" if found.as_of else ""
    click.echo(f"figures:   {found.regions:,} published regions{of_day} {verdict} the recount{log_part}")
    for number, difference in enumerate(found.differences[:SHOWN_MAX]):
        click.echo(f"{'first: ' if number == 0 else '       '}{difference}")
    if len(found.differences) > SHOWN_MAX:
        click.echo(f"       and {len(found.differences) - SHOWN_MAX:,} more (--json lists all)")


@click.command()
@click.option("--archive", "url", help="Directory or s3:// URL; default: LAMPIT_ARCHIVE_URL.")
@click.option("--topic", default=LEDGER, show_default=True, help="Archived topic to verify.")
@click.option(
    "--public-key",
    "keys",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Key that is trusted; may be repeated. Without it: the one key that the archive itself names.",
)
@click.option("--heads", type=click.Path(exists=True, path_type=Path), help="Published heads, one JSON object a line.")
@click.option("--bootstrap", metavar="HOST:PORT", help="Broker to compare with: lampit.heads and lampit.coverage.")
@click.option("--coverage", type=click.Path(exists=True, path_type=Path), help="Coverage records, one a line.")
@click.option("--previous", metavar="ARCHIVE", help="Of a rotated ledger: the archive that it was rewritten from.")
@click.option("--json", "as_json", is_flag=True, help="The report as one JSON object.")
def command(
    url: str | None,
    topic: str,
    keys: tuple[Path, ...],
    heads: Path | None,
    bootstrap: str | None,
    coverage: Path | None,
    previous: str | None,
    as_json: bool,
) -> None:
    """Prove that the archive is complete and unaltered, and that the published figures follow from it.

    Every offset once, every file and record as it was archived, the chain of heads, Merkle roots, signatures; with --heads or
    --bootstrap every head that was ever published; with --bootstrap or --coverage the figures of every region against a
    second count, in SQL. Ids that stand under several persons are listed; they are no fault of the archive. Of a ledger
    that was rotated to a newer pseudonym key, its signed statement of succession; with --previous also the old archive, that
    this one names its last heads, and that the same persons have the same events in both.

    \b
    Examples:
      lampit audit verify --archive /srv/lampit/archive --public-key archive.key.pub
      lampit audit verify --archive s3://lampit/archive --bootstrap kafka:9092 --json
      lampit audit verify --archive /srv/lampit/archive-2 --previous /srv/lampit/archive

    Exit codes: 0 nothing differs, 1 something does, 2 wrong usage.
    """
    given = settings_at("--bootstrap", bootstrap)
    settings = given if bootstrap else None
    archive = named_archive(url, given, topic)
    published = [*(_heads_of(heads) if heads else ()), *(published_heads(settings) if settings else ())]
    trust = Trust({load_public(key) for key in keys} or None, published)
    before = Archive.open(previous, topic, f"--previous {shown(previous)}") if previous else None
    report = verify(archive, trust, settings, coverage, before)
    if as_json:
        click.echo(msgspec.json.encode({"ok": report.is_ok, **asdict(report)}))
    else:
        _print(report)
    raise click.exceptions.Exit(0 if report.is_ok else EXIT_PROBLEM)
