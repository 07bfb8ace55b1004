"""Work that blocks, done in a thread beside the event loop; and whether it is oneself who is cancelled.

In: a function, and how to tell it to end early. Out: its result. Cancelled, the wait goes on until the function has ended:
nobody else is to begin on the same folder before. Called where stores are saved.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


async def in_thread(call: Callable[[], Result], stop: Callable[[], None] = lambda: None) -> Result:
    """The result of `call`; `stop` is called when this is cancelled, and should make it end soon."""
    task = asyncio.ensure_future(asyncio.to_thread(call))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        stop()
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # looked at, or it is reported as never retrieved
        raise


def is_cancelled() -> bool:
    """In a handler of CancelledError: whether the task that asks is to end, not only one that it waits for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
