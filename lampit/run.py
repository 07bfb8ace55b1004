"""`lampit run`: one agent in this process, or all of them under a small supervisor.

In: settings. Out: an exit code: 0 when stopped on request, 1 when an agent failed, 2 when the settings do not fit or, at a
first start, nobody answers at the address that they name: an agent that ran before is started again until somebody does. The
ledger is made, or checked, before any agent starts. For production, start each agent by itself under an orchestrator;
`lampit run all` is for one machine.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import Final

import click

from agents.barrier import LedgerIdentity, ensure_ledger
from agents.data_dir import sole_use
from agents.errors import LampitError, Unreachable
from agents.logs import configure_logging
from agents.settings import Settings, load_settings
from lampit import reference
from lampit.children import end_with_parent
from lampit.cli import EXIT_USAGE
from stream.pseudonym import Pseudonymiser

AGENTS: Final = ("intake", "ledger", "rollup")
ARCHIVE: Final = "archive"
RESTART_SECONDS_MIN: Final = 1.0
RESTART_SECONDS_MAX: Final = 30.0
STEADY_SECONDS: Final = 60.0
"""An agent that ran that long is restarted at once when it dies; one that dies sooner waits twice as long each time."""

KILL_AFTER_SECONDS: Final = 5.0
"""Beyond the time an agent gives itself to stop (LAMPIT_SHUTDOWN_SECONDS)."""

_PORT_MAX: Final = 65535

logger = logging.getLogger("lampit.run")


def identify(settings: Settings) -> tuple[LedgerIdentity, Pseudonymiser]:
    """Make or check the ledger; what every agent has to know of it."""
    pseudonymise = Pseudonymiser(*settings.pseudonym_keys())
    identity = asyncio.run(ensure_ledger(settings, pseudonymise.fingerprint, reference.load()))
    return identity, pseudonymise


def run_agent(name: str, settings: Settings) -> int:
    """Run one agent in this process until it is asked to stop, alone of its kind in its data directory."""
    with sole_use(settings.data_dir, name, settings.shutdown_seconds + KILL_AFTER_SECONDS):
        return _run_agent(name, settings)


def _run_agent(name: str, settings: Settings) -> int:
    from agents.app import run

    if name == ARCHIVE:
        from agents import archive

        # Before a broker is waited for: no broker mends it.
        place = archive.place_of(settings)
    identity, pseudonymise = identify(settings)
    if name == "intake":
        from agents import intake

        return run(intake.build(settings, identity, pseudonymise))
    if name == ARCHIVE:
        return run(archive.build(settings, identity, place))
    if name == "ledger":
        from agents import ledger

        return run(ledger.build(settings, identity, reference.load()))
    from agents import rollup
    from agents.figures import Figures
    from lampit.web import mount

    agent = rollup.build(settings, identity, reference.load())
    mount(agent.app, agent.view, Figures(agent.view), agent.on_day)
    return run(agent.app)


def agents_of(settings: Settings) -> tuple[str, ...]:
    """What `run all` runs: the archive too, where one is set."""
    return AGENTS if settings.archive_url is None else (*AGENTS, ARCHIVE)


def environment_of(number: int, settings: Settings) -> dict[str, str]:
    """What tells the agents of one supervisor apart: address and data directory. The rest is passed on as it is."""
    package = Path(__file__).resolve().parent.parent
    path = os.environ.get("PYTHONPATH")
    # One address for all would send the roll-up to itself, when it asks the ledger worker for another day.
    own = settings.model_copy(update={"web_port": settings.web_port + number, "web_url": None})
    return {
        **os.environ,
        "LAMPIT_WEB_PORT": str(own.web_port),
        "LAMPIT_WEB_URL": own.reached_at,
        "LAMPIT_DATA_DIR": str(settings.data_dir / agents_of(settings)[number]),
        # The same packages as this process has, and nothing from the working directory.
        "PYTHONPATH": str(package) + (os.pathsep + path if path else ""),
        "PYTHONSAFEPATH": "1",
    }


class Supervised:
    """One agent as a child process, started again whenever it fails."""

    def __init__(self, number: int, settings: Settings, stop: asyncio.Event) -> None:
        """Not started."""
        self.name = agents_of(settings)[number]
        self._environment = environment_of(number, settings)
        self._kill_after = settings.shutdown_seconds + KILL_AFTER_SECONDS
        self._stop = stop
        self._pause = RESTART_SECONDS_MIN
        self._again = False

    async def keep_running(self) -> int:
        """Until stop is set (0), or it says that it will never run (EXIT_USAGE), which stops the others too."""
        while not self._stop.is_set():
            began = time.monotonic()
            code = await self._run_once()
            if self._stop.is_set():
                break
            if code == EXIT_USAGE:
                logger.error("%s: its settings do not fit; ending", self.name)
                self._stop.set()
                return EXIT_USAGE
            if time.monotonic() - began >= STEADY_SECONDS:
                self._pause = RESTART_SECONDS_MIN
            logger.warning("%s: ended with exit code %d; starting it again in %.0f s", self.name, code, self._pause)
            self._again = True
            await self._unless_stopped(self._pause)
            self._pause = min(2 * self._pause, RESTART_SECONDS_MAX)
        return 0

    async def _run_once(self) -> int:
        """Start it, wait for its end or for the request to end it."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "lampit",
            "run",
            *(["--again"] if self._again else []),
            self.name,
            stdin=asyncio.subprocess.DEVNULL,
            env=self._environment,
            # Ctrl-C reaches it through us only, once.
            start_new_session=True,
            preexec_fn=end_with_parent(signal.SIGTERM),
        )
        logger.info("%s: started, process %d", self.name, process.pid)
        ended = asyncio.create_task(process.wait())
        asked = asyncio.create_task(self._stop.wait())
        await asyncio.wait({ended, asked}, return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        if not ended.done():
            process.terminate()
            try:
                await asyncio.wait_for(asyncio.shield(ended), self._kill_after)
            except TimeoutError:
                logger.warning("%s: not stopped after %.0f s; killed", self.name, self._kill_after)
                process.kill()
        return await ended

    async def _unless_stopped(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stop.wait(), seconds)
        except TimeoutError:
            return


async def supervise(settings: Settings) -> int:
    """Run all agents until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    supervised = [Supervised(number, settings, stop) for number in range(len(agents_of(settings)))]
    codes = await asyncio.gather(*(agent.keep_running() for agent in supervised))
    logger.info("stopped")
    return max(codes)


def run_all(settings: Settings) -> int:
    """All agents on consecutive web ports, each with a directory of its own below the data directory."""
    count = len(agents_of(settings))
    if settings.web_port + count - 1 > _PORT_MAX:
        raise click.UsageError(f"LAMPIT_WEB_PORT is too high: {count} ports from it on are needed.")
    configure_logging()
    with sole_use(settings.data_dir, "all", settings.shutdown_seconds + KILL_AFTER_SECONDS):
        # Once, here: three processes at a new cluster would all want to begin its ledger.
        identify(settings)
        page = environment_of(AGENTS.index("rollup"), settings)["LAMPIT_WEB_URL"]
        click.echo(f"The page will be at {page}/", err=True)
        return asyncio.run(supervise(settings))


@click.command()
@click.argument("agent", type=click.Choice([*AGENTS, ARCHIVE, "all"]))
@click.option(
    "--again", is_flag=True, hidden=True, help="It ran before with these settings: who does not answer is away."
)
def command(agent: str, again: bool) -> None:
    """Run an agent against Kafka until SIGTERM or SIGINT.

    intake takes events in, ledger counts them, rollup adds the figures up, archive keeps the ledger in signed segments
    (LAMPIT_ARCHIVE_URL, LAMPIT_ARCHIVE_KEY_FILE). all is the first three, and the archive where LAMPIT_ARCHIVE_URL is
    set, on consecutive web ports from LAMPIT_WEB_PORT on. All but rollup may be started as often as wanted, each with a
    LAMPIT_DATA_DIR of its own. Settings come from LAMPIT_* variables and the TOML file named by LAMPIT_CONFIG. Each
    agent has /metrics, /health/live and /health/ready.

    \b
    Examples:
      openssl rand -hex 32 > pseudonym.key
      LAMPIT_PSEUDONYM_KEY_FILE=pseudonym.key lampit run all
      LAMPIT_BOOTSTRAP_SERVERS=kafka:9092 LAMPIT_WEB_PORT=6067 lampit run ledger
    """
    settings = load_settings()
    try:
        code = run_all(settings) if agent == "all" else run_agent(agent, settings)
    except Unreachable as error:
        if not again:
            raise
        # The supervisor would end every other agent for a setting that does not fit; these did.
        raise LampitError(str(error)) from error
    raise click.exceptions.Exit(code)
