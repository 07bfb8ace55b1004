"""Processes to measure: on which cores they run, and what they cost.

In: a command line or a process id. Out: wall and CPU seconds.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from bench.results import ROOT, Figures, round_all, say

QUIET_SECONDS: Final = 2.0
QUIET_SECONDS_MAX: Final = 60.0
BUSY_PERCENT_MAX: Final = 15.0


@contextmanager
def on_cores(cores: Sequence[int] | None) -> Iterator[None]:
    """Processes started inside run on these cores only; None leaves them alone. So does a system without affinity."""
    if cores is None or not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(cores) & set(range(os.cpu_count() or 1)) or before)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@dataclass(frozen=True)
class Finished:
    """A process that has ended."""

    wall_seconds: float
    cpu_seconds: float
    output: bytes


def run_python(
    arguments: Sequence[str], core: int | None = 0, environment: Mapping[str, str] | None = None, folder: Path = ROOT
) -> Finished:
    """Run this Python with arguments in a folder, on one core, to its end."""
    # The parent's own cores are narrowed while the child starts, so that no thread of the child is ever elsewhere.
    with on_cores(None if core is None else [core]):
        began = time.perf_counter()
        child = subprocess.Popen(
            [sys.executable, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=folder,
            env={**os.environ, **(environment or {})},
        )
    output, errors = child.communicate()
    wall = time.perf_counter() - began
    if child.returncode != 0:
        raise RuntimeError(f"{' '.join(arguments[:3])} ended with {child.returncode}: {errors.decode()[-2000:]}")
    return Finished(wall, _waited_for.take(), output)


def timed(
    arguments: Sequence[str], count: int, core: int | None = 0, environment: Mapping[str, str] | None = None
) -> tuple[Figures, bytes]:
    """Run this Python over `count` events: events a second of wall and of processor time, and what it printed."""
    forget_children()
    done = run_python(arguments, core, environment)
    figures = {
        "events_per_second": count / done.wall_seconds,
        "events_per_cpu_second": count / done.cpu_seconds,
        "wall_seconds": done.wall_seconds,
        "cpu_seconds": done.cpu_seconds,
    }
    return round_all(figures), done.output


def wait_until_quiet() -> int:
    """Wait, not for ever, until other programs leave the processor alone; how busy it was at last, in percent."""
    deadline = time.monotonic() + QUIET_SECONDS_MAX
    while (busy := psutil.cpu_percent(interval=QUIET_SECONDS)) > BUSY_PERCENT_MAX and time.monotonic() < deadline:
        say(f"the machine is {busy:.0f} % busy with something else; waiting")
    return round(busy)


class _Children:
    """CPU seconds of the children that have ended since the last look."""

    def __init__(self) -> None:
        self._before = self._now()

    @staticmethod
    def _now() -> float:
        times = os.times()
        return times.children_user + times.children_system

    def take(self) -> float:
        now = self._now()
        spent, self._before = now - self._before, now
        return spent


_waited_for = _Children()


def forget_children() -> None:
    """What has ended so far is not the next one's cost."""
    _waited_for.take()


def cpu_seconds(pid: int) -> float:
    """Spent so far by all threads of a process."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def memory_mib(pid: int) -> float:
    """Resident memory of a process."""
    return float(psutil.Process(pid).memory_info().rss) / 2**20


def peak_memory_mib(pid: int) -> float:
    """The most resident memory that a process has had; where the system does not keep it, what it has now."""
    status = Path(f"/proc/{pid}/status")
    lines = status.read_text().splitlines() if status.exists() else []
    peak = next((line.split()[1] for line in lines if line.startswith("VmHWM:")), None)
    return memory_mib(pid) if peak is None else int(peak) / 1024
