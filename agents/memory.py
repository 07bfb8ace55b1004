"""How a process of agents keeps its memory: one arena of the C library's allocator, and few runs of the cycle collector.

In: nothing. Out: settings of this process. Called when it begins, before it has threads, and by the benchmarks that do a
worker's work without one.
"""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress
from typing import Final

_M_ARENA_MAX: Final = -8
"""Of glibc's malloc.h."""


def keep_small() -> None:
    """Threads share one arena, and what is there by now is no more looked through.

    By itself glibc gives each thread an arena of its own, up to eight a core. What a thread of RocksDB gives back stays in its
    arena, where the others cannot take it: 10 to 20 MiB of a worker, and nothing is slower without. Other C libraries are
    left alone. What is imported stays; and batches make tens of thousands of short-lived values without cycles, for which
    the cycle collector's default of every 700 cost a tenth of the time.
    """
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)
