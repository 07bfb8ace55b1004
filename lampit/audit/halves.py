"""An index in two halves of its people, the second explained in a process of its own.

In: the words of a command. Out: the explanation of the second half, `stream.explanation.joined` with that of the first. Called
by `lampit.audit.explain`. What a question costs grows with the people whom it concerns, and what each moved has nothing to do
with the others. The process is forked before DuckDB has any thread, and so begins with everything imported; where threads run
already one process does everything.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Final

import msgspec

from lampit.audit.sources import Share, Source, is_index, open_source
from stream.explanation import Explanation, Question

FIRST: Final[Share] = (0, 2)
SECOND: Final[Share] = (1, 2)

Explained = Callable[[Source, Question], Explanation]


@contextmanager
def second_half(
    words: tuple[str, ...], question: Question, explained: Explained
) -> Iterator[Future[Explanation] | None]:
    """What `explained` finds of the second half, without what balances state; None where one process does everything."""
    if question.people_only or len(words) > 1 or not is_index(words[0]) or not _can_fork():
        yield None
        return
    with ProcessPoolExecutor(1, get_context("fork")) as pool:
        people = msgspec.structs.replace(question, people_only=True)
        yield pool.submit(_half, words, people, explained)


def _can_fork() -> bool:
    """Whether a fork is of use, and safe: a lock that another thread holds would be held in the child for ever."""
    return sys.platform == "linux" and len(os.sched_getaffinity(0)) > 1 and len(os.listdir("/proc/self/task")) == 1


def _half(words: tuple[str, ...], question: Question, explained: Explained) -> Explanation:
    with open_source(words, need_instants=None, share=SECOND) as source:
        return explained(source, question)
