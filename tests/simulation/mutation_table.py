"""The table of faults of the agents: each of `tests/simulation/mutations.py`, and the seed of the simulation that finds it.

In: the packages as they are. Out: fault → seed and finding, on standard output; exit code 1 when a fault is found by no seed.
Each fault is put into a copy of the packages of its own, by the mechanics of `tests/mutation_table.py`; the simulation runs
against the copy.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import click

from lampit.tables import notice
from tests.mutation_table import PACKAGES, chosen_of, make_copy, print_faults, progress
from tests.mutations import Mutation
from tests.simulation.mutations import MUTATIONS, SEEDS

FINDING_CHARACTERS_MAX: Final = 110


class Found(NamedTuple):
    """The first seed that fails, and what it says; none: seed is None, and output is what was said otherwise."""

    mutation: Mutation
    seed: int | None
    finding: str
    output: str

    def as_json(self) -> dict[str, Any]:
        """For a program."""
        name, file = self.mutation.name, self.mutation.file
        return {"fault": name, "file": file, "seed": self.seed, "finding": self.finding}


def search(mutation: Mutation, seeds: int) -> Found:
    """Run seeds against a copy with the fault until one fails; first the one that found it last."""
    known = SEEDS.get(mutation.name)
    with tempfile.TemporaryDirectory() as folder:
        make_copy(Path(folder), mutation, (*PACKAGES, "bench"))
        if known is not None and (found := _run(mutation, Path(folder), known, 1)).seed is not None:
            return found
        return _run(mutation, Path(folder), 1, seeds)


def _run(mutation: Mutation, folder: Path, first_seed: int, seeds: int) -> Found:
    command = [sys.executable, "-m", "tests.simulation", "--stop-at-first", "--json"]
    command += ["--first-seed", str(first_seed), "--seeds", str(seeds)]
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(folder)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    try:
        failed = [one for one in json.loads(done.stdout)["seeds"] if one["findings"]]
    except json.JSONDecodeError:
        failed = []
    if not failed:
        return Found(mutation, None, "nothing", done.stdout[-2000:] + done.stderr[-2000:])
    return Found(mutation, failed[0]["seed"], failed[0]["findings"][0], "")


def print_table(found: list[Found]) -> None:
    """Fault → seed, finding."""
    rows = [
        (one.mutation, None if one.seed is None else str(one.seed), one.finding[:FINDING_CHARACTERS_MAX])
        for one in found
    ]
    print_faults(("seed", "what it says"), rows)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--seeds", default=400, show_default=True, type=click.IntRange(1), help="Seeds that are tried for each fault."
)
@click.option("--processes", default=2, show_default=True, type=click.IntRange(1), help="Faults looked for at once.")
@click.option("--only", default="", metavar="TEXT", help="Only faults with TEXT in their name or file.")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")
def main(seeds: int, processes: int, only: str, as_json: bool) -> None:
    """Make every fault in a copy of the packages and print which seed of the simulation finds it; exit code 1 when none does.

    Example: python -m tests.simulation.mutation_table --only fence
    """
    chosen = chosen_of(MUTATIONS, only)
    found = []
    with progress() as shown, ThreadPoolExecutor(processes) as pool:
        task = shown.add_task("faults", total=len(chosen))
        for one in pool.map(partial(search, seeds=seeds), chosen):
            found.append(one)
            if not sys.stderr.isatty():  # it takes minutes: where no bar is shown, say what was found so far
                notice(f"{one.mutation.name}: {'nothing' if one.seed is None else f'seed {one.seed}'}")
            shown.update(task, advance=1)
    if as_json:
        click.echo(json.dumps([one.as_json() for one in found], indent=2, ensure_ascii=False))
    else:
        print_table(found)
    missed = [one for one in found if one.seed is None]
    for one in missed:
        notice(f"{one.mutation.name}: found by no seed\n{one.output}")
    notice(f"{len(found)} faults, {len(found) - len(missed)} found, {len(missed)} not found")
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()
