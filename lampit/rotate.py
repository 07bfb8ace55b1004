"""`lampit rotate`: a ledger to a newer pseudonym key, offline, from its archive.

In: the archive of a ledger at rest, a new key. Out: another archive, of a new ledger with the same events under new ids,
linked with the old one by signatures. Not in here: what is written (lampit/rotation.py), and bringing it into a cluster
(`lampit replay`).
"""

from __future__ import annotations

import logging
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import click
import msgspec

from agents.errors import ConfigurationError, LampitError
from agents.keys import read_key
from agents.logs import configure_logging
from agents.settings import Settings
from agents.signing import load_public, load_signer
from lampit import tables
from lampit.audit.archive import Archive, named_archive
from lampit.audit.checks import check_shown
from lampit.audit.finding import Trust
from lampit.audit.place import Place, shown
from lampit.rotation import Rotation, require_room
from lampit.rotation_plan import Plan, events_behind, plan
from lampit.servers import settings_at
from stream.calendar import iso_day
from stream.pseudonym import Pseudonymiser


def _require_order(archive: Archive, keys: tuple[Path, ...]) -> None:
    """What is rotated was verified: a damaged archive would get good signatures."""
    with closing(check_shown(archive, Trust({load_public(key) for key in keys} or None))) as found:
        finding = next(found, None)
    if finding is not None:
        raise LampitError(
            f"The archive is not in order ({finding.place}: {finding.message.rstrip('.')}): see `lampit audit verify`."
        )


def _require_whole(archive: Archive, settings: Settings) -> None:
    """Events that wait for the end of their segment would be left behind."""
    behind = events_behind(archive, settings)
    if behind:
        raise LampitError(
            f"lampit.ledger at {settings.bootstrap_servers} holds {behind:,} events that are not archived yet: stop intake, "
            "wait until the day has turned and the archive worker has written that, and rotate then."
        )


def _summary(found: Plan, destination: str) -> dict[str, Any]:
    return {
        "old_ledger": found.heads[0].ledger_id,
        "new_ledger": found.new_ledger_id,
        "key_fingerprint": found.fingerprint,
        "keys": found.genesis_of(0).keys,
        "to": shown(destination),
        "day": iso_day(found.days[-1]),
        "partitions": found.partitions,
        "persons": found.persons,
        "events": found.events,
    }


def _print(summary: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(msgspec.json.encode(summary))
        return
    verb = "would be rotated" if summary["dry_run"] else "rotated"
    click.echo(
        f"{summary['events']:,} events of {summary['persons']:,} persons {verb} in {summary['partitions']} partitions, as of "
        f"the turn to {summary['day']}"
    )
    click.echo(
        f"old ledger: {summary['old_ledger']}\nnew ledger: {summary['new_ledger']}, key number {summary['keys']}"
    )
    if not summary["dry_run"]:
        click.echo(f"{summary['copies']:,} copies for merged persons, {summary['seconds']:,.1f} s")
        tables.notice(
            "Next: `lampit audit verify --archive NEW --previous OLD`, `lampit replay`, and name the new key's file behind "
            "the others in LAMPIT_PSEUDONYM_KEY_FILE (deploy/RUNBOOK.md)."
        )


@click.command()
@click.option("--archive", "url", help="Archive of the ledger, directory or s3:// URL; default: LAMPIT_ARCHIVE_URL.")
@click.option("--to", "destination", required=True, help="Where the new archive is written: directory or s3:// URL.")
@click.option(
    "--new-key", type=click.Path(path_type=Path), required=True, metavar="FILE", help="File that holds the new key."
)
@click.option(
    "--public-key",
    "keys",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Key whose signatures on the archive are trusted; may be repeated. Without it: the one that the archive names.",
)
@click.option(
    "--bootstrap", metavar="HOST:PORT", help="Broker of the ledger: refuse where it holds more than the archive."
)
@click.option("--dry-run", is_flag=True, help="Check everything and count, write nothing.")
@click.option("--json", "as_json", is_flag=True, help="The summary as one JSON object.")
def command(
    url: str | None,
    destination: str,
    new_key: Path,
    keys: tuple[Path, ...],
    bootstrap: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Rewrite an archived ledger under a newer pseudonym key, into the archive of a new ledger.

    Neither a NIK nor an older key is needed: the new id of a person is the keyed hash of the old one. Stop intake first and
    let the day turn, so that the archive holds everything. All figures, of every day and as known at every instant, stay the
    same. The new archive names the last signed head of every partition of the old one and is signed with
    LAMPIT_ARCHIVE_KEY_FILE. Interrupted, the same command goes on where it stopped; a place that holds anything else
    is refused, and the old archive is not touched. docs/privacy.md has the whole procedure.

    \b
    Examples:
      openssl rand -hex 32 > pseudonym-2.key
      lampit rotate --archive /srv/lampit/archive --to /srv/lampit/archive-2 --new-key pseudonym-2.key --dry-run
      lampit rotate --to /srv/lampit/archive-2 --new-key pseudonym-2.key --bootstrap kafka:9092

    Exit codes: 0 done, 1 the archive cannot be rotated as it is, 2 wrong usage.
    """
    settings = settings_at("--bootstrap", bootstrap)
    if settings.archive_key_file is None and not dry_run:
        raise ConfigurationError(
            "LAMPIT_ARCHIVE_KEY_FILE is not set: name the private key that signs the new archive (`lampit audit keygen FILE` "
            "makes one)."
        )
    began = time.monotonic()
    rename = Pseudonymiser(read_key(new_key, "named in --new-key"))
    archive = named_archive(url, settings)
    files = Place(destination, f"--to {shown(destination)}")
    if bootstrap:
        # What goes wrong is told in one sentence at the end; the client's own lines about every attempt are not.
        configure_logging(logging.CRITICAL)
        _require_whole(archive, settings)
    _require_order(archive, keys)
    found = plan(archive, rename)
    require_room(files, found)
    summary = {"dry_run": dry_run, **_summary(found, destination)}
    if settings.archive_key_file is not None and not dry_run:
        signer = load_signer(settings.archive_key_file)
        rotation = Rotation(found, files, rename, signer, settings.archive_segment_records)
        with tables.progress("Rotating", found.records, "records") as progress:
            rotation.run(lambda done: progress(done, done))
        summary |= {"copies": rotation.copies, "seconds": round(time.monotonic() - began, 3)}
    _print(summary, as_json)
