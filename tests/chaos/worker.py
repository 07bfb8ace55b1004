"""An agent as `lampit run` starts it, on a machine that does something to it; started by tests/chaos/field.py.

CHAOS_CRASH=POINT:N ends the process by SIGKILL when it comes to that point for the N-th time; the last line of its log says
so, by which a fault knows that the point was hit. CHAOS_FILE_BYTES_MAX lets no file grow beyond that, as a full disk would.
CHAOS_CLOCK_DAYS puts the clock of the process ahead, CHAOS_BATCH_SECONDS lets each batch of a ledger worker take so long. The
code of the agents knows nothing of it: functions are wrapped here, before they are used.
"""

from __future__ import annotations

import asyncio
import faulthandler
import os
import resource
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, Final

from agents import barrier, intake, ledger
from agents.desk import Desk
from agents.errors import ConfigurationError
from agents.producer import FencedProducer, Producer, Record
from agents.settings import load_settings
from agents.store import Store
from lampit.run import run_agent
from stream.closer import Closer

Before = Callable[[], None]

POINTS: Final[dict[str, str]] = {
    "ledger-before-store": "a batch is applied in memory only",
    "ledger-after-store": "the batch is in the store, nothing of it is published",
    "ledger-in-transaction": "figures are sent, their transaction is open",
    "ledger-after-commit": "figures are published, the store does not know it",
    "ledger-after-noted": "figures are published and noted",
    "ledger-after-copies": "copies of merged people are sent, the store does not know it",
    "intake-half-sent": "half of a delivery is acknowledged",
    "intake-before-commit": "a delivery is acknowledged, its offsets are not committed",
    "intake-after-commit": "offsets are committed",
    "rollup-before-transaction": "figures are added up, none is sent",
    "rollup-in-transaction": "figures are sent, their transaction is open",
    "rollup-after-commit": "figures are published",
    "archive-file": "a file is written under another name, or has its own: to the disk it is sent in both cases",
    "rollup-before-closed": "the closings of a day are published, the day is not said to be closed",
}


CRASHED: Final = "CHAOS crashes at "


def arm(point: str, count: int) -> None:
    """Let the process die when it comes to a point for the count-th time."""
    left = count

    def come() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.write(sys.stderr.fileno(), f"\n{CRASHED}{point}\n".encode())
            os.kill(os.getpid(), signal.SIGKILL)

    if point in ("ledger-before-store", "ledger-after-store"):
        _wrap(Store, "write", come, before=point == "ledger-before-store")
    elif point == "ledger-after-noted":
        _wrap(Store, "published", come, before=False)
    elif point == "ledger-after-copies":
        # Every publication comes here; only one that had copies is the point.
        _wrap(Store, "sent", come, before=True, counts=bool)
    elif point in ("ledger-in-transaction", "rollup-in-transaction"):
        _wrap_async(FencedProducer, "_deliver", come, before=False)
    elif point in ("ledger-after-commit", "rollup-after-commit"):
        _wrap_async(FencedProducer, "publish", come, before=False)
    elif point == "rollup-before-transaction":
        _wrap_async(FencedProducer, "publish", come, before=True)
    elif point == "intake-half-sent":
        _send_half(come)
    elif point == "intake-before-commit":
        _wrap_async(Producer, "send_all", come, before=False)
    elif point == "intake-after-commit":
        _wrap_async(intake, "commit", come, before=False)
    elif point == "archive-file":
        _wrap(os, "fsync", come, before=False)
    elif point == "rollup-before-closed":
        _wrap(Closer, "finish", come, before=True)
    else:
        raise SystemExit(f"{point} is no crash point; they are {', '.join(POINTS)}")


def _wrap(owner: Any, name: str, come: Before, *, before: bool, counts: Callable[[Any], bool] = lambda _: True) -> None:
    """counts: whether a call with that last argument is one."""
    original: Callable[..., Any] = getattr(owner, name)

    def wrapped(*arguments: Any, **options: Any) -> Any:
        if before and counts(arguments[-1]):
            come()
        result = original(*arguments, **options)
        if not before:
            come()
        return result

    setattr(owner, name, wrapped)


def _wrap_async(owner: Any, name: str, come: Before, *, before: bool) -> None:
    original: Callable[..., Awaitable[Any]] = getattr(owner, name)

    async def wrapped(*arguments: Any, **options: Any) -> Any:
        if before:
            come()
        result = await original(*arguments, **options)
        if not before:
            come()
        return result

    setattr(owner, name, wrapped)


def _send_half(come: Before) -> None:
    original = Producer.send_all

    async def send_all(self: Producer, records: Any) -> None:
        rows = list(records)
        await original(self, rows[: len(rows) // 2])
        come()
        await original(self, rows[len(rows) // 2 :])

    Producer.send_all = send_all  # type: ignore[method-assign]


def put_clock_ahead(days: float) -> None:
    """What the agents and their Kafka client take for now is later by so much."""
    real, ahead = time.time, days * 86_400
    time.time = lambda: real() + ahead
    today = barrier.today
    ledger.today = lambda: today() + timedelta(days=days)  # type: ignore[attr-defined]
    send = Producer._send_partition

    async def send_partition(self: Producer, topic: str, partition: int, records: list[Record]) -> None:
        """aiokafka asks the system for the time of a record, not Python."""
        stamped = [record._replace(timestamp_ms=int(time.time() * 1000)) for record in records]
        await send(self, topic, partition, stamped)

    Producer._send_partition = send_partition  # type: ignore[method-assign]


def slow_down(seconds: float) -> None:
    """Every batch takes that long: what is behind stays so for a while."""
    _wrap(Desk, "apply", lambda: time.sleep(seconds), before=True)


def tell_tasks_on(number: signal.Signals) -> None:
    """On that signal write to the log where every thread and every task of every loop is: a run that waits for ever asks."""

    def tell(*_: object) -> None:
        faulthandler.dump_traceback(all_threads=True)
        for task in list(asyncio.tasks._all_tasks):  # type: ignore[attr-defined]
            if not task.done():
                task.print_stack(limit=6, file=sys.stderr)
        sys.stderr.flush()

    signal.signal(number, tell)


def main() -> int:
    """Run the agent named by the first argument."""
    tell_tasks_on(signal.SIGUSR1)
    if crash := os.environ.get("CHAOS_CRASH"):
        point, count = crash.split(":")
        arm(point, int(count))
    if limit := os.environ.get("CHAOS_FILE_BYTES_MAX"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), resource.RLIM_INFINITY))
    if days := os.environ.get("CHAOS_CLOCK_DAYS"):
        put_clock_ahead(float(days))
    if seconds := os.environ.get("CHAOS_BATCH_SECONDS"):
        slow_down(float(seconds))
    return run_agent(sys.argv[1], load_settings())


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ConfigurationError as refusal:  # as the command does
        sys.stderr.write(f"Error: {refusal}\n")
        sys.exit(2)
