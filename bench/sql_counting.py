"""The audit's SQL count over an archive's segments, full contract, beside a bare DuckDB query over the same segments."""

from __future__ import annotations

import json
import resource
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench import province
from bench.machine import timed, wait_until_quiet
from bench.results import Result, say, shown

QUESTION = ["--as-of", "2019-12-31", "--json", "--level", "country"]


def measure(people: int, count: int, repeats: int, memory: str, compare: bool) -> Result:
    """Both in turn, `repeats` times; then, to compare the country, the engine of the agents once over the same archive."""
    parameters = {"people": people, "events": count, "repeats": repeats, "memory": memory}
    mark = ("events_per_second", "at_least", 2_000_000.0)
    result = Result("sql_count", parameters, [], "DuckDB: dedupe, window, count", [], mark)
    with tempfile.TemporaryDirectory(prefix="lampit-bench-") as folder:
        archive = Path(folder) / "archive"
        say("making the archive of a province")
        records = province.make(archive, people, count)
        result.parameters["records"] = records
        coverage = ["-m", "lampit", "audit", "coverage", *QUESTION, str(archive)]
        answer: Any = None
        for number in range(repeats):
            result.busy.append(wait_until_quiet())
            ours, answer = timed([*coverage, "--memory", memory], records, core=None)
            if not result.repeats:
                result.notes["memory_mib"] = _largest_child_mib()
            theirs, _ = timed(["-m", "bench.peers.bare_query", str(archive)], records, core=None)
            result.repeats.append(ours)
            result.peer.append(theirs)
            mine, beside = shown(ours["events_per_second"]), shown(theirs["events_per_second"])
            say(f"{number + 1} of {repeats}: {mine} events/s, the bare query {beside}")
        if compare:
            say("the engine of the agents over the same archive")
            _, other = timed([*coverage, "--engine", "core"], records, core=None)
            result.exact = json.loads(answer) == json.loads(other)
    return result


def _largest_child_mib() -> int:
    """Resident memory of the largest process that was started and has ended."""
    largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return round(largest / (2**20 if sys.platform == "darwin" else 2**10))
