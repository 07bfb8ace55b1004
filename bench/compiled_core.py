"""The core compiled, beside the same modules interpreted: processor time of an event in intake and in a ledger worker.

In: made-up events. Out: CPU-seconds a million events for admission, for applying lives one after the other, and for applying
the same events mixed; stores and all, without Kafka. The interpreted ones run from a copy of the sources, in turn with the
others.
"""

from __future__ import annotations

import gc
import json
import random
import sys
import tempfile
import time
from pathlib import Path

import click

from agents.memory import keep_small
from bench import expected
from bench.machine import run_python, wait_until_quiet
from bench.people import events
from bench.profiling import catching_up
from bench.results import ROOT, Figures, Result, round_all, say, shown
from lampit import core
from stream.admission import Admitted
from tests.mutation_table import PACKAGES, make_copy


def measure(count: int, repeats: int, seed: int) -> Result:
    """Both in turn, `repeats` times."""
    if core() != "compiled":
        raise click.ClickException("The core is not compiled: make compile.")
    parameters = {"events": count, "repeats": repeats, "seed": seed, "cores": 1, "kafka": "none"}
    mark = ("mixed_cpu_seconds_per_million", "at_most", 18.0)
    result = Result("compiled", parameters, [], "the same modules interpreted", [], mark, exact=True)
    with tempfile.TemporaryDirectory(prefix="lampit-bench-") as folder:
        sources = Path(folder)
        make_copy(sources, None, (*PACKAGES, "bench"))
        for number in range(repeats):
            result.busy.append(wait_until_quiet())
            ours, theirs = _run(ROOT, count, seed), _run(sources, count, seed)
            result.exact = result.exact and ours.pop("totals") == theirs.pop("totals")
            result.repeats.append(round_all(ours))
            result.peer.append(round_all(theirs))
            mixed = "mixed_cpu_seconds_per_million"
            say(
                f"{number + 1} of {repeats}: compiled {shown(ours[mixed])}, interpreted {shown(theirs[mixed])} CPU-s/million"
            )
    return result


def _run(folder: Path, count: int, seed: int) -> Figures:
    figures: Figures = json.loads(
        run_python(["-m", "bench.compiled_core", str(count), str(seed)], folder=folder).output
    )
    return figures


def main(count: int, seed: int) -> Figures:
    """What one process takes; totals: the sum of all columns' totals, whose equality says that the same was counted."""
    keep_small()
    lines = list(events(count, seed))
    began = time.process_time()
    admitted = expected.admitted_events(lines)
    spent = time.process_time() - began
    ordered, totals = _apply(admitted)
    random.Random(seed).shuffle(admitted)
    mixed, mixed_totals = _apply(admitted)
    assert totals == mixed_totals
    figures = {"admission": spent, "in_order": ordered, "mixed": mixed}
    found = {f"{name}_cpu_seconds_per_million": value / count * 1_000_000 for name, value in figures.items()}
    return found | {"totals": totals}


def _apply(admitted: list[Admitted]) -> tuple[float, int]:
    with tempfile.TemporaryDirectory(prefix="lampit-bench-") as folder:
        desks, fetches = catching_up(Path(folder), admitted)
        gc.collect()
        keep_small()  # again, for what has been made by now
        began = time.process_time()
        for fetch in fetches:
            desks[fetch.partition].apply(fetch)
        spent = time.process_time() - began
        totals = [total for desk in desks for _, total in desk.store.every_total()]
        for desk in desks:
            desk.store.close()
    return spent, sum(total * (2 * place + 1) for place, total in enumerate(totals))


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]), int(sys.argv[2]))))
