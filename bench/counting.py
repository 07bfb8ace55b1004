"""`lampit count` on one core, beside a plain loop over the same lines."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from bench.machine import timed, wait_until_quiet
from bench.people import events
from bench.results import Result, say, shown

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
            figures, output = timed(lampit, count, environment=KEY)
            peer, _ = timed(["-m", "bench.peers.plain_count", str(path)], count, environment=KEY)
            result.repeats.append(figures)
            result.peer.append(peer)
            ours, theirs = figures["events_per_second"], peer["events_per_second"]
            say(f"{number + 1} of {repeats}: lampit {shown(ours)}, plain loop {shown(theirs)} events/s")
        if with_sql:
            say("the SQL engine over the same file")
            figures, sql_output = timed([*lampit, "--engine", "sql"], count, environment=KEY)
            result.notes["sql_engine"] = figures
            result.exact = _plain(output) == _plain(sql_output)
    return result


def _plain(output: bytes) -> dict[str, Any]:
    counted: dict[str, Any] = json.loads(output)
    return counted
