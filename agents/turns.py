"""Long work of the event loop, done in steps, with turns of others in between.

In: a generator that stops wherever it may be left alone for a while, or for good. Out: what it returns. Called where a fetch is
applied: an opening balance folds everybody of a partition again, 10 µs a person, while the group, the pages and the other
partitions have to go on. And where another day is asked for: a far one is a scan of millions of cells, and the sums are those
of a whole country. And where months are closed: a country has a million cells a month. The core is compiled, and holds Python's
lock from one step to the next, so that a thread of its own would hold up everything else as well.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator, Iterable
from contextlib import closing
from typing import Final, TypeVar

Result = TypeVar("Result")

STEPS: Final = 200
"""Of one turn: 2 ms of persons folded, 30 of closings."""


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


async def made_in_turns(
    steps: Iterable[Result | None], most: int, is_wanted: Callable[[], bool] = lambda: True
) -> AsyncGenerator[list[Result], None]:
    """What is made one by one, so many at a time at most; None is a step that made nothing.

    It ends early where no more is wanted after somebody's turn: ask whether it was.
    """
    made: list[Result] = []
    for number, item in enumerate(steps, start=1):
        if item is not None:
            made.append(item)
        if len(made) == most:
            yield made
            made = []
        if number % STEPS == 0:
            await asyncio.sleep(0)
            if not is_wanted():
                return
    if made:
        yield made
