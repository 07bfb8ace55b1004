"""The Faust app and worker that every agent runs in: the settings that matter, each with its reason, and a hard end.

In: a name, Settings, and the callbacks of what owns the stores. Out: `create_app` → a faust.App on agents/driver.py;
`run(app)` runs it in this process until SIGTERM, or until anything fails, and gives the exit code. Not in here: topics,
producers, agents. A worker never goes on past a failure: the process ends at once with EXIT_FAILED and is started again, or
with EXIT_REFUSED where a setting does not fit.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import Any, Final, NoReturn, cast

import faust
import uvloop
from faust.app import BootStrategy
from faust.types import TP
from faust.worker import Worker as FaustWorker
from mode.supervisors import CrashingSupervisor

from agents import driver, topics
from agents.data_dir import made
from agents.driver import Positions, RawSchema, Transport
from agents.errors import ConfigurationError, LampitError, LogMismatch
from agents.health import Health, Web, add_pages
from agents.logs import configure_logging, describe
from agents.memory import keep_small
from agents.settings import Settings
from agents.threads import in_daemon

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_REFUSED: Final = 2
BEAT_SECONDS: Final = 1.0
TOPICS_SECONDS: Final = 10.0
"""A look at the ids of the topics is a connection of its own."""

TELL_SECONDS_MAX: Final = 1.0
BEGIN_SECONDS_MAX: Final = 300.0
"""Faust takes its time limit of requests for that of a beginning too; `driver` uses four fifths, within the poll interval.
Who takes over dozens of partitions reads millions of lists of anomalies; with too little time no worker ever comes up."""

logger = logging.getLogger("lampit")

Notice = Callable[[frozenset[TP]], Awaitable[None]]


def die(error: BaseException) -> NoReturn:
    """End the process now. Stores are crash-safe, what was not acknowledged is done again; nothing after this runs."""
    # A setting that does not fit will not fit after a restart either.
    _end(EXIT_REFUSED if isinstance(error, ConfigurationError) else EXIT_FAILED, "ending: %s", describe(error))


def _end(code: int, line: str, *values: object) -> NoReturn:
    """End the process with a last line in the log."""

    def tell() -> None:
        logger.critical(line, *values)
        sys.stderr.flush()

    # Whoever reads the log may have stopped too: then a line waits for ever, and what is behind it.
    telling = threading.Thread(target=tell, daemon=True)
    try:
        telling.start()
        telling.join(TELL_SECONDS_MAX)
    finally:  # a machine may have no thread left
        os._exit(code)


class Boot(BootStrategy):
    """No Faust producer: ours (agents/producer.py) awaits every acknowledgement, Faust's does not."""

    enable_kafka_producer = False


class App(faust.App):
    """A Faust app with our transport, web server and callbacks."""

    BootStrategy = Boot

    def __init__(self, name: str, settings: Settings, topic_ids: Mapping[str, str], **options: Any) -> None:
        self.settings = settings
        self.topic_ids = topic_ids
        self.health = Health()
        self.health.require("assigned")
        self.by_time = False
        self.on_begin: Callable[[frozenset[TP]], Awaitable[Positions]] | None = None
        self.on_revoked: Notice | None = None
        self.on_assigned: Notice | None = None
        super().__init__(name, **options)

    def raw_topic(self, *names: str) -> Any:
        """A channel of whole fetches of these topics."""
        return self.topic(*names, schema=RawSchema(), acks=False, internal=False)

    def batch_agent(self, *topics: str) -> Callable[[Callable[[Any], Awaitable[None]]], Any]:
        """An agent over `fetches(stream)`; an exception in it ends the process."""
        return self.agent(
            self.raw_topic(*topics),
            concurrency=1,  # two would take a partition's fetches out of order
            supervisor_strategy=CrashingSupervisor,
        )

    async def begin(self, partitions: frozenset[TP]) -> Mapping[TP, int | None]:
        return dict.fromkeys(partitions) if self.on_begin is None else await self.on_begin(partitions)

    def began(self, partitions: frozenset[TP]) -> None:
        """Every assigned partition stands where it is to begin; with more workers than partitions that may be none.

        What was last measured, as being caught up, was so with the partitions of before.
        """
        for name in self.health.conditions:
            self.health.set(name, False, "not measured since the last assignment")
        self.health.set("assigned", True)

    async def on_start(self) -> None:
        await super().on_start()
        # No `task`: those begin behind the first recovery, in which the group and a `begin` may take minutes.
        self.add_future(self._beat())
        if self.topic_ids:
            self.add_future(self._watch_topics())

    async def _beat(self) -> None:
        while True:
            self.health.beat()
            await asyncio.sleep(BEAT_SECONDS)

    async def _watch_topics(self) -> None:
        """A topic made anew while this process runs would be read on at any offset, and lacks what was written to the old."""
        while True:
            await asyncio.sleep(TOPICS_SECONDS)
            with suppress(LampitError):  # without a broker nothing is read or written
                found = await asyncio.wrap_future(in_daemon(partial(topics.topic_ids, self.settings, self.topic_ids)))
                for name, was in self.topic_ids.items():
                    if found.get(name, was) != was:
                        die(LogMismatch(f"{name} was deleted and made anew while this process ran: starting again"))

    async def _tell_assigned(self, _: Any, assigned: set[TP], **__: Any) -> None:
        if self.on_assigned is not None:
            await self.on_assigned(frozenset(TP(*tp) for tp in assigned))

    async def _tell_revoked(self, _: Any, revoked: set[TP], **__: Any) -> None:
        self.health.set("assigned", False, "the group is being reassigned")
        if self.on_revoked is not None:
            await self.on_revoked(frozenset(TP(*tp) for tp in revoked))

    async def _stop_consumer(self) -> None:
        """Faust says nothing to its listeners when it stops; a store has to be closed all the same."""
        assigned = set(self._assignment or ())
        await super()._stop_consumer()
        if assigned:
            await self._tell_revoked(self, assigned)

    async def _on_agent_error(self, agent: Any, error: BaseException) -> None:
        """Comes before Faust's supervisor hears of it, so nothing else is handed to any agent."""
        die(error)

    async def crash(self, reason: BaseException) -> None:
        die(reason)

    def _new_transport(self) -> Transport:
        return Transport(self.conf.broker_consumer, self)

    def _new_web(self) -> Web:
        server = Web(self)
        add_pages(server, self.health)
        return server


def create_app(
    name: str,
    settings: Settings,
    *,
    begin: Callable[[frozenset[TP]], Awaitable[Positions]] | None = None,
    assigned: Notice | None = None,
    revoked: Notice | None = None,
    by_time: bool = False,
    topic_ids: Mapping[str, str] | None = None,
) -> App:
    """An app whose consumer group is `<group_prefix>.<name>`.

    `begin(partitions)` gives the next offset of each (None: the committed one, else the first). Faust calls it after every
    rebalance, outside the group's callbacks, sometimes twice, and the driver with no partitions where there are none; it is
    cancelled when the next rebalance comes first, and has ended before `revoked` comes. It may open stores (seconds);
    rebuilding one means to return 0. `revoked` comes when the agent has let go of its batch. by_time: polls take the records of
    several topics in the order of their timestamps (`agents.time_order`). topic_ids: by name; with another one of these the
    process ends.
    """
    app = App(
        f"{settings.group_prefix}.{name}",
        settings,
        topic_ids or {},
        broker=[f"kafka://{server}" for server in settings.bootstrap_servers.split(",")],
        # One per worker: two Faust workers in one overwrite each other.
        datadir=made(settings.data_dir / f"faust-{name}"),
        autodiscover=False,
        # Topics are made by agents/topics.py, with the right number of partitions; Faust is to make none, and no
        # leader or reply topics of its own, which its group would then consume.
        topic_allow_declare=False,
        topic_disable_leader=True,
        reply_create_topic=False,
        store="memory://",
        agent_supervisor=CrashingSupervisor,
        processing_guarantee="at_least_once",  # Faust's exactly_once puts a send and its offset in different transactions
        # Faust's own commits go past lost writes; the driver drops them, and these keep it from trying.
        broker_commit_interval=86_400.0,
        broker_commit_every=2**62,
        broker_session_timeout=float(settings.session_timeout_seconds),
        broker_heartbeat_interval=float(settings.heartbeat_seconds),
        # A member that does not let go of its batch in this time is left behind; its writes are fenced.
        broker_rebalance_timeout=60.0,
        broker_request_timeout=BEGIN_SECONDS_MAX,
        broker_max_poll_interval=300.0,
        broker_max_poll_records=settings.max_poll_records,
        consumer_max_fetch_size=3 * 1024 * 1024,  # some 8,000 events
        consumer_group_instance_id=settings.group_instance_id,
        consumer_metadata_max_age_ms=30_000,
        stream_buffer_maxsize=8,  # each item is a whole fetch: a few are enough, thousands are memory
        stream_wait_empty=True,  # let an agent finish its batch before its partition goes
        stream_recovery_delay=0.0,
        stream_publish_on_commit=False,
        web_enabled=True,
        web_bind=settings.web_host,
        web_port=settings.web_port,
        web_host=settings.web_host,
        web_in_thread=False,  # a page then also says that the event loop comes round
        worker_redirect_stdouts=False,
    )
    app.on_begin, app.on_assigned, app.on_revoked, app.by_time = begin, assigned, revoked, by_time
    app.on_partitions_assigned.connect(cast(Any, app._tell_assigned), weak=False)
    app.on_partitions_revoked.connect(cast(Any, app._tell_revoked), weak=False)
    return app


class Worker(FaustWorker):
    """Runs one app or several in the foreground. Whatever crashes below it ends the process."""

    def __init__(self, *apps: App, **options: Any) -> None:
        super().__init__(
            apps[0],
            *apps[1:],
            quiet=True,
            override_logging=False,
            redirect_stdouts=False,
            loglevel=logging.INFO,
            **options,
        )
        self.apps = apps
        self.spinner = None

    async def on_start(self) -> None:
        for app in self.apps:
            app.in_worker = True
        await super().on_start()

    def _crash(self, reason: BaseException) -> None:
        die(reason)

    def _setproctitle(self, info: str, *, ident: str = "") -> None:
        """The command line as it was typed says more."""

    def install_signal_handlers(self) -> None:
        """Not the loop's own: in a long batch it does not come round, and the time to stop in begins with the signal."""
        begin_to_end = ending_after(max(app.settings.shutdown_seconds for app in self.apps))

        def asked(number: int, _: object) -> None:
            begin_to_end()
            if not self.loop.is_closed():
                self.loop.call_soon_threadsafe(self._on_signal, signal.Signals(number))

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, asked)

    def _on_signal(self, number: signal.Signals) -> None:
        logger.info("%s: stopping", number.name)
        self._schedule_shutdown(number)


def ending_after(seconds: float) -> Callable[[], None]:
    """What lets the process end so many seconds later, stopped or not: Faust can hang while it stops.

    By a thread that does not need the loop. It is there before, because a signal comes in the middle of anything, another
    signal too: what is called is one step in C, where an Event's lock would be waited for by who holds it.
    """
    asked: SimpleQueue[None] = SimpleQueue()

    def end() -> None:
        asked.get()
        time.sleep(seconds)
        _end(EXIT_FAILED, "ending: not stopped after %s s", seconds)

    threading.Thread(target=end, name="lampit-deadline", daemon=True).start()
    return partial(asked.put, None)


def run(*apps: App) -> int:
    """Run until SIGTERM or SIGINT. Gives EXIT_OK; a failure does not come back, it ends the process with EXIT_FAILED."""
    keep_small()
    configure_logging()
    # Faust makes a second loop for the consumer's thread by the policy.
    uvloop.install()
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    worker = Worker(*apps, loop=loop)
    try:
        loop.run_until_complete(worker.start())
    except asyncio.CancelledError:
        pass
    except Exception as error:
        die(error)
    stopping = worker._signal_stop_future
    if stopping is not None:
        loop.run_until_complete(stopping)
    logger.info("stopped")
    sys.stderr.flush()
    return EXIT_OK


__all__ = ["EXIT_FAILED", "EXIT_OK", "App", "create_app", "die", "driver", "run"]
