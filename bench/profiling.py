"""Where the processor time of an event goes: a sampled profile of intake's and of the ledger worker's own work.

In: made-up events. Out: microseconds an event by module and by function, own time only; what C code takes (msgspec, RocksDB,
HMAC, integers) counts for the Python function that called it; so does the compiled core, which is why `make interpreted` comes
first. Both run in one process without Kafka: what the broker's client, Faust and the transactions take is not in it.
"""

from __future__ import annotations

import gc
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final, NamedTuple, TypeVar

import click

from agents.desk import Desk
from agents.driver import Fetch
from agents.topics import LEDGER
from bench import expected
from bench.at_scale import FETCH_RECORDS, TIMESTAMP_MS, Row, desks_in
from bench.catching_up import ledger_rows
from bench.people import events
from bench.results import ROOT, say
from lampit.tables import print_table
from stream.admission import Admitted

SAMPLE_SECONDS: Final = 0.001

Value = TypeVar("Value")


class Profile(NamedTuple):
    """A stage: processor time of an event, and the share of each (module, function) in it."""

    stage: str
    microseconds: float
    samples: int
    functions: Counter[tuple[str, str]]

    def modules(self) -> Counter[str]:
        """Samples by module."""
        found: Counter[str] = Counter()
        for (module, _), number in self.functions.items():
            found[module] += number
        return found

    def as_json(self) -> dict[str, Any]:
        """For a program."""
        each = self.microseconds / max(1, self.samples)
        return {
            "stage": self.stage,
            "microseconds_per_event": round(self.microseconds, 2),
            "samples": self.samples,
            "modules": {module: round(number * each, 3) for module, number in self.modules().most_common()},
            "functions": {
                f"{module}.{function}": round(number * each, 3)
                for (module, function), number in self.functions.most_common()
            },
        }


def measure(count: int, seed: int) -> list[Profile]:
    """Admission as in intake and `lampit count`; then applying, as a worker does that catches up."""
    lines = list(events(count, seed))
    say(f"admission of {count:,} events")
    found, admitted = _sampled("admission", count, lambda: expected.admitted_events(lines))
    with tempfile.TemporaryDirectory(prefix="lampit-bench-") as folder:
        desks, fetches = catching_up(Path(folder), admitted)
        say(f"applying {count:,} events")
        applied, _ = _sampled("apply", count, lambda: [desks[fetch.partition].apply(fetch) for fetch in fetches])
        for desk in desks:
            desk.store.close()
    return [found, applied]


def catching_up(folder: Path, admitted: list[Admitted]) -> tuple[list[Desk], list[Fetch]]:
    """Desks that have applied nothing, and the events as fetches of the ledger."""
    fetches: list[Fetch] = []
    for (_, partition), values in ledger_rows(admitted).items():
        rows: list[Any] = [Row(offset, TIMESTAMP_MS, key, value) for offset, (key, value) in enumerate(values)]
        for at in range(0, len(rows), FETCH_RECORDS):
            some = tuple(rows[at : at + FETCH_RECORDS])
            fetches.append(Fetch(LEDGER, partition, some[0].offset, some[-1].offset + 1, some, 0))
    return desks_in(folder), fetches


def _sampled(stage: str, count: int, work: Callable[[], Value]) -> tuple[Profile, Value]:
    seen: Counter[CodeType] = Counter()
    gc.collect()
    gc.freeze()
    spent = time.process_time()
    with _sampling(seen):
        value = work()
    spent = time.process_time() - spent
    functions: Counter[tuple[str, str]] = Counter()
    for code, number in seen.items():
        functions[_module(code.co_filename), code.co_qualname] += number
    return Profile(stage, spent / count * 1_000_000, functions.total(), functions), value


@contextmanager
def _sampling(seen: Counter[CodeType]) -> Iterator[None]:
    """Count what this thread is at, by its own processor time."""

    def sample(number: int, frame: FrameType | None) -> None:
        if frame is not None:
            seen[frame.f_code] += 1

    before = signal.signal(signal.SIGPROF, sample)
    signal.setitimer(signal.ITIMER_PROF, SAMPLE_SECONDS, SAMPLE_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def _module(file: str) -> str:
    path = Path(file)
    if path.is_relative_to(ROOT) and ".venv" not in path.parts:
        return ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return path.stem if "site-packages" not in path.parts else path.parts[path.parts.index("site-packages") + 1]


def show(profiles: Iterable[Profile], top: int) -> None:
    """Two tables for people: by module and by function."""
    for profile in profiles:
        each = profile.microseconds / max(1, profile.samples)
        click.echo(f"{profile.stage}: {profile.microseconds:.1f} microseconds of processor time an event")
        by_module = [(module, number) for module, number in profile.modules().most_common(top)]
        by_function = [
            (f"{module} {function}", number) for (module, function), number in profile.functions.most_common(top)
        ]
        for name, found in (("module", by_module), ("function", by_function)):
            rows = [(what, f"{number * each:.2f}", f"{number / profile.samples:.0%}") for what, number in found]
            print_table((name, "microseconds", "share"), rows, ("microseconds", "share"))
            click.echo()
