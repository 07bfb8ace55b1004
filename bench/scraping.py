"""A scrape of /metrics of the roll-up over the whole country, and of a province's villages.

In: partial figures of every village of the reference, in `lampit.partials`. Out: milliseconds from asking until the whole
answer is read, compressed as Prometheus asks for it, while figures change between two scrapes. Beside it: prometheus-client's
own gauges of the same regions and measures, rendered and compressed, without a server.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import statistics
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any, Final

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from agents.topics import PARTIALS
from bench.kafka_job import WAIT_SECONDS_MAX, BenchKafka, fill, job, start
from bench.machine import wait_until_quiet
from bench.results import Figures, Result, round_all, say, shown
from bench.whole_job import PARTITIONS, wait_until_ready
from lampit import reference
from stream import partials
from stream.regions import COUNTRY, level
from stream.rollup import Partial
from stream.tally import LANES, pack

DAY: Final = date(2026, 11, 1)
EPOCH: Final = 1
SCRAPES: Final = 20
CHANGED_VILLAGES: Final = 300
"""Between two scrapes, all over the country: that of 15 seconds at 20 events a second."""
PROVINCE: Final = "32"
MEASURES: Final = ("population", "obliged", "recorded", "recorded_early", "coverage_ratio")


def measure(repeats: int) -> Result:
    """One roll-up; each repeat is of SCRAPES scrapes of either page, then the peer's."""
    parameters: dict[str, Any] = {
        "repeats": repeats,
        "scrapes": SCRAPES,
        "changed_villages_between": CHANGED_VILLAGES,
        "province": PROVINCE,
        "asked_for": "gzip",
    }
    name = "prometheus-client's own gauges"
    result = Result("scrape", parameters, [], name, [], ("metrics_ms", "at_most", 50.0))
    codes = sorted(reference.load().names)
    villages = [code for code in codes if level(code) == "village"]
    shown_codes = [code for code in codes if level(code) in ("country", "province", "regency", "district")]
    parameters["villages"], parameters["regions_of_metrics"] = len(villages), len(shown_codes)
    with (
        tempfile.TemporaryDirectory(prefix="lampit-bench-") as folder,
        BenchKafka() as kafka,
        job(kafka, Path(folder)) as running,
    ):
        servers = kafka.bootstrap_servers
        asyncio.run(
            fill(servers, {(PARTIALS, 0): _batch(villages, 1) + [_head(number, 1) for number in range(PARTITIONS)]})
        )
        rollup = start(running, "rollup", "rollup")
        wait_until_ready(rollup)
        base = f"http://127.0.0.1:{rollup.port}"
        offset = 1
        for _ in range(repeats):
            result.busy.append(wait_until_quiet())
            figures: Figures = {}
            for page, path in (("metrics", "/metrics"), ("villages", f"/metrics/villages/{PROVINCE}")):
                spent = []
                for _ in range(SCRAPES):
                    offset += 1
                    _change(servers, villages, offset)
                    _wait_until_given_out(base, offset)
                    milliseconds, size, plain = _scrape(base + path)
                    spent.append(milliseconds)
                figures |= {f"{page}_ms": statistics.median(spent), f"{page}_max_ms": max(spent)}
                figures |= {f"{page}_bytes": size, f"{page}_bytes_plain": plain}
            result.repeats.append(round_all(figures))
            result.peer.append(_client(shown_codes))
            ours, theirs = figures["metrics_ms"], result.peer[-1]["metrics_ms"]
            say(f"lampit {shown(ours)} ms, villages {shown(figures['villages_ms'])} ms; peer {shown(theirs)} ms")
    return result


def _batch(villages: Sequence[str], offset: int) -> list[tuple[bytes | None, bytes]]:
    """A part of each village in the first partition, as a ledger worker would publish it."""
    part = Partial(pack([1000 + (offset * 31 + lane) % 997 for lane in range(LANES)]))
    return [(partials.key(code, 0), partials.encode(code, part, 0, EPOCH, offset, DAY)) for code in villages]


def _head(partition: int, offset: int) -> tuple[bytes | None, bytes]:
    head = partials.HeadRecord(partition, EPOCH, offset, DAY)
    return partials.head_key(partition), partials.encode_head(head)


def _change(servers: str, villages: Sequence[str], offset: int) -> None:
    """Another figure for villages all over the country."""
    step = len(villages) // CHANGED_VILLAGES
    some = villages[offset % step :: step]
    asyncio.run(fill(servers, {(PARTIALS, 0): [*_batch(some, offset), _head(0, offset)]}))


def _wait_until_given_out(base: str, offset: int) -> None:
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while time.monotonic() < deadline:
        with urllib.request.urlopen(f"{base}/api/coverage/{COUNTRY}", timeout=60) as answer:
            if json.loads(answer.read())["position"]["0"] >= offset:
                return
        time.sleep(0.02)
    raise TimeoutError(f"the roll-up did not give out position {offset} in {WAIT_SECONDS_MAX:.0f} s")


def _scrape(url: str) -> tuple[float, int, int]:
    """Milliseconds, bytes as sent, bytes as meant."""
    request = urllib.request.Request(url, headers={"Accept-Encoding": "gzip"})
    began = time.perf_counter()
    with urllib.request.urlopen(request, timeout=60) as answer:
        body = answer.read()
    milliseconds = 1000 * (time.perf_counter() - began)
    return milliseconds, len(body), len(gzip.decompress(body))


def _client(codes: Sequence[str]) -> Figures:
    """prometheus-client with a gauge a measure; the labels are set once, as a program that scrapes often has them."""
    registry = CollectorRegistry()
    for measure in MEASURES:
        gauge = Gauge(f"lampit_{measure}", "As of Lampit.", ("level", "region"), registry=registry)
        for number, code in enumerate(codes):
            gauge.labels(level(code), code).set(1000 + number)
    spent, size = [], 0
    for _ in range(SCRAPES):
        began = time.perf_counter()
        size = len(gzip.compress(generate_latest(registry), compresslevel=6))
        spent.append(1000 * (time.perf_counter() - began))
    return round_all({"metrics_ms": statistics.median(spent), "metrics_max_ms": max(spent), "metrics_bytes": size})
