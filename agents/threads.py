"""Work that blocks, done in a thread beside the event loop; and whether it is oneself who is cancelled.

In: a function, and what tells it to end. Out: its result. A thread cannot be ended from outside: cancelled or late, the wait
goes on for a time in which it should end by itself, because nobody else is to begin on the same folder before. One that hangs,
as a call to a dead file server can for hours, is left alone then. Called where stores are
saved, snapshots fetched and topics looked at, and by `lampit doctor`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final, TypeVar

from agents.snapshots import Stopped, Until

Result = TypeVar("Result")

HANG_SECONDS_MAX: Final = 30.0
"""Between two pieces of a file, when it is looked whether it is wanted any more. A place that takes longer hangs."""


async def in_thread(
    call: Callable[[], Result],
    until: Until | None = None,
    left: Callable[[asyncio.Future[Any]], None] = lambda thread: None,
    hang_seconds_max: float | None = None,
) -> Result:
    """The result of `call`, which looks at `until` as it gets on. Raises Stopped where it gets on no more, or does not end.

    until: None for what waits for nothing but a disk of this machine; that is waited for. left: is told of a thread that is
    left alone, cancelled or not: it may still come to write where it was to.
    """
    hang = None if until is None else hang_seconds_max or HANG_SECONDS_MAX
    thread = asyncio.ensure_future(asyncio.to_thread(call))
    # Looked at, or a failure that nobody waits for is reported as never retrieved.
    thread.add_done_callback(lambda done: done.cancelled() or done.exception())
    try:
        await _ended(thread, until, hang)
    finally:
        if until is not None and not thread.done():
            until.stop()
        if not thread.done():
            await asyncio.wait({thread}, timeout=hang)
        if not thread.done():
            left(thread)
    if not thread.done():
        raise Stopped("their place does not answer")
    return thread.result()


def in_daemon(call: Callable[[], Result]) -> Future[Result]:
    """What `call` will give, in a thread that ends with the process: its end waits neither for it nor for what it waits for."""
    answer: Future[Result] = Future()
    answer.set_running_or_notify_cancel()  # or who gives up the wait would take the place of its result

    def run() -> None:
        try:
            answer.set_result(call())
        except Exception as error:
            answer.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return answer


async def _ended(thread: asyncio.Future[Any], until: Until | None, hang: float | None) -> None:
    """Wait until a thread has ended, its time is over, or it gets on no more."""
    looks = -1
    while not thread.done() and (until is None or (until.seconds_left != 0.0 and until.looks != looks)):
        looks = 0 if until is None else until.looks
        left = None if until is None else until.seconds_left
        await asyncio.wait({thread}, timeout=hang if left is None or hang is None else min(hang, left))


def is_cancelled() -> bool:
    """In a handler of CancelledError: whether the task that asks is to end, not only one that it waits for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
