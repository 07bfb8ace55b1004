"""Child processes that do not outlive this one, and an interruption that comes while one is begun.

In: a signal. Out: what `subprocess` is to do in a new child. Called by whatever starts the broker or agents.
"""

from __future__ import annotations

import ctypes
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

_LINUX_PR_SET_PDEATHSIG: Final = 1


def end_with_parent(number: signal.Signals) -> Callable[[], None] | None:
    """On Linux: have the kernel send the signal to the child should this process be killed; elsewhere None."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    return lambda: libc.prctl(_LINUX_PR_SET_PDEATHSIG, number)


@contextmanager
def interrupted_afterwards() -> Iterator[None]:
    """Let a SIGINT or SIGTERM that comes inside take effect at the end: for the beginning of a child.

    Python runs hooks of other modules when it forks, logging's among them, and forgets what is raised in one: the user's
    Ctrl-C would be lost. Raised between the fork and the assignment of the child, it would leave a child that nobody stops.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # handlers run in the main thread
        return
    came: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        came.append(number)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    ours = [number for number, handler in before.items() if callable(handler)]  # others raise nothing
    for number in ours:
        signal.signal(number, note)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, before[number])
    for missed in came:
        signal.raise_signal(missed)
