"""Child processes that do not outlive this one.

In: a signal. Out: what `subprocess` is to do in a new child. Called by whatever starts the broker or agents.
"""

from __future__ import annotations

import ctypes
import signal
import sys
from collections.abc import Callable
from typing import Final

_LINUX_PR_SET_PDEATHSIG: Final = 1


def end_with_parent(number: signal.Signals) -> Callable[[], None] | None:
    """On Linux: have the kernel send the signal to the child should this process be killed; elsewhere None."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    return lambda: libc.prctl(_LINUX_PR_SET_PDEATHSIG, number)
