"""The chaos table: every fault, some seeds, and how many regions were wrong.

In: options. Out: a table or, with --json, one object; the exit code is 1 where anything was found. Called by `make chaos`.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from dataclasses import dataclass, field

import click
from rich.console import Console
from rich.table import Table

from tests.brokers import kafka_missing
from tests.chaos.cluster import Cluster
from tests.chaos.faults import FAULTS
from tests.chaos.run import Outcome, run_fault


@dataclass
class Row:
    """One line of the table."""

    fault: str
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def cells(self) -> list[str]:
        """As the table shows them."""
        return [
            self.fault,
            FAULTS[self.fault].what,
            str(len(self.outcomes)),
            f"{sum(one.events for one in self.outcomes):,}",
            f"{sum(one.regions for one in self.outcomes):,}",
            f"{sum(one.closings for one in self.outcomes):,}",
            str(sum(sum(one.ended.values()) for one in self.outcomes)),
            str(sum(one.wrong_regions for one in self.outcomes)),
            str(sum(bool(one.findings) for one in self.outcomes)),
            f"{sum(one.seconds for one in self.outcomes):.0f}",
        ]


HEADINGS = (
    "fault", "what is done", "seeds", "events", "regions", "closings", "restarts", "wrong regions", "failed", "seconds",
)  # fmt: skip


@click.command()
@click.option("--seeds", default=1, show_default=True, help="Seeds of each fault.")
@click.option("--first-seed", default=1, show_default=True, help="The first of them.")
@click.option(
    "--fault", "names", multiple=True, type=click.Choice(list(FAULTS)), help="Only this one; may be repeated."
)
@click.option("--events", default=800, show_default=True, help="Events of people in one run; stories come on top.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of the table.")
@click.option("--list", "only_list", is_flag=True, help="Name the faults and end.")
def main(seeds: int, first_seed: int, names: tuple[str, ...], events: int, as_json: bool, only_list: bool) -> None:
    """Put faults to the live agents on a Kafka of three brokers, and compare every region with the count.

    One run takes half a minute to two. Exit code 1: something was wrong; each such run names the command that repeats it.

    \b
    Examples:
      python -m tests.chaos --seeds 3
      python -m tests.chaos --fault kill --fault broker-lost --first-seed 7 --seeds 1 --json
    """
    if only_list:
        for fault in FAULTS.values():
            click.echo(f"{fault.name:24} {fault.what}")
        return
    if missing := kafka_missing():
        raise click.UsageError(missing)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # workers and brokers end with this process
    rows = [Row(name) for name in names or FAULTS]
    began = time.monotonic()
    progress = Console(stderr=True, highlight=False)
    try:
        with Cluster() as cluster:
            for row in rows:
                for seed in range(first_seed, first_seed + seeds):
                    outcome = run_fault(cluster, FAULTS[row.fault], seed, people_events=events)
                    row.outcomes.append(outcome)
                    _tell(progress, outcome)
    finally:  # ended in the middle too: what has been seen
        _show([row for row in rows if row.outcomes], as_json, time.monotonic() - began)
    if any(outcome.findings for row in rows for outcome in row.outcomes):
        sys.exit(1)


def _tell(progress: Console, outcome: Outcome) -> None:
    """One run, as soon as it is over."""
    said = "\n".join(outcome.findings[:20])
    verdict = f"FAILED: {outcome.repeat}\n{said}" if outcome.findings else "right"
    progress.print(f"{outcome.fault} {outcome.seed}: {outcome.seconds} s, {verdict}", markup=False)
    for how, often in outcome.ended.items():
        progress.print(f"  {often} x {how}", markup=False)
    for point, often in outcome.crashed.items():
        progress.print(f"  {often} x at {point}", markup=False)


def _show(rows: list[Row], as_json: bool, seconds: float) -> None:
    if as_json:
        runs = [outcome.as_json() for row in rows for outcome in row.outcomes]
        click.echo(json.dumps({"seconds": round(seconds, 1), "runs": runs}, ensure_ascii=False))
        return
    table = Table(*HEADINGS)
    for row in rows:
        table.add_row(*row.cells)
    Console(width=160).print(table)


if __name__ == "__main__":
    main()
