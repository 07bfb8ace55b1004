"""`lampit doctor`: what is wrong with an installation, and what to do about it; nothing is changed by asking.

In: the settings as every process reads them, addresses of processes. Out: a table or JSON, and an exit code. The checks are in
`cluster` (Kafka) and `local` (this machine).
"""

from __future__ import annotations

import logging
import re
from typing import Final

import click
import msgspec

from agents.errors import ConfigurationError
from agents.settings import load_settings
from lampit.cli import EXIT_PROBLEM
from lampit.doctor.findings import Finding, as_json, ok, refused, show, worst

_ADDRESS: Final = re.compile(r"https?://(\[[0-9A-Fa-f:.]+\]|[^\s/:?#@\[\]]+)(?::([0-9]{1,5}))?(/[^\s?#]*)?", re.ASCII)
_PORT_MAX: Final = 65535


def examine(addresses: tuple[str, ...], broker_seconds_max: float) -> list[Finding]:
    """Every check, as far as it can be made."""
    try:
        settings = load_settings()
    except ConfigurationError as error:
        return [refused("settings", str(error))]
    from lampit.doctor import cluster, local

    try:
        settings.pseudonym_keys()
        found = [ok("settings", "they fit together, and the pseudonym key can be read")]
    except ConfigurationError as error:
        found = [refused("settings", str(error))]
    of_kafka, log = cluster.check(settings, broker_seconds_max)
    return [*found, *of_kafka, *local.check(settings, log, addresses)]


def _addresses(ctx: click.Context, option: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
    """Addresses of processes, as click asks for them."""
    for address in given:
        match = _ADDRESS.fullmatch(address)
        if match is None or int(match[2] or 1) > _PORT_MAX:
            raise click.BadParameter(f"{address!r} is no address of a process: write it as http://HOST:PORT.")
    return given


@click.command()
@click.option(
    "--process",
    "addresses",
    multiple=True,
    callback=_addresses,
    metavar="URL",
    help="Also ask the process there whether it is ready (http://host:port); may be given several times.",
)
@click.option("--json", "as_object", is_flag=True, help="One JSON object on standard output.")
@click.option(
    "--broker-seconds",
    type=click.FloatRange(0.1),
    default=10.0,
    show_default=True,
    help="How long a broker that does not answer is waited for.",
)
def command(addresses: tuple[str, ...], as_object: bool, broker_seconds: float) -> None:
    """Say what is wrong with this installation, and what to do about it.

    Looks at the settings (LAMPIT_* and LAMPIT_CONFIG, as every process reads them), the brokers, the topics and their
    configuration, how far each group is, key and settings against the ledger, clocks, disk, the stores below
    LAMPIT_DATA_DIR, the archive and the key that signs it, the snapshots, and the processes named. Nothing is changed: no
    topic is made, no group joined, no store opened for writing. Run it where a ledger worker runs, with that worker's
    settings, to see its stores.

    \b
    Examples:
      lampit doctor
      lampit doctor --process http://127.0.0.1:6066 --process http://127.0.0.1:6067 --json

    Exit codes: 0 nothing is wrong (there may be warnings), 1 something is, 2 wrong usage.
    """
    # What the Kafka clients log on the way is in the findings.
    for name in ("kafka", "aiokafka"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    found = examine(addresses, broker_seconds)
    if as_object:
        click.echo(msgspec.json.encode(as_json(found)))
    else:
        show(found)
    if worst(found) == "problem":
        raise click.exceptions.Exit(EXIT_PROBLEM)
