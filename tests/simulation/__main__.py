"""The command: many seeds, and of each that fails the command that repeats it.

In: options. Out: a table or, with --json, one object; exit code 1 where anything was found. Called by `make simulate`, by
`tests/unit/test_simulation.py` and by `tests/simulation/mutation_table.py`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import click
from rich.console import Console

from tests.mutation_table import progress
from tests.simulation.run import Outcome, run_seed

FINDINGS_SHOWN_MAX = 5
HASH_SEED = "0"
"""Of the interpreter: without it the order in sets of strings, and so a seed, would differ from process to process."""


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--seeds", default=100, show_default=True, type=click.IntRange(1), help="How many.")
@click.option("--first-seed", default=1, show_default=True, help="The first of them.")
@click.option("--processes", default=1, show_default=True, type=click.IntRange(1), help="Seeds run at once.")
@click.option("--stop-at-first", is_flag=True, help="Run no more seeds after one that fails.")
@click.option(
    "--trace", type=click.Path(dir_okay=False), help="Write everything that happened in the last seed to a file."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
def main(seeds: int, first_seed: int, processes: int, stop_at_first: bool, trace: str | None, as_json: bool) -> None:
    """Run the agents' own code on a Kafka in memory, where a seed decides what comes when, what is lost and who ends where.

    A seed takes about a third of a second. Exit code 1: figures, lists, closings or rejects were wrong or missing in the end.

    \b
    Examples:
      python -m tests.simulation --seeds 1000 --processes 2
      python -m tests.simulation --first-seed 54 --seeds 1 --trace trace.txt
    """
    began = time.monotonic()
    found: list[Outcome] = []
    with progress() as shown:
        task = shown.add_task("seeds", total=seeds)
        for outcome in outcomes(range(first_seed, first_seed + seeds), processes, keep_trace=trace is not None):
            found.append(outcome)
            shown.update(task, advance=1)
            if outcome.findings:
                _tell(outcome)
                if stop_at_first:
                    break
    if trace is not None:
        Path(trace).write_text("\n".join(found[-1].lines) + "\n", encoding="utf-8")
    failed = [outcome for outcome in found if outcome.findings]
    seconds = time.monotonic() - began
    if as_json:
        click.echo(json.dumps({"seconds": round(seconds, 1), "seeds": [one.as_json() for one in found]}))
    else:
        lives = sum(outcome.lives for outcome in found)
        events = sum(outcome.events for outcome in found)
        hours = sum(outcome.virtual_seconds for outcome in found) / 3600
        click.echo(
            f"{len(found)} seeds, {events:,} events, {lives:,} lives of processes, {hours:.1f} virtual hours in "
            f"{seconds:.0f} s: {len(failed)} failed"
        )
    sys.exit(bool(failed))


def outcomes(seeds: range, processes: int, *, keep_trace: bool = False) -> Iterator[Outcome]:
    """One after the other, or several at once."""
    if processes == 1:
        for seed in seeds:
            yield run_seed(seed, keep_trace=keep_trace)
        return
    with ProcessPoolExecutor(processes) as pool:
        yield from pool.map(run_seed, seeds, chunksize=4)


def _tell(outcome: Outcome) -> None:
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(f"seed {outcome.seed} failed; again: {outcome.repeat}", markup=False)
    for line in outcome.findings[:FINDINGS_SHOWN_MAX]:
        console.print(f"  {line}", markup=False)


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != HASH_SEED:
        # So that a seed is the same in every process; the interpreter takes this only at its start.
        os.environ["PYTHONHASHSEED"] = HASH_SEED
        os.execv(sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]])
    main()
