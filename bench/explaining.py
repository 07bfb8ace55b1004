"""`lampit audit explain` of one regency and one month of a province's year, from an index, beside the same from the archive."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from bench import province
from bench.machine import forget_children, run_python, wait_until_quiet
from bench.results import Figures, Result, round_all, say, shown

QUESTION = ["16.05", "--from", "2019-02-28", "--to", "2019-03-28", "--no-recount", "--json"]


def measure(people: int, count: int, repeats: int) -> Result:
    """Both in turn, `repeats` times; the answers must be the same."""
    parameters = {"people": people, "events": count, "repeats": repeats}
    result = Result("explain", parameters, [], "from the archive", [], ("wall_seconds", "at_most", 2))
    with tempfile.TemporaryDirectory(prefix="lampit-bench-") as folder:
        archive, index = Path(folder) / "archive", Path(folder) / "index.duckdb"
        say("making the archive of a province")
        result.parameters["records"] = province.make(archive, people, count)
        say("turning it round")
        result.notes["index_wall_seconds"] = run_python(
            ["-m", "lampit", "audit", "index", str(archive), str(index)], core=None
        ).wall_seconds
        result.notes["index_bytes"] = index.stat().st_size
        for number in range(repeats):
            result.busy.append(wait_until_quiet())
            ours, answer = _once(index)
            theirs, other = _once(archive)
            result.repeats.append(ours)
            result.peer.append(theirs)
            result.exact = answer == other and result.exact is not False
            result.notes["causes"] = len(answer["causes"])
            wall, beside = shown(ours["wall_seconds"]), shown(theirs["wall_seconds"])
            say(f"{number + 1} of {repeats}: {wall} s, from the archive {beside} s")
    return result


def _once(source: Path) -> tuple[Figures, dict[str, Any]]:
    forget_children()
    done = run_python(["-m", "lampit", "audit", "explain", *QUESTION, str(source)], core=None)
    answer: dict[str, Any] = json.loads(done.output)
    return round_all({"wall_seconds": done.wall_seconds, "cpu_seconds": done.cpu_seconds}), answer
