"""The C library's allocator kept to one arena, for memory that stays with what is held.

In: nothing. Out: a setting of this process. Called when a process of agents begins, before it has threads.
"""

from __future__ import annotations

import ctypes
from contextlib import suppress
from typing import Final

_M_ARENA_MAX: Final = -8
"""Of glibc's malloc.h."""


def keep_to_one_arena() -> None:
    """RocksDB's threads and ours share one arena; without glibc nothing happens.

    By itself glibc gives each thread one of its own, up to eight a core. What a thread of RocksDB gives back stays in its
    arena, where the others cannot take it: 10 to 20 MiB of a worker, and nothing is slower without.
    """
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
