"""Long work of the event loop, done in steps, with turns of others in between.

In: a generator that stops wherever it may be left alone for a while, or for good. Out: what it returns. Called where a fetch is
applied: an opening balance folds everybody of a partition again, 10 µs a person, while the group, the pages and the other
partitions have to go on. And where another day is asked for: a far one is a scan of millions of cells, and the sums are those
of a whole country.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from typing import Final, TypeVar

Result = TypeVar("Result")

STEPS: Final = 1_000
"""Of one turn: some 10 ms."""


def at_once(steps: Generator[None, None, Result]) -> Result:
    """The result, with no turn of anybody."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: Result = end.value
            return found


def listed(items: Iterable[Result]) -> Generator[None, None, list[Result]]:
    """What is made one by one, each in a step."""
    found = []
    for item in items:
        found.append(item)
        yield
    return found


async def in_turns(steps: Generator[None, None, Result], is_wanted: Callable[[], bool] = lambda: True) -> Result | None:
    """The result; None where it was not wanted any more after somebody's turn."""
    with closing(steps):  # at once, also where this is cancelled: they may hold a store open
        while True:
            try:
                for _ in range(STEPS):
                    next(steps)
            except StopIteration as end:
                found: Result = end.value
                return found
            await asyncio.sleep(0)
            if not is_wanted():
                return None
