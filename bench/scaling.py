"""One ledger worker with a large register: what a person costs it, beside the same with a million people.

In: how many people. Out: memory and bytes a person on disk, seconds until the stores are open again, and whether an event still
costs what it did at first, as of a worker that has a core to itself and another one for RocksDB's merging. The work is that of
bench/at_scale.py, each size in a process of its own.
"""

from __future__ import annotations

import json
import tempfile
from typing import Final

from bench.machine import forget_children, run_python
from bench.results import Figures, Result, round_all, say, shown

PEER_PEOPLE: Final = 1_000_000


def measure(people: int, seed: int) -> Result:
    """First a million people, then all of them."""
    parameters = {"people": people, "events_per_person": 1.6, "seed": seed, "partitions": 4, "kafka": "none"}
    result = Result("scale", parameters, [], "the same with a million people", [], ("memory_max_mib", "at_most", 300.0))
    result.peer.append(_run(min(people, PEER_PEOPLE), seed))
    result.repeats.append(_run(people, seed))
    return result


def _run(people: int, seed: int) -> Figures:
    with tempfile.TemporaryDirectory(prefix="lampit-bench-") as folder:
        say(f"{people:,} people")
        forget_children()
        done = run_python(["-m", "bench.at_scale", str(people), folder, str(seed)], core=None)
    figures: Figures = json.loads(done.output)
    memory, size = figures["memory_max_mib"], figures["bytes_per_person"]
    say(f"{people:,} people: {shown(memory)} MiB, {size:.1f} bytes a person on disk")
    return round_all(figures)
