"""The audit's SQL count over an archive's segments, full contract, beside a bare DuckDB query over the same segments."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from bench import province
from bench.machine import timed, wait_until_quiet
from bench.results import Result, say, shown

QUESTION = ["--as-of", "2019-12-31", "--json", "--level", "country"]


def measure(people: int, count: int, repeats: int) -> Result:
    """Both in turn, `repeats` times; then the engine of the agents once over the same archive, and compare the country."""
    parameters = {"people": people, "events": count, "repeats": repeats}
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
            ours, answer = timed(coverage, records, core=None)
            theirs, _ = timed(["-m", "bench.peers.bare_query", str(archive)], records, core=None)
            result.repeats.append(ours)
            result.peer.append(theirs)
            mine, beside = shown(ours["events_per_second"]), shown(theirs["events_per_second"])
            say(f"{number + 1} of {repeats}: {mine} events/s, the bare query {beside}")
        say("the engine of the agents over the same archive")
        _, other = timed([*coverage, "--engine", "core"], records, core=None)
        result.exact = json.loads(answer) == json.loads(other)
    return result
