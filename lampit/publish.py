"""`lampit publish`: event files to the intake topics, each line as it is.

In: event files. Out: one record a line on the topic of its family, acknowledged by all in-sync replicas. Nothing is judged
and nothing left out here: what is no event goes to intake too, which refuses it with a reason. Not in here: how far it
got, and the producer (lampit/publishing.py).
"""

from __future__ import annotations

import hashlib
import logging
import re
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Final

import click
import msgspec

from agents.errors import ConfigurationError
from agents.logs import configure_logging
from agents.settings import Settings, load_settings
from agents.topics import INTAKE_TOPICS, METADATA_SECONDS_MAX, ensure_topics, topic_ids
from lampit import tables
from lampit.cli import EXIT_PROBLEM
from lampit.files import LINE_BYTES_MAX, STANDARD_INPUT, EventFile, bytes_of, in_unicode, open_all
from lampit.publishing import Interrupted, Position, Publisher, States, stop_signals

CIVIL: Final = "lampit.intake.civil"
TOPIC_BY_TYPE: Final = {
    f"lampit.{topic.rpartition('.')[2].replace('-', '_')}.v1": topic for topic in INTAKE_TOPICS if topic != CIVIL
}
_NIK: Final = re.compile(r"[0-9]{16}", re.ASCII)


class _Data(msgspec.Struct, gc=False):
    nik: str = ""


class _Head(msgspec.Struct, gc=False):
    """What decides where a record goes; everything else is passed over."""

    type: str = ""
    data: _Data = msgspec.field(default_factory=_Data)


_decode: Final = msgspec.json.Decoder(_Head).decode


def _head(line: bytes) -> _Head:
    """Without a type where the line has not even the form of an event."""
    try:
        return _decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _Head()


def _address(head: _Head) -> tuple[str, bytes | None]:
    nik = head.data.nik
    return TOPIC_BY_TYPE.get(head.type, CIVIL), nik.encode() if _NIK.fullmatch(nik) else None


def address(line: bytes) -> tuple[str, bytes | None]:
    """The topic of a line and its key: the NIK, where one is found."""
    return _address(_head(line))


@dataclass
class Summary:
    """What was done."""

    published: int = 0
    already_published: int = 0
    changed: list[str] = field(default_factory=list)
    """Files that no longer begin as they did when they were published before: all of their lines were sent."""
    no_events: int = 0
    """Lines published that have not even the form of an event: of a file of another kind, as a rule."""
    too_long: list[dict[str, str | int]] = field(default_factory=list)
    interrupted: bool = False
    seconds: float = 0.0
    rate: float = 0.0


def publish(
    files: list[EventFile], publisher: Publisher, states: States, rate: float | None, resume: bool
) -> tuple[Summary, int]:
    """Send every line that the states do not have; the summary and the exit code."""
    summary = Summary()
    exit_code = 0
    began = time.monotonic()
    publisher.pace(rate)
    try:
        with tables.progress("Publishing", bytes_of(files), "events") as progress:
            read = 0
            for file in files:
                position = states.position(file.path, resume)
                if not _publish_file(file, position, publisher, summary, progress, read):
                    _begin_again(file, position, summary)
                    _publish_file(file, position, publisher, summary, progress, read)
                read += file.bytes_read
            publisher.drain()
    except Interrupted as interrupted:
        exit_code = interrupted.exit_code
        summary.interrupted = True
        publisher.drain_briefly()
    finally:
        states.save()
    summary.published = publisher.acknowledged
    summary.seconds = round(time.monotonic() - began, 3)
    summary.rate = round(summary.published / summary.seconds, 1) if summary.seconds else 0.0
    return summary, exit_code or (EXIT_PROBLEM if summary.too_long else 0)


def _name(file: EventFile) -> str:
    return "Standard input" if file.path == STANDARD_INPUT else file.path


def _begin_again(file: EventFile, position: Position, summary: Summary) -> None:
    """At the first line: which lines have changed is not known, only that some have. A repeat of the others does no harm."""
    if not file.rewind():
        raise ConfigurationError(
            f"{_name(file)} has changed since it was last published: use --no-resume to publish it from its first line."
        )
    tables.notice(
        f"{_name(file)} has changed since it was last published, not only at its end: all of it is published again. "
        "Lines that are as they were change no figure."
    )
    summary.changed.append(in_unicode(file.path))
    position.begin_again()


def _publish_file(
    file: EventFile,
    position: Position,
    publisher: Publisher,
    summary: Summary,
    progress: tables.Progress,
    read_before: int,
) -> bool:
    """Send what comes after the position; False, with nothing sent, where the lines up to there are not those of before."""
    skip = position.line
    last = passed = 0
    for first, lines in file.batches():
        for number, line in enumerate(lines, first):
            is_blank = not line or line.isspace()
            if number == skip:
                if not position.goes_on_at(line):
                    return False
                summary.already_published += passed + position.was(line)
            if number < skip or (number == skip and position.was(line)):
                if not is_blank and len(line) <= LINE_BYTES_MAX:
                    position.passed(line)
                    passed += 1
            elif is_blank:
                continue
            elif len(line) > LINE_BYTES_MAX:
                summary.too_long.append({"file": in_unicode(file.path), "line": number})
            else:
                if number == skip:  # a line that was still being written, as a rule
                    tables.notice(
                        f"{_name(file)}, line {number}: has changed since it was published, and is published again."
                    )
                head = _head(line)
                topic, key = _address(head)
                summary.no_events += key is None and not head.type
                publisher.send(position, number, line, topic, key)
        last = first + len(lines) - 1
        publisher.reap()
        progress(read_before + file.bytes_read, publisher.acknowledged)
    return last >= skip


def topics_digest(settings: Settings, topics: Sequence[str]) -> str:
    """Tells these topics from others of the same names: of their ids, which a topic made anew does not keep."""
    ids = sorted(topic_ids(settings, topics, seconds_max=METADATA_SECONDS_MAX).values())
    return hashlib.sha256("|".join(ids).encode()).hexdigest()[:16]


def _print(summary: Summary, as_json: bool) -> None:
    if as_json:
        click.echo(msgspec.json.encode(asdict(summary)))
    else:
        before = f" ({summary.already_published:,} lines were published before)" if summary.already_published else ""
        click.echo(
            f"{summary.published:,} events published in {summary.seconds:,.1f} s, {summary.rate:,.0f} events/s{before}"
        )
    if summary.no_events:
        tables.notice(
            f"{summary.no_events:,} lines are no events, and intake will put them on lampit.rejected: give files of one JSON "
            "event a line."
        )
    for line in summary.too_long:
        tables.notice(f"{line['file']}, line {line['line']}: longer than 8 MiB, not published.")
    if summary.interrupted:
        tables.notice("Interrupted: the same command goes on from here.")


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), metavar="N", help="At most N events a second.")
@click.option(
    "--resume/--no-resume",
    default=True,
    show_default=True,
    help="Go on where the last run stopped, where the lines up to there are as they were; or begin at the first line. A "
    "repeat changes no figure.",
)
@click.option(
    "--state",
    metavar="FILE",
    help="Where the position acknowledged so far is kept; default: FILE.lampit-publish beside each file, and "
    "nowhere for standard input.",
)
@click.option("--json", "as_json", is_flag=True, help="The summary as one JSON object.")
def command(files: tuple[str, ...], rate: float | None, resume: bool, state: str | None, as_json: bool) -> None:
    """Send event files to the intake topics.

    FILE holds one event a line, plain or compressed by gzip or zstd; - is standard input. Every line is sent as it is to
    the topic of its type; lines that are no events too, and intake refuses those with a reason. The broker is that of
    the settings (LAMPIT_BOOTSTRAP_SERVERS).

    Of a file that was published before, only what came to its end since is sent. Where a line before has changed, the
    command says so and sends the whole file again, which changes nothing for the lines that are as they were; of standard
    input it asks for --no-resume.

    \b
    Examples:
      lampit publish events.jsonl
      lampit publish 2018.jsonl.gz 2019.jsonl.zst --rate 5000
      zcat archive.gz | lampit publish - --state archive.position
    """
    settings = load_settings()
    opened = open_all(files)
    # What goes wrong is told in one sentence at the end; the client's own lines about every attempt are not.
    configure_logging(logging.CRITICAL)
    ensure_topics(settings)
    digest = topics_digest(settings, INTAKE_TOPICS)
    states = States([file.path for file in opened if state or file.path != STANDARD_INPUT], state, digest)
    with stop_signals() as stopped, Publisher(settings, states, stopped) as publisher:
        summary, exit_code = publish(opened, publisher, states, rate, resume)
    _print(summary, as_json)
    raise click.exceptions.Exit(exit_code)
