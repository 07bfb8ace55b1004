"""Plays the demonstration: once with a check at the end, or day after day until it is stopped.

In: the options of `lampit demo`. Out: what is shown, and an exit code. Called by the command in `lampit.demo`.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from itertools import groupby
from typing import Any, Final, NamedTuple

import click
import msgspec

from agents.producer import Producer
from lampit.demo import check
from lampit.demo.data import OPENING_DAY, demo_events, page_notes
from lampit.demo.feed import Feed
from lampit.demo.system import System
from lampit.tables import notice, print_coverage
from stream.regions import COUNTRY

Event = dict[str, Any]

EXIT_OK: Final = 0
EXIT_DIFFERENT: Final = 1
ONCE_PEOPLE: Final = 1_500
ONCE_DAYS: Final = 4
LIVE_PEOPLE: Final = 4_000
LIVE_DAYS: Final = 120
"""Four months: long enough to see balances grow stale after 90 days. The embedded broker keeps everything in memory."""

_SHARES_A_SECOND: Final = 4
_SECONDS_A_MINUTE: Final = 60.0


class Options(NamedTuple):
    """What the user asked for."""

    once: bool
    seed: int
    days_per_minute: float
    port: int | None
    days: int | None
    as_json: bool

    @property
    def people(self) -> int:
        """Of the register."""
        return ONCE_PEOPLE if self.once else LIVE_PEOPLE

    @property
    def days_played(self) -> int:
        """After the opening day."""
        return self.days if self.days is not None else (ONCE_DAYS if self.once else LIVE_DAYS)


def play(options: Options) -> int:
    """Run the demonstration; the exit code."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as tidily as Ctrl-C, while it starts too
    with System(options.port, page_notes(options.people)) as system:
        with _step("Starting the broker"):
            system.start_broker()
        with _step("Starting the agents"):
            system.start_agents()
        return asyncio.run(_once(system, options) if options.once else _live(system, options))


async def _once(system: System, options: Options) -> int:
    """Send every day as fast as it goes, then compare what was published with a count at once."""
    async with Producer(system.settings, name="lampit-demo") as producer:
        feed = Feed(system, producer)
        closing = OPENING_DAY
        with _step("Sending the events"):
            for day, events in _by_day(options):
                await feed.begin_day(day)
                await feed.send(events)
                closing = day + timedelta(days=1)
        with _step("Waiting for the agents"):
            await system.wait_until_ready()
        with _step("Waiting for the figures"):
            await check.wait_for_ledger(system.settings, feed.expected, feed.rejected)
            # The next day is the last record of every partition: whoever has reached it has applied all before.
            await feed.begin_day(closing)
            ends = await check.wait_for_ledger(system.settings, feed.expected, feed.rejected)
            published = await check.covering(system.settings, ends)
    counted = feed.count(closing).regions
    differences = check.differences(published, counted)
    _report(options, feed, published, differences, closing)
    return EXIT_DIFFERENT if differences else EXIT_OK


def _report(
    options: Options, feed: Feed, published: check.Records, differences: list[check.Difference], day: date
) -> None:
    shown = [record for _, record in sorted(published.items()) if record["level"] != "village"]
    if options.as_json:
        result = {
            "equal": not differences,
            "as_of": day.isoformat(),
            "seed": options.seed,
            "events": feed.sent,
            "rejected": feed.rejected,
            "regions": [record for _, record in sorted(published.items())],
            "differences": [one._asdict() for one in differences],
        }
        click.echo(msgspec.json.encode(result))
        return
    print_coverage([record for record in shown if record["opening"] != "parent"])
    for difference in differences:
        notice(check.describe(difference))
    sentence = (
        f"{len(differences)} regions differ from a count at once."
        if differences
        else "Every region equals a count at once."
    )
    notice(
        f"End of {day}: {feed.sent:,} events sent, {feed.rejected} rejected, {len(published):,} regions published. {sentence}"
    )


async def _live(system: System, options: Options) -> int:
    """Open the books, show where the page is, play on until Ctrl-C or SIGTERM."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    playing = asyncio.create_task(_play_on(system, options))
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait({playing, stopped}, return_when=asyncio.FIRST_COMPLETED)
    playing.cancel()
    stopped.cancel()
    # A failure of the play is the command's; being stopped is not one.
    outcome = (await asyncio.gather(playing, return_exceptions=True))[0]
    if isinstance(outcome, BaseException) and not isinstance(outcome, asyncio.CancelledError):
        raise outcome
    notice("Stopping …")
    return EXIT_OK


async def _play_on(system: System, options: Options) -> None:
    async with Producer(system.settings, name="lampit-demo") as producer:
        feed = Feed(system, producer)
        for day, events in _by_day(options):
            await feed.begin_day(day)
            if day == OPENING_DAY:
                with _step("Opening the books"):
                    await feed.send(events)
                with _step("Waiting for the agents"):
                    await system.wait_until_ready()
                with _step("Waiting for the figures"):
                    # Ready agents may have nothing to show yet: whoever opens the page sees the opened books.
                    ends = await check.wait_for_ledger(system.settings, feed.expected, feed.rejected)
                    await system.wait_until_shown(ends)
                _say_where(system, options)
                continue
            _say_day(options, day, len(events))
            await _send_over(feed, events, _SECONDS_A_MINUTE / options.days_per_minute, system)
        notice("The last day is played; the page stays until Ctrl-C.")
        while True:
            await asyncio.sleep(1)
            system.check()


async def _send_over(feed: Feed, events: list[Event], seconds: float, system: System) -> None:
    """Send a day's events evenly over so many seconds."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    shares = max(1, round(seconds * _SHARES_A_SECOND))
    for share in range(shares):
        await feed.send(events[len(events) * share // shares : len(events) * (share + 1) // shares])
        system.check()
        await asyncio.sleep(max(0.0, began + seconds * (share + 1) / shares - loop.time()))


def _by_day(options: Options) -> Iterator[tuple[date, list[Event]]]:
    """The opening day and those after it; a day may be without events."""
    events = demo_events(options.seed, options.people, options.days_played)
    for day, of_day in groupby(events, key=lambda one: one.day):
        yield day, [one.event for one in of_day]


def _say_where(system: System, options: Options) -> None:
    if options.as_json:
        click.echo(msgspec.json.encode({"page": system.page, "metrics": f"{system.page}metrics"}))
        return
    click.echo(
        f"\n  Page     {system.page}\n  Metrics  {system.page}metrics\n  Regions  {system.page}api/coverage/{COUNTRY}"
    )
    last = OPENING_DAY + timedelta(days=options.days_played)
    click.echo(f"\nPlaying {options.days_per_minute:g} days a minute, until {last}. Ctrl-C ends it.\n")


def _say_day(options: Options, day: date, events: int) -> None:
    if options.as_json:
        click.echo(msgspec.json.encode({"day": day.isoformat(), "events": events}))
    else:
        click.echo(f"  {day:%a %d %B %Y}  {events:>5,} events")


@contextmanager
def _step(title: str) -> Iterator[None]:
    """What is being waited for: a spinner on a terminal, a line elsewhere."""
    if not sys.stderr.isatty():
        notice(f"{title} …")
        yield
        return
    from rich.console import Console

    console = Console(stderr=True)
    with console.status(f"{title} …"):
        yield
    console.print(f"[green]✓[/] {title}")
