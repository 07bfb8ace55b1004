"""`lampit count` on one core, beside a plain loop over the same lines."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from bench.machine import forget_children, run_python, wait_until_quiet
from bench.people import events
from bench.results import Figures, Result, round_all, say, shown

AS_OF = "2019-03-28"
KEY = {"LAMPIT_PSEUDONYM_KEY": "a key that only benchmarks use, 32 bytes or more"}


def measure(count: int, repeats: int, seed: int, with_sql: bool) -> Result:
    """Both in turn, `repeats` times, then the SQL engine once over the same file."""
    parameters = {"events": count, "repeats": repeats, "seed": seed, "cores": 1, "as_of": AS_OF}
    result = Result("count", parameters, [], "json.loads loop", [], ("events_per_second", "at_least", 100_000))
    with tempfile.TemporaryDirectory(prefix="lampit-bench-") as folder:
        path = Path(folder) / "events.jsonl"
        with path.open("wb") as stream:
            stream.writelines(line + b"\n" for line in events(count, seed))
        result.parameters["bytes_per_event"] = path.stat().st_size // count
        lampit = ["-m", "lampit", "count", str(path), "--as-of", AS_OF, "--json"]
        output = b""
        for number in range(repeats):
            result.busy.append(wait_until_quiet())
            figures, output = _once(lampit, count)
            peer, _ = _once(["-m", "bench.peers.plain_count", str(path)], count)
            result.repeats.append(figures)
            result.peer.append(peer)
            ours, theirs = figures["events_per_second"], peer["events_per_second"]
            say(f"{number + 1} of {repeats}: lampit {shown(ours)}, plain loop {shown(theirs)} events/s")
        if with_sql:
            say("the SQL engine over the same file")
            figures, sql_output = _once([*lampit, "--engine", "sql"], count)
            result.notes["sql_engine"] = figures
            result.exact = _plain(output) == _plain(sql_output)
    return result


def _once(arguments: list[str], count: int) -> tuple[Figures, bytes]:
    forget_children()
    done = run_python(arguments, environment=KEY)
    figures = {
        "events_per_second": count / done.wall_seconds,
        "wall_seconds": done.wall_seconds,
        "cpu_seconds": done.cpu_seconds,
    }
    return round_all(figures), done.output


def _plain(output: bytes) -> dict[str, Any]:
    counted: dict[str, Any] = json.loads(output)
    return counted
