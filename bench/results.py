"""One line a run in bench/results.jsonl: on what it ran, what it ran, what came out.

In: the figures of a benchmark. Out: a line of the file, and tables of them. Nothing that names a host or a path is written.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import click
import psutil

from lampit import core

ROOT: Final = Path(__file__).resolve().parent.parent
RESULTS: Final = Path(__file__).resolve().parent / "results.jsonl"
README: Final = Path(__file__).resolve().parent / "README.md"
TABLE_BEGINS: Final = "<!-- table: python -m bench table --write -->"
TABLE_ENDS: Final = "<!-- end of table -->"
PACKAGES: Final = (
    "lampit",
    "faust-streaming",
    "aiokafka",
    "kafka-python",
    "msgspec",
    "pydantic",
    "rocksdict",
    "duckdb",
    "uvloop",
)

ENGINE_FIGURES: Final = (
    "events_per_second",
    "cpu_seconds_per_million",
    "broker_cpu_seconds_per_million",
    "peak_memory_mib",
)

Figures = dict[str, float]


@dataclass
class PeerRow:
    """One engine of several on the same job.

    events: how many it got, where fewer than the others. wrong: in how many villages (or regions) it was wrong, each repeat.
    failure: why there are no figures, or none of the last repeats.
    """

    engine: str
    guarantee: str
    events: int | None = None
    repeats: list[Figures] = field(default_factory=list)
    wrong: list[int] = field(default_factory=list)
    wrong_after_kill: int | None = None
    failure: str | None = None

    def as_object(self) -> dict[str, Any]:
        """What is written."""
        return {**asdict(self), "figures": medians(self.repeats)}


@dataclass
class Result:
    """What one run of a benchmark found.

    repeats: figures of each repeat. peer: figures of what was measured beside it, of each of its repeats. mark: the figure
    that decides, its limit, and whether it is a ceiling ("at_most") or a floor ("at_least"). busy: how busy the machine was
    before each repeat, in percent. exact: whether the figures that
    were counted are those of a second count; None where nothing is counted. rows: all engines, where there are several.
    """

    name: str
    parameters: dict[str, Any]
    repeats: list[Figures]
    peer_name: str
    peer: list[Figures]
    mark: tuple[str, str, float]
    exact: bool | None = None
    busy: list[int] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)
    rows: list[PeerRow] = field(default_factory=list)
    load_before: float = field(default_factory=lambda: round(os.getloadavg()[0], 2))

    def as_line(self) -> dict[str, Any]:
        """The object that is written."""
        figure, bound, limit = self.mark
        ours, theirs = medians(self.repeats), medians(self.peer)
        value = ours[figure]
        return {
            "name": self.name,
            "date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "commit": commit(),
            "machine": machine() | {"load_before": self.load_before, "busy_percent": self.busy},
            "versions": versions(),
            "parameters": self.parameters,
            "figures": ours,
            "repeats": self.repeats,
            "peer": {"name": self.peer_name, "figures": theirs, "repeats": self.peer},
            "ratio": round(value / theirs[figure], 4) if theirs.get(figure) else None,
            "exact": self.exact,
            "mark": {
                "figure": figure,
                bound: limit,
                "met": (value >= limit if bound == "at_least" else value <= limit) and self.exact is not False,
            },
            "notes": self.notes,
            **({"engines": [row.as_object() for row in self.rows]} if self.rows else {}),
        }


def medians(repeats: Sequence[Mapping[str, float]]) -> Figures:
    """Of each figure, over the repeats that have it."""
    names = dict.fromkeys(name for repeat in repeats for name in repeat)
    return {name: rounded(statistics.median(one[name] for one in repeats if name in one)) for name in names}


def rounded(value: float) -> float:
    """Four significant digits are more than repeats agree on."""
    return float(f"{value:.4g}") if abs(value) < 1000 else float(round(value))


def round_all(figures: Mapping[str, float]) -> Figures:
    """Each figure, rounded."""
    return {name: rounded(value) for name, value in figures.items()}


def commit() -> str:
    """The commit that ran, `+dirty` when files differ from it (this file of results aside)."""
    git = ["git", "-C", str(ROOT)]
    try:
        head = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
        status = subprocess.run(
            [*git, "status", "--porcelain", "--", ".", ":(exclude)bench/results.jsonl"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head.stdout.strip() + ("+dirty" if status.stdout.strip() else "")


def machine() -> dict[str, Any]:
    """Processor, cores and memory; nothing that says whose it is."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": platform.system(),
    }


def versions() -> dict[str, str]:
    """Python, how the core runs, and the packages that do the work."""
    # Which build it is makes an eighth of the speed.
    build = " ".join((*platform.python_build(), platform.python_compiler()))
    found = {"python": platform.python_version(), "python_build": build, "core": core()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def say(line: str) -> None:
    """Progress, on standard error."""
    click.echo(line, err=True)


def record(result: Result, results: Path = RESULTS) -> dict[str, Any]:
    """Append the line, show it as a table, and say when the machine was busy with something else."""
    line = result.as_line()
    with results.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(line, ensure_ascii=False) + "\n")
    show(line)
    return line


def show(line: Mapping[str, Any]) -> None:
    """A line as a table on standard output."""
    peer = line["peer"]["figures"]
    names = dict.fromkeys([*line["figures"], *peer])
    width = max(len(name) for name in names)
    busy = line["machine"].get("busy_percent", "unknown")
    click.echo(f"{line['name']} at {line['commit']}; other programs before each repeat: {busy} % of the machine")
    click.echo(f"  {'':{width}}  {'lampit':>12}  {line['peer']['name']}")
    for name in names:
        click.echo(f"  {name:{width}}  {shown(line['figures'].get(name)):>12}  {shown(peer.get(name)):>12}")
    mark = line["mark"]
    bound = "at least" if "at_least" in mark else "at most"
    limit = mark.get("at_least", mark.get("at_most"))
    click.echo(f"  mark: {mark['figure']} {bound} {shown(limit)}: {'met' if mark['met'] else 'NOT met'}")
    if line["exact"] is not None:
        click.echo(f"  figures exact: {'yes' if line['exact'] else 'NO'}")
    if "engines" in line:
        click.echo(engines_table(line))


def shown(value: float | None) -> str:
    """A figure for people."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:,.3g}"


def read(results: Path = RESULTS) -> list[dict[str, Any]]:
    """All lines."""
    if not results.exists():
        return []
    return [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines() if line.strip()]


def latest(lines: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The last line of each benchmark on each kind of processor, by name: one kind can be twice as fast as another."""
    return [newest for _, newest in sorted({(_called(line), line["machine"]["cpu"]): line for line in lines}.items())]


def _called(line: Mapping[str, Any]) -> str:
    """The benchmark, and with how many partitions where these are not four."""
    partitions = line["parameters"].get("partitions", 4)
    return str(line["name"]) if partitions == 4 else f"{line['name']}, LAMPIT_PARTITIONS={partitions}"


def table(lines: Sequence[dict[str, Any]]) -> str:
    """The last figures as a table in Markdown."""
    rows = [
        "| benchmark | processor | figure | Lampit | beside it | ratio | mark | date, commit |",
        "| --- | --- | --- | ---: | ---: | ---: | --- | --- |",
    ]
    for line in latest(lines):
        mark = line["mark"]
        bound = "≥" if "at_least" in mark else "≤"
        limit = mark.get("at_least", mark.get("at_most"))
        met = "met" if mark["met"] else "not met"
        peer = line["peer"]["figures"].get(mark["figure"])
        rows.append(
            f"| {_called(line)} | {line['machine']['cpu']} "
            f"| {mark['figure'].replace('_', ' ')} | {shown(line['figures'][mark['figure']])} "
            f"| {shown(peer)} ({line['peer']['name']}) | {shown(line['ratio'])} | {bound} {shown(limit)}: {met} "
            f"| {line['date'][:10]}, {line['commit']} |"
        )
    return "\n\n".join(["\n".join(rows), *(engines_table(line) for line in latest(lines) if "engines" in line)])


def engines_table(line: Mapping[str, Any]) -> str:
    """The engines of a benchmark that has several, as a table in Markdown."""
    rows = [
        f"| {line['name']}: engine | events per second | CPU-seconds a million: engine | broker | peak MiB "
        "| wrong villages | after kill -9 |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for engine in line["engines"]:
        figures = engine["figures"]
        events = f", {shown(engine['events'])} events" if engine["events"] else ""
        wrong = [max(engine["wrong"]) if engine["wrong"] else None, engine["wrong_after_kill"]]
        cells = [shown(figures.get(name)) for name in ENGINE_FIGURES] + [shown(value) for value in wrong]
        failure = f". {engine['failure']}" if engine["failure"] else ""
        rows.append(f"| {engine['engine']}, {engine['guarantee']}{events}{failure} | {' | '.join(cells)} |")
    return "\n".join(rows)


def write_table(text: str, readme: Path = README) -> None:
    """Put the table between its two marks in the README."""
    before, _, rest = readme.read_text(encoding="utf-8").partition(TABLE_BEGINS)
    _, _, after = rest.partition(TABLE_ENDS)
    readme.write_text(f"{before}{TABLE_BEGINS}\n{text}\n{TABLE_ENDS}{after}", encoding="utf-8")
