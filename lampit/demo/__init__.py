"""`lampit demo`: everything in one command, on this machine, with made-up events.

In: options. Out: an embedded broker, the agents and the page, until it is stopped; or, with --once, a few days and a check.
The command is here; data.py says what happens, system.py runs the processes, play.py the days.
"""

from __future__ import annotations

from typing import Final

import click

PORT_DEFAULT: Final = 6068
_PORT_MAX: Final = 65535


@click.command()
@click.option(
    "--once", is_flag=True, help="Play a few days at once, compare every figure with a count at once, and end."
)
@click.option("--seed", type=int, default=1, show_default=True, help="Another seed makes other people and events.")
@click.option(
    "--speed",
    "days_per_minute",
    type=click.FloatRange(0.1, 600),
    default=12.0,
    show_default=True,
    metavar="DAYS_PER_MINUTE",
    help="How fast the days go by.",
)
@click.option(
    "--port",
    type=click.IntRange(1, _PORT_MAX),
    help=f"Port of the page  [default: {PORT_DEFAULT}, or a free one]",
)
@click.option("--days", type=click.IntRange(1, 2_000), help="Days to play  [default: 120; with --once 4]")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
def demo(once: bool, seed: int, days_per_minute: float, port: int | None, days: int | None, as_json: bool) -> None:
    """Show Lampit at work: an embedded broker, all agents, live events and the page.

    The figures of 2019 that were published open the books; the people and events after them are made up. Nothing is kept.

    \b
    Examples:
      lampit demo
      lampit demo --speed 60 --port 8080
      lampit demo --once --json
    """
    from lampit.demo.play import Options, play

    raise click.exceptions.Exit(play(Options(once, seed, days_per_minute, _page_port(port, once), days, as_json)))


def _page_port(asked: int | None, once: bool) -> int | None:
    """The port asked for, if it is free; else the usual one; None for any free one."""
    if once and asked is None:
        return None
    if _is_free(asked or PORT_DEFAULT):
        return asked or PORT_DEFAULT
    if asked is None:
        return None
    raise click.UsageError(f"Port {asked} is in use: choose another one with --port, or leave the option out.")


def _is_free(port: int) -> bool:
    import socket

    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
