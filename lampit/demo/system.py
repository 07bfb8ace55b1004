"""The whole of Lampit on this machine: an embedded broker and the agents, in a folder of their own.

In: a port for the page. Out: `System`, a context manager; inside it the processes run, after it nothing of them is left.
Called by `lampit.demo.play`. The pseudonym key is random, kept in that folder, and gone with it.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import msgspec

from agents.errors import LampitError
from agents.settings import Settings, load_settings
from lampit.broker import BrokerError, EmbeddedBroker, free_port, stop_process
from lampit.children import end_with_parent, interrupted_afterwards
from lampit.run import AGENTS, identify
from lampit.web.documents import NOTES_FILE
from stream.pseudonym import Pseudonymiser
from stream.regions import COUNTRY

HOST: Final = "127.0.0.1"
FIRST_PERIOD: Final = "2019-03"
"""Closed on 28 March, the day of the figures of Musi Rawas; the demonstration begins three days later."""

READY_SECONDS_MAX: Final = 60.0
_ASK_SECONDS: Final = 0.2
_LOG_LINES: Final = 12


class DemoError(LampitError):
    """The demonstration cannot go on; the message says why."""


class System:
    """Broker and agents; `settings` and `pseudonymise` are those of the agents."""

    settings: Settings
    pseudonymise: Pseudonymiser

    def __init__(self, page_port: int | None, notes: dict[str, Any]) -> None:
        """Nothing runs yet. `notes`: what the page says about its figures."""
        self._ports = {name: free_port() for name in AGENTS}
        if page_port is not None:
            self._ports["rollup"] = page_port
        self._notes = notes
        self._folder = tempfile.TemporaryDirectory(prefix="lampit-demo-")
        self._path = Path(self._folder.name)
        self._broker = EmbeddedBroker(self._path / "broker.log")
        self._agents: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def page(self) -> str:
        """Where the page is."""
        return f"http://{HOST}:{self._ports['rollup']}/"

    def start_broker(self) -> None:
        """Start the broker and make the topics and the ledger."""
        try:
            self._broker.start()
        except BrokerError as error:
            raise DemoError(str(error)) from error
        key = self._path / "pseudonym.key"
        key.touch(mode=0o600)
        key.write_text(secrets.token_hex(32))
        for name in [name for name in os.environ if name.startswith("LAMPIT_")]:
            del os.environ[name]  # the settings of a real installation are none of the demonstration's
        self._common = {
            "bootstrap_servers": self._broker.bootstrap_servers,
            "transactions": False,  # the embedded broker has none
            "pseudonym_key_file": key,
            "day_source": "manual",
            "session_timeout_seconds": 10,
            "first_period": FIRST_PERIOD,
        }
        self.settings = load_settings(**self._common)
        _, self.pseudonymise = identify(self.settings)

    def start_agents(self) -> None:
        """Start the agents; they are not ready yet."""
        for name in AGENTS:
            data_dir = self._path / name
            data_dir.mkdir()
            if name == "rollup":
                (data_dir / NOTES_FILE).write_bytes(msgspec.json.encode(self._notes))
            own = {"web_host": HOST, "web_port": self._ports[name], "data_dir": data_dir}
            variables = {f"LAMPIT_{key.upper()}": str(value) for key, value in (self._common | own).items()}
            with (self._path / f"{name}.log").open("ab") as log, interrupted_afterwards():
                self._agents[name] = subprocess.Popen(
                    [sys.executable, "-m", "lampit", "run", name],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=os.environ | variables | _import_path(),
                    start_new_session=True,  # Ctrl-C reaches it through `stop` only
                    preexec_fn=end_with_parent(signal.SIGTERM),  # noqa: PLW1509
                )

    async def wait_until_ready(self) -> None:
        """Return when every agent says that it is ready; DemoError when one ends or READY_SECONDS_MAX pass."""
        deadline = time.monotonic() + READY_SECONDS_MAX
        for name, port in self._ports.items():
            while not await asyncio.to_thread(_is_ready, port):
                self.check()
                if time.monotonic() > deadline:
                    raise DemoError(
                        f"The {name} agent was not ready in {READY_SECONDS_MAX:.0f} seconds.\n{self._log(name)}"
                    )
                await asyncio.sleep(_ASK_SECONDS)

    async def wait_until_shown(self, ends: Mapping[int, int]) -> None:
        """Return when the page's figures cover these ends of the ledger; DemoError as `wait_until_ready`."""
        deadline = time.monotonic() + READY_SECONDS_MAX
        while not covers(await asyncio.to_thread(_shown, f"{self.page}api/coverage/{COUNTRY}"), ends):
            self.check()
            if time.monotonic() > deadline:
                raise DemoError(
                    f"The page did not show all figures within {READY_SECONDS_MAX:.0f} seconds.\n{self._log('rollup')}"
                )
            await asyncio.sleep(_ASK_SECONDS)

    def check(self) -> None:
        """DemoError when an agent has ended."""
        for name, process in self._agents.items():
            if process.poll() is not None:
                raise DemoError(f"The {name} agent ended with exit code {process.returncode}.\n{self._log(name)}")

    def stop(self) -> None:
        """Stop everything and remove the folder."""
        try:
            for process in self._agents.values():
                process.terminate()
            for process in self._agents.values():
                stop_process(process)
        finally:
            self._broker.stop()
            self._folder.cleanup()

    def __enter__(self) -> Self:
        """As it is: the steps are started one by one, so that they can be shown."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop; a second Ctrl-C meanwhile is too early."""
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            self.stop()
        finally:
            signal.signal(signal.SIGINT, before)

    def _log(self, name: str) -> str:
        file = self._path / f"{name}.log"
        lines = file.read_text(errors="replace").splitlines() if file.exists() else []
        return "\n".join(f"  {line}" for line in lines[-_LOG_LINES:])


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}/health/ready", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def covers(record: Mapping[str, Any] | None, ends: Mapping[int, int]) -> bool:
    """Whether a coverage record was made from everything before these ends of the ledger's partitions."""
    position = {} if record is None else record["position"]
    return all(position.get(str(partition), 0) >= end for partition, end in ends.items())


def _shown(url: str) -> dict[str, Any] | None:
    """The coverage record that the page serves; None while it serves none."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return msgspec.json.decode(answer.read(), type=dict[str, Any])
    except (urllib.error.URLError, OSError):
        return None


def _import_path() -> dict[str, str]:
    """The same packages as this process has, and nothing from the working directory."""
    package = str(Path(__file__).resolve().parents[2])
    path = os.environ.get("PYTHONPATH")
    return {"PYTHONPATH": package + (os.pathsep + path if path else ""), "PYTHONSAFEPATH": "1"}
