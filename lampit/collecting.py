"""The cycle collector, left out where it costs much and finds nothing.

In: nothing. Out: a context manager. Called by what counts or explains many events at once.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_collection() -> Iterator[None]:
    """Millions of events are kept until the end: the cycle collector would walk them again and again."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
