"""A deterministic event loop: a virtual clock, and a seed that says which process comes next.

In: a seeded source of chance. Out: `Loop`, an asyncio loop of all simulated processes. Nothing in it waits for anything
real: no socket, no thread, no clock. Called by `tests.simulation.world`.

Within one process callbacks run in the order they were asked for, as asyncio promises and as the agents may rely on; which
process runs its next callback is up to the seed, and so is how long whatever crosses the network takes. One callback is what
runs from one await to the next, so that a process ended between two of its callbacks is a crash at an await.
"""

from __future__ import annotations

import asyncio
import contextvars
import hashlib
import heapq
import sys
import warnings
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from random import Random
from typing import Any, Final

NEVER: Final = 1 << 60

STEP_SECONDS: Final = 0.000_05
"""What one callback takes, so that a loop without a wait does not stop the clock."""

SCATTER: Final = 2_654_435_761
HASHES: Final = 1 << 32

OWNER: contextvars.ContextVar[Owner] = contextvars.ContextVar("owner")
"""Whose callback runs. asyncio hands the context of a task on to everything the task asks for."""


class Died(BaseException):
    """Unwinds what runs in a process that has just ended; nothing it does on the way has any effect."""


class Owner:
    """What callbacks belong to: one life of one process. Without `alive` they are never run, not even `finally` blocks."""

    def __init__(self, name: str) -> None:
        """Alive, with nothing to do. steps: callbacks run so far; the others: after how
        many of them the world does something to it."""
        self.name = name
        self.alive = True
        self.frozen_until = 0.0
        self.steps = 0
        self.dies_at = self.freezes_at = self.stops_at = NEVER
        self.ready: deque[asyncio.Handle] = deque()
        self.tasks: list[asyncio.Task[Any]] = []


class Trace:
    """Everything that happened, as a digest: two runs of a seed have the same one, or the simulation is not deterministic."""

    def __init__(self, keep: bool = False) -> None:
        """Empty; keep: also as lines, to read."""
        self._digest = hashlib.sha256()
        self.lines: list[str] | None = [] if keep else None

    def note(self, now: float, who: str, what: str) -> None:
        """One thing that happened."""
        line = f"{now:.6f} {who} {what}"
        self._digest.update(line.encode())
        if self.lines is not None:
            self.lines.append(line)

    @property
    def digest(self) -> str:
        """Of all so far."""
        return self._digest.hexdigest()[:16]


class _Numbered:
    """Hashed by its number. asyncio goes through sets of tasks (a TaskGroup that is given up, `asyncio.wait`): by address their
    order, and with it the run, would depend on what else lies in memory.
    """

    _number = 0

    def __hash__(self) -> int:
        return self._number


class _Future(_Numbered, asyncio.Future[Any]):
    """Of the loop."""


class _Task(_Numbered, asyncio.Task[Any]):
    """Of the loop."""


class Loop(asyncio.AbstractEventLoop):
    """Runs one callback at a time, by `step`."""

    def __init__(self, chance: Random, trace: Trace) -> None:
        """At time 0, with the one owner that is no process: the world."""
        self.chance = chance
        self.trace = trace
        self.now = 0.0
        self.world = Owner("world")
        self.owners = [self.world]
        self._ended: list[Owner] = []
        self.on_end: Callable[[Owner], None] = lambda owner: None
        self._timers: list[tuple[float, int, asyncio.TimerHandle, Owner]] = []
        self._numbers = 0
        self._hashes = 0
        self._failed: BaseException | None = None

    # What asyncio asks of a loop.

    def time(self) -> float:
        """The virtual clock, in seconds."""
        return self.now

    def get_debug(self) -> bool:
        """No."""
        return False

    def is_running(self) -> bool:
        """As long as it is stepped."""
        return True

    def create_future(self) -> asyncio.Future[Any]:
        """A future of this loop."""
        future = _Future(loop=self)
        future._number = self._next_hash()
        return future

    def _next_hash(self) -> int:
        """Scattered, because sets would put numbers that follow each other in order: agents may not rely on any."""
        self._hashes += 1
        return self._hashes * SCATTER % HASHES

    def create_task(self, coro: Any, *, name: str | None = None, context: Any = None) -> asyncio.Task[Any]:
        """A task of the process that makes it, which is kept: a dead process's are not to be unwound by the collector."""
        task = _Task(coro, loop=self, name=name, context=context)
        task._number = self._next_hash()
        owner = self._owner(context)
        owner.tasks.append(task)
        if len(owner.tasks) > 1_000:
            owner.tasks = [one for one in owner.tasks if not one.done()]
        return task

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:
        """After what this process has asked for already."""
        handle = asyncio.Handle(callback, args, self, context)
        owner = self._owner(context)
        if owner.alive:
            owner.ready.append(handle)
        return handle

    def call_later(self, delay: float, callback: Any, *args: Any, context: Any = None) -> asyncio.TimerHandle:
        """After so many virtual seconds."""
        return self.call_at(self.now + delay, callback, *args, context=context)

    def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> asyncio.TimerHandle:
        """At that virtual time."""
        context = contextvars.copy_context() if context is None else context
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._numbers += 1
        heapq.heappush(self._timers, (when, self._numbers, handle, self._owner(context)))
        return handle

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        """A thread's work is one step of its own, some time later."""
        future = self.create_future()

        def run() -> None:
            if not future.done():
                try:
                    future.set_result(func(*args))
                except Exception as error:
                    future.set_exception(error)

        self.call_later(self.chance.random() * 0.01, run)
        return future

    def _timer_handle_cancelled(self, handle: Any) -> None:
        """It is passed over when its time comes."""

    def call_exception_handler(self, context: Any) -> None:
        """What nobody awaited, and errors of callbacks. The world's own are errors of the simulation."""
        if OWNER.get(self.world) is self.world or ("handle" in context and not isinstance(context["exception"], Died)):
            self._failed = context.get("exception")

    # What the world does with it.

    def owner(self, name: str) -> Owner:
        """A new process."""
        owner = Owner(name)
        self.owners.append(owner)
        return owner

    def start(self, owner: Owner, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Run a coroutine as a process's own."""
        context = contextvars.copy_context()
        context.run(OWNER.set, owner)
        context.run(self.create_task, coroutine, context=context)

    def at(self, delay: float, callback: Callable[[], None]) -> None:
        """Let the world do something, whoever asks for it."""
        context = contextvars.copy_context()
        context.run(OWNER.set, self.world)
        self.call_at(self.now + delay, callback, context=context)

    def _owner(self, context: contextvars.Context | None) -> Owner:
        return OWNER.get(self.world) if context is None else context.get(OWNER, self.world)

    def step(self) -> Owner | None:
        """Run one callback of the process that the seed chooses, or let the clock go on to the next timer."""
        self.now += STEP_SECONDS
        self._fire()
        able = [owner for owner in self.owners if owner.ready and owner.frozen_until <= self.now]
        if not able:
            thaws = [owner.frozen_until for owner in self.owners if owner.ready]
            if not self._timers and not thaws:
                raise RuntimeError("nothing will ever happen again")
            whens = [*thaws, *(timer[0] for timer in self._timers[:1])]
            self.now = max(self.now, min(whens))
            return None
        owner = able[0] if len(able) == 1 else self.chance.choice(able)
        owner.steps += 1
        handle = owner.ready.popleft()
        if not handle.cancelled():
            handle._run()
        if self._failed is not None:
            raise self._failed
        return owner

    def _fire(self) -> None:
        while self._timers and self._timers[0][0] <= self.now:
            _, _, handle, owner = heapq.heappop(self._timers)
            if owner.alive and not handle.cancelled():
                owner.ready.append(handle)

    def end(self, owner: Owner) -> None:
        """A process is no more: what it would have done is not done."""
        owner.alive = False
        owner.ready.clear()
        self.owners = [one for one in self.owners if one is not owner]
        self._ended.append(owner)
        self.on_end(owner)

    def close(self) -> None:
        """Unwind what is left of every process, once nothing it does counts any more."""
        left = [task for owner in (*self.owners, *self._ended) for task in owner.tasks if not task.done()]
        told, sys.unraisablehook = sys.unraisablehook, lambda _: None  # generators without a loop to unwind on
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of what was never begun
                while left:
                    task = left.pop()
                    task._log_destroy_pending = False  # type: ignore[attr-defined]
                    with suppress(BaseException):
                        task.get_coro().close()  # type: ignore[union-attr]
                    del task
        finally:
            sys.unraisablehook = told
