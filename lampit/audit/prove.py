"""`lampit audit prove` and `lampit audit heads`: proofs for somebody who has no archive, and the heads they are held against.

In: the command line. Out: a proof as one JSON object; heads, one a line. What they are made of: lampit/audit/proofs.py.
"""

from __future__ import annotations

from typing import Any, Final

import click
import msgspec

from agents.errors import ConfigurationError
from agents.settings import load_settings
from agents.topics import LEDGER
from lampit.audit.archive import Archive, named_archive
from lampit.audit.proofs import Prover, heads, places
from lampit.audit.verify import published_heads
from lampit.servers import settings_at
from stream.archive import encode_line

_archive: Final = click.option("--archive", "url", help="Directory or s3:// URL; default: LAMPIT_ARCHIVE_URL.")
_topic: Final = click.option("--topic", default=LEDGER, show_default=True, help="Archived topic.")
_partition: Final = click.option("--partition", type=click.IntRange(0), help="Needed where the archive has several.")


@click.group()
def prove() -> None:
    """Prove one record, or one head, to somebody who has no archive.

    \b
    Example:
      lampit audit prove inclusion --archive /srv/lampit/archive --source /siak/1605 --id death-002

    Exit codes: 0 ok, 1 the archive is damaged, 2 wrong usage.
    """


@prove.command()
@_archive
@_topic
@_partition
@click.option("--offset", type=click.IntRange(0), help="Where the record stands in its partition.")
@click.option("--source", help="The event's source; with --id, instead of --offset.")
@click.option("--id", "identity", help="The event's id; with --source.")
@click.option(
    "--head",
    "wanted",
    metavar="DAY",
    help="Head to prove it by: its day or its next offset; default: the newest day's.",
)
@click.option(
    "--record/--no-record", default=True, show_default=True, help="The record itself, or only the hash of it."
)
@click.option("--json", "as_json", is_flag=True, help="A proof is JSON in any case.")
def inclusion(
    url: str | None,
    topic: str,
    partition: int | None,
    offset: int | None,
    source: str | None,
    identity: str | None,
    wanted: str | None,
    record: bool,
    as_json: bool,
) -> None:
    """Prove that a record is in the ledger, by a signed head of `lampit.heads` and a few hashes.

    The proof is checked with the public key and the head alone, without Lampit: docs/examples/check_proof.py. It holds the
    record, which is pseudonymous and still personal data, unless --no-record leaves that to those who have it already. At an
    offset without a record it proves that there is none.

    \b
    Examples:
      lampit audit prove inclusion --archive /srv/lampit/archive --source /siak/1605 --id death-002 > proof.json
      lampit audit prove inclusion --archive /srv/lampit/archive --partition 3 --offset 812 --head 2019-03-28 --no-record
    """
    archive = _open(url, topic)
    if (offset is None) == (source is None) or (source is None) != (identity is None):
        raise ConfigurationError("Which record? Give --offset (with --partition), or --source with --id.")
    if offset is None:
        assert source is not None and identity is not None
        partition, offset = _place(archive, partition, source, identity)
    prover = Prover(archive, _one(archive, partition))
    _print(prover.inclusion(offset, prover.size(wanted), with_record=record))


@prove.command()
@_archive
@_topic
@_partition
@click.option("--from", "first", metavar="DAY", required=True, help="The earlier head: its day, or its next offset.")
@click.option("--to", "second", metavar="DAY", help="The later head; default: the newest day's.")
@click.option("--json", "as_json", is_flag=True, help="A proof is JSON in any case.")
def consistency(
    url: str | None, topic: str, partition: int | None, first: str, second: str | None, as_json: bool
) -> None:
    """Prove that a later head extends an earlier one: nothing before it was changed, taken out or put in.

    \b
    Example:
      lampit audit prove consistency --archive /srv/lampit/archive --partition 3 --from 2019-02-28 --to 2019-03-28
    """
    archive = _open(url, topic)
    prover = Prover(archive, _one(archive, partition))
    _print(prover.consistency(prover.size(first), prover.size(second)))


@click.command(name="heads")
@_archive
@_topic
@click.option("--bootstrap", metavar="HOST:PORT", help="Read those that were published on lampit.heads instead.")
@click.option("--all", "with_all", is_flag=True, help="Of an archive: not only those of days, but of every segment.")
@click.option("--json", "as_json", is_flag=True, help="Heads are JSON, one a line, in any case.")
def heads_command(url: str | None, topic: str, bootstrap: str | None, with_all: bool, as_json: bool) -> None:
    """Print signed heads, one JSON object a line: for whoever keeps them elsewhere.

    \b
    Examples:
      lampit audit heads --bootstrap kafka:9092 > heads.jsonl
      lampit audit heads --archive /srv/lampit/archive
    """
    if bootstrap is not None:
        settings = settings_at("--bootstrap", bootstrap)
        found = [head for head in published_heads(settings) if head.topic == topic]
    else:
        found = [head for head in heads(_open(url, topic)) if head.day or with_all]
    for head in found:
        click.echo(encode_line(head))


def _open(url: str | None, topic: str) -> Archive:
    return named_archive(url, load_settings(), topic)


def _one(archive: Archive, partition: int | None) -> int:
    there = archive.partitions()
    if partition is None and len(there) > 1:
        raise ConfigurationError(f"Which partition? Give --partition, 0 to {there[-1]}.")
    return there[0] if partition is None else partition


def _place(archive: Archive, partition: int | None, source: str, identity: str) -> tuple[int, int]:
    found = [place for place in places(archive, source, identity) if partition in (None, place[0])]
    if not found:
        raise ConfigurationError(f"No record of source {source!r} and id {identity!r} is in the archive.")
    if len(found) > 1:
        where = ", ".join(f"--partition {number} --offset {offset}" for number, offset in found)
        raise ConfigurationError(f"{len(found)} records have this source and id. Name one of them: {where}.")
    return found[0]


def _print(proof: dict[str, Any]) -> None:
    click.echo(msgspec.json.encode(proof))
