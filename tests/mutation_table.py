"""The table of faults: each fault of `tests/mutations.py`, and the tests that catch it. `make mutations` prints it.

In: the packages as they are. Out: fault → caught by, on standard output; exit code 1 when a fault is caught by no test.
Each fault is put into a copy of the packages of its own; the tests of the count run against the copy: every story by the
core, the table of facts and states, the calendar, the roll-up of places, the monthly closings. A test that fails by
anything but an assertion catches nothing.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import click
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from lampit.tables import notice
from tests.brokers import ROOT
from tests.mutations import MUTATIONS, Mutation

PACKAGES: Final = ("schemas", "stream", "agents", "lampit", "tests")
TESTS: Final = (
    "tests/unit/test_scenarios.py",
    "tests/unit/test_state_table.py",
    "tests/unit/test_calendar.py",
    "tests/unit/test_rollup_of_places.py",
    "tests/unit/test_closings.py",
)
CHOICE: Final = "not sql and not backwards and not shuffled and not another_key"
SHOWN_MAX: Final = 2

_FAILED: Final = re.compile(r"^FAILED (\S+::.*?) - (.*)$", re.MULTILINE)


class Caught(NamedTuple):
    """What became of a fault: the tests whose assertion failed, and what else was said."""

    mutation: Mutation | None
    tests: list[str]
    passed: bool
    output: str


def run(mutation: Mutation | None) -> Caught:
    """Run the tests against a copy with the fault, or without any."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        make_copy(copy, mutation, PACKAGES)
        command = [sys.executable, "-m", "pytest", "-q", "--tb=no", "-p", "no:cacheprovider", "-k", CHOICE, *TESTS]
        environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "1000"}
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    failed = [(test.rpartition("::")[2], why) for test, why in _FAILED.findall(done.stdout)]
    tests = [test for test, why in failed if why.startswith(("assert ", "AssertionError"))]
    return Caught(mutation, tests, done.returncode == 0, done.stdout + done.stderr)


def make_copy(folder: Path, mutation: Mutation | None, packages: Iterable[str]) -> None:
    """The packages with the fault in them, or without any; as sources, for a compiled module would hide the fault."""
    for package in packages:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    if mutation is not None:
        path = folder / mutation.file
        source = path.read_text(encoding="utf-8")
        if source.count(mutation.text) != 1:
            raise click.ClickException(f"{mutation.name}: its text is not once in {mutation.file}.")
        path.write_text(source.replace(mutation.text, mutation.replacement), encoding="utf-8")


@contextmanager
def progress() -> Iterator[Progress]:
    """A bar on a terminal; silence anywhere else."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as shown:
        yield shown


def print_table(found: list[Caught]) -> None:
    """Fault → caught by."""
    rows = []
    for caught in found:
        assert caught.mutation is not None
        names = ", ".join(caught.tests[:SHOWN_MAX]) + (", …" if len(caught.tests) > SHOWN_MAX else "")
        rows.append((caught.mutation, str(len(caught.tests)) if caught.tests else None, names or "nothing"))
    print_faults(("tests", "caught by"), rows)


def print_faults(columns: tuple[str, str], rows: Iterable[tuple[Mutation, str | None, str]]) -> None:
    """A line a fault: what catches it in two columns, the first a number; red where that is None."""
    console = Console()
    table = Table(box=box.SIMPLE_HEAD if console.is_terminal else None, pad_edge=False)
    for column in ("fault", "file", *columns):
        table.add_column(column, no_wrap=not console.is_terminal, justify="right" if column == columns[0] else "left")
    for mutation, number, what in rows:
        style = "bold red" if number is None else ""
        table.add_row(mutation.name, mutation.file, "–" if number is None else number, what, style=style)
    Console(width=None if console.is_terminal else 240, markup=False).print(table)


def chosen_of(mutations: Iterable[Mutation], only: str) -> list[Mutation]:
    """Those with a text in their name or file; click.UsageError where there is none."""
    chosen = [mutation for mutation in mutations if only in mutation.name or only in mutation.file]
    if not chosen:
        raise click.UsageError(f"No fault has {only!r} in its name or file: leave --only out to make all.")
    return chosen


def as_json(found: list[Caught]) -> list[dict[str, Any]]:
    """The table for a program."""
    return [
        {"fault": caught.mutation.name, "file": caught.mutation.file, "caught_by": caught.tests}
        for caught in found
        if caught.mutation is not None
    ]


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--json", "json_output", is_flag=True, help="JSON instead of a table, with every test that catches.")
@click.option("--only", default="", metavar="TEXT", help="Only faults with TEXT in their name or file.")
def main(json_output: bool, only: str) -> None:
    """Make every fault in a copy of the packages and print which tests catch it; exit code 1 when none does.

    Example: python -m tests.mutation_table --only birthday
    """
    chosen = chosen_of(MUTATIONS, only)
    sound = run(None)
    if not sound.passed:
        raise click.ClickException(f"The tests fail without any fault, so they prove nothing:\n{sound.output[-2000:]}")
    found = []
    with progress() as shown, ThreadPoolExecutor(os.cpu_count()) as pool:
        task = shown.add_task("faults", total=len(chosen))
        for caught in pool.map(run, chosen):
            found.append(caught)
            shown.update(task, advance=1)
    if json_output:
        click.echo(json.dumps(as_json(found), indent=2, ensure_ascii=False))
    else:
        print_table(found)
    missed = [caught for caught in found if not caught.tests]
    for caught in missed:
        if not caught.passed and caught.mutation is not None:
            notice(f"{caught.mutation.name}: the tests broke down\n{caught.output[-2000:]}")
    notice(f"{len(found)} faults, {len(found) - len(missed)} caught, {len(missed)} not caught")
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()
