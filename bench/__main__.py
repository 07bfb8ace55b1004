"""`python -m bench NAME`: measure, show a table, append a line to bench/results.jsonl."""

from __future__ import annotations

import json
import logging
import signal
import sys
from collections.abc import Callable

import click

from bench import results
from bench.results import Result


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def main() -> None:
    """Benchmarks. Each shows a table and appends one line to bench/results.jsonl.

    \b
    Examples:
      python -m bench count
      python -m bench live --events 100000
      python -m bench table
    """
    # What is expected while topics are new; a failure raises.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    # A run that is stopped ends what it has started.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))


_repeats = click.option("--repeats", type=click.IntRange(1), default=3, show_default=True, help="Times to measure.")
_seed = click.option("--seed", type=int, default=1, show_default=True, help="Seed of the made-up events.")

_partitions = click.option(
    "--partitions",
    type=click.Choice(["1", "2", "4"]),
    default="4",
    show_default=True,
    help="LAMPIT_PARTITIONS of the job.",
)


def _events(default: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return click.option(
        "--events", "count", type=click.IntRange(1000), default=default, show_default=True, help="How many events."
    )


def _pace(*, rate: int, rate_min: int, warm_up: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Of a benchmark that sends at a steady rate: the rate, how long, and how long before that."""
    at_least_one = click.IntRange(1)
    options = (
        click.option("--rate", type=click.IntRange(rate_min), default=rate, show_default=True, help="Events a second."),
        click.option("--seconds", type=at_least_one, default=30, show_default=True, help="How long."),
        click.option(
            "--warm-up", type=at_least_one, default=warm_up, show_default=True, help="Seconds before, at the same rate."
        ),
    )

    def with_options(command: Callable[..., None]) -> Callable[..., None]:
        for option in reversed(options):
            command = option(command)
        return command

    return with_options


@main.command()
@_events(500_000)
@_repeats
@_seed
@click.option("--sql/--no-sql", default=True, show_default=True, help="Also run the SQL engine once, and compare.")
def count(count: int, repeats: int, seed: int, sql: bool) -> None:
    """`lampit count` on one core, beside a loop of json.loads and counters over the same lines.

    \b
    Examples:
      python -m bench count
      python -m bench count --events 2000000 --repeats 5 --no-sql
    """
    from bench import counting

    _finish(counting.measure(count, repeats, seed, sql))


@main.command("catch_up")
@_events(400_000)
@_repeats
@_seed
def catch_up(count: int, repeats: int, seed: int) -> None:
    """One ledger worker on one core reads a whole ledger into an empty store, on Kafka.

    \b
    Examples:
      python -m bench catch_up
      python -m bench catch_up --events 1000000 --repeats 1
    """
    from bench import catching_up

    _finish(catching_up.measure(count, repeats, seed))


@main.command()
@_events(400_000)
@click.option("--workers", type=click.Choice(["2", "4"]), default="2", show_default=True, help="Ledger workers.")
@_repeats
@_seed
def workers(count: int, workers: str, repeats: int, seed: int) -> None:
    """Several ledger workers work off a ledger together, on all cores, beside one alone.

    \b
    Examples:
      python -m bench workers
      python -m bench workers --events 100000 --repeats 1
    """
    from bench import several_workers

    _finish(several_workers.measure(count, int(workers), repeats, seed))


@main.command()
@_events(1_000_000)
@click.option("--workers", type=click.Choice(["1", "2", "4"]), default="2", show_default=True, help="Ledger workers.")
@_partitions
@_repeats
@_seed
@click.option("--peer-events", type=click.IntRange(100), default=20_000, show_default=True, help="Events of the peer.")
def live(count: int, workers: str, partitions: str, repeats: int, seed: int, peer_events: int) -> None:
    """Intake, ledger workers and roll-up work off a backlog of raw events, on Kafka, until the country's figure is exact.

    \b
    Examples:
      python -m bench live
      python -m bench live --events 50000 --repeats 1
      python -m bench live --partitions 2
    """
    from bench import whole_job

    if int(partitions) < int(workers):
        raise click.UsageError("a ledger worker without a partition counts nothing: as many --partitions as --workers.")
    _finish(whole_job.measure(count, int(workers), int(partitions), repeats, seed, peer_events))


@main.command()
@_pace(rate=500, rate_min=1, warm_up=60)
@_seed
def latency(rate: int, seconds: int, warm_up: int, seed: int) -> None:
    """Time from sending an event until a subscriber can read the country's figure that holds it.

    \b
    Examples:
      python -m bench latency
      python -m bench latency --rate 1000 --seconds 60
    """
    from bench import delay

    _finish(delay.measure(rate, seconds, warm_up, seed))


@main.command("latency_loaded")
@_pace(rate=17_000, rate_min=100, warm_up=30)
@_seed
@_partitions
def latency_loaded(rate: int, seconds: int, warm_up: int, seed: int, partitions: str) -> None:
    """The same at half the rate that the whole job keeps up, or at any other.

    \b
    Examples:
      python -m bench latency_loaded
      python -m bench latency_loaded --rate 5000 --seconds 60
      python -m bench latency_loaded --partitions 1
    """
    from bench import delay_loaded

    _finish(delay_loaded.measure(rate, seconds, warm_up, seed, int(partitions)))


@main.command()
@_events(1_000_000)
@_repeats
@_seed
def archive(count: int, repeats: int, seed: int) -> None:
    """The archive worker on one core writes a whole ledger into Parquet segments, from Kafka.

    \b
    Examples:
      python -m bench archive
      python -m bench archive --events 400000 --repeats 1
    """
    from bench import archiving

    _finish(archiving.measure(count, repeats, seed))


@main.command()
@click.option("--people", type=click.IntRange(1000), default=15_000_000, show_default=True, help="On the register.")
@_events(5_000_000)
@_repeats
def explain(people: int, count: int, repeats: int) -> None:
    """Why a regency's figure changed in a month, from an index of a province's archive and from the archive itself.

    \b
    Examples:
      python -m bench explain
      python -m bench explain --people 300000 --events 100000
    """
    from bench import explaining

    _finish(explaining.measure(people, count, repeats))


@main.command("sql_count")
@click.option("--people", type=click.IntRange(1000), default=1_500_000, show_default=True, help="On the register.")
@_events(500_000)
@_repeats
@click.option("--memory", default="8GiB", show_default=True, help="What the SQL count may take.")
@click.option("--compare/--no-compare", default=True, show_default=True, help="Also run the agents' engine once.")
def sql_count(people: int, count: int, repeats: int, memory: str, compare: bool) -> None:
    """The audit's SQL count over an archive, beside a bare DuckDB query over the same segments.

    The agents' engine keeps all people in memory: with tens of millions of them, --no-compare.

    \b
    Examples:
      python -m bench sql_count
      python -m bench sql_count --people 300000 --events 100000 --repeats 1
      python -m bench sql_count --people 37500000 --events 12500000 --repeats 1 --no-compare
    """
    from bench import sql_counting

    _finish(sql_counting.measure(people, count, repeats, memory, compare))


@main.command()
@click.option("--people", type=click.IntRange(1000), default=10_000_000, show_default=True, help="On the register.")
@_seed
def scale(people: int, seed: int) -> None:
    """One ledger worker's memory, disk and processor time with a large register, without Kafka; takes about 15 minutes.

    \b
    Examples:
      python -m bench scale
      python -m bench scale --people 1000000
    """
    from bench import scaling

    _finish(scaling.measure(people, seed))


@main.command()
@_repeats
def scrape(repeats: int) -> None:
    """A scrape of the roll-up's /metrics, country to district, and of one province's villages, while figures change.

    \b
    Examples:
      python -m bench scrape
      python -m bench scrape --repeats 1
    """
    from bench import scraping

    _finish(scraping.measure(repeats))


@main.command()
@click.option("--months", type=click.IntRange(2), default=4, show_default=True, help="How many are closed.")
@click.option("--partitions", type=click.IntRange(1), default=8, show_default=True, help="Of the ledger.")
@click.option(
    "--province", default="16", show_default=True, metavar="CODE", help="Whose villages; ID for all there are."
)
@_repeats
@_seed
def closings(months: int, partitions: int, repeats: int, seed: int, province: str) -> None:
    """What the roll-up holds for the monthly closings of a province, and how long it takes to close a month.

    \b
    Examples:
      python -m bench closings
      python -m bench closings --months 12 --repeats 1
      python -m bench closings --months 2 --partitions 16 --repeats 1 --province ID
    """
    from bench import closing_months

    _finish(closing_months.measure(months, partitions, repeats, seed, province))


@main.command()
@click.option("--minutes", type=click.IntRange(1), default=60, show_default=True, help="How long.")
@click.option("--rate", type=click.IntRange(1), default=150, show_default=True, help="Events a second.")
@_seed
def memory(minutes: int, rate: int, seed: int) -> None:
    """What intake, ledger worker and roll-up hold in memory through an hour of steady load.

    \b
    Examples:
      python -m bench memory
      python -m bench memory --minutes 10 --rate 500
    """
    from bench import long_load

    _finish(long_load.measure(minutes, rate, seed))


@main.command()
@_events(200_000)
@_repeats
@_seed
def compiled(count: int, repeats: int, seed: int) -> None:
    """Admission and folding on one core, without Kafka: the compiled core beside the same modules interpreted.

    \b
    Examples:
      python -m bench compiled
      python -m bench compiled --events 50000 --repeats 1
    """
    from bench import compiled_core

    _finish(compiled_core.measure(count, repeats, seed))


@main.command()
@_events(200_000)
@_seed
@click.option("--top", type=click.IntRange(1), default=15, show_default=True, help="Lines of each table.")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of tables.")
def profile(count: int, seed: int, top: int, as_json: bool) -> None:
    """Where the processor time of an event goes, in intake and in a ledger worker: by module and by function, sampled.

    \b
    Examples:
      python -m bench profile
      python -m bench profile --events 50000 --json
    """
    from bench import profiling

    profiles = profiling.measure(count, seed)
    if as_json:
        click.echo(json.dumps([one.as_json() for one in profiles], indent=2))
    else:
        profiling.show(profiles, top)


@main.command()
@_events(500_000)
@_repeats
@_seed
@click.option(
    "--peer-events", type=click.IntRange(100), default=20_000, show_default=True, help="Events of naive_faust."
)
@click.option("--only", multiple=True, metavar="NAME", help="Only this peer beside Lampit; may be given several times.")
@click.option(
    "--kill", is_flag=True, help="Afterwards kill each engine halfway, start it again, and count what is wrong."
)
def peers(count: int, repeats: int, seed: int, peer_events: int, only: tuple[str, ...], kill: bool) -> None:
    """Lampit beside its peers: one job in two stages over the same events on Kafka, every village checked.

    Peers: bare_loop, kafka_streams, kafka_streams_exactly_once, quixstreams, quixstreams_exactly_once, naive_faust.

    \b
    Examples:
      python -m bench peers
      python -m bench peers --events 50000 --repeats 1 --only bare_loop --only kafka_streams_exactly_once
      python -m bench peers --repeats 1 --kill
    """
    from bench import beside_peers
    from bench.peer_run import PEERS

    unknown = set(only) - PEERS.keys()
    if unknown:
        raise click.BadParameter(f"no such peer: {', '.join(sorted(unknown))}", param_hint="--only")
    _finish(beside_peers.measure(count, repeats, seed, peer_events, only, kill))


@main.command("all")
@click.pass_context
def everything(context: click.Context) -> None:
    """Every benchmark with its defaults, one after the other.

    \b
    Example:
      python -m bench all
    """
    for command in (count, catch_up, live, latency, archive):
        results.say(f"--- {command.name}")
        context.invoke(command)


@main.command()
@click.option("--write", is_flag=True, help="Put it into bench/README.md instead of showing it.")
def table(write: bool) -> None:
    """The last figures of each benchmark as a table in Markdown.

    \b
    Examples:
      python -m bench table
      python -m bench table --write
    """
    shown = results.table(results.read())
    if write:
        results.write_table(shown)
    else:
        click.echo(shown)


def _finish(result: Result) -> None:
    results.record(result)


if __name__ == "__main__":
    main(prog_name="python -m bench")
