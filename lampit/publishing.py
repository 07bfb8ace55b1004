"""The producer of `lampit publish`, and how far it got.

In: lines with their topics. Out: acknowledged records, and a state file that holds the last line of the longest
acknowledged beginning of each file: what comes after it is sent again by the next run, which is harmless. The state holds
no line, only a number and check sums. A state made for other topics (a new cluster) is not used.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

import msgspec
from kafka import KafkaProducer
from kafka.errors import KafkaError

from agents.connection import for_kafka_python
from agents.errors import ConfigurationError, LampitError, LostWrite
from agents.settings import Settings
from lampit import tables
from lampit.files import LINE_BYTES_MAX, STANDARD_INPUT, in_unicode

SUFFIX: Final = ".lampit-publish"
LINES_IN_FLIGHT_MAX: Final = 20_000
BYTES_IN_FLIGHT_MAX: Final = 64 * 1024 * 1024
SAVE_SECONDS: Final = 1.0
DELIVERY_SECONDS_MAX: Final = 60.0
LAST_ACKNOWLEDGEMENTS_SECONDS_MAX: Final = 10.0
_WAIT_SECONDS: Final = 0.1
_SIGNAL_EXIT_BASE: Final = 128


class Interrupted(Exception):
    """A signal asked to stop."""

    def __init__(self, number: int) -> None:
        """`number` of the signal."""
        super().__init__()
        self.exit_code = _SIGNAL_EXIT_BASE + number


class Stop:
    """Whether a signal asked to stop, and which. The second one ends the process as it always does."""

    def __init__(self) -> None:
        """Not asked."""
        self._asked = threading.Event()
        self._number = 0

    def ask(self, number: int, _: object = None) -> None:
        """The signal handler."""
        self._number = number
        self._asked.set()
        signal.signal(number, signal.SIG_DFL)

    def check(self) -> None:
        """Raise Interrupted when asked."""
        if self._number:
            raise Interrupted(self._number)

    def wait(self, seconds: float) -> None:
        """Sleep, and wake up to a signal."""
        self._asked.wait(seconds)
        self.check()


@contextmanager
def stop_signals() -> Iterator[Stop]:
    """SIGINT and SIGTERM ask to stop, in between lines."""
    stop = Stop()
    before = {number: signal.signal(number, stop.ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Saved(msgspec.Struct):
    """A position as saved: the last line acknowledged, counted from 1, and the CRC-32 of its bytes.

    before_crc32: of all lines before it that are sent, each with its line feed; None in states of earlier versions.
    """

    line: int
    crc32: int
    before_crc32: int | None = None


class StateFile(msgspec.Struct):
    """What a state file holds. topics: which topics it was published to; files: by absolute path."""

    topics: str
    files: dict[str, Saved]
    format: int = 1


class Position:
    """How far one file is acknowledged."""

    def __init__(self, path: str, saved: Saved | None) -> None:
        """At the saved line, else before the first."""
        self.path = path
        self.saved = Saved(0, 0) if saved is None else saved
        """To be kept."""
        self._passed_crc32 = 0

    @property
    def line(self) -> int:
        """The number of the last line that is acknowledged."""
        return self.saved.line

    def reached(self, number: int, line: bytes) -> None:
        """The line, and every one before it, is acknowledged."""
        self.saved = Saved(number, zlib.crc32(line), self._passed_crc32)
        self.passed(line)

    def passed(self, line: bytes) -> None:
        """A line that was acknowledged before, or is now, in their order; those that are never sent are left out."""
        self._passed_crc32 = zlib.crc32(b"\n", zlib.crc32(line, self._passed_crc32))

    def goes_on_at(self, line: bytes) -> bool:
        """Whether the lines passed, all before this one, are the acknowledged ones; where no sum tells, whether this one is."""
        before = self.saved.before_crc32
        if before != self._passed_crc32 and not (before is None and self.was(line)):
            return False
        self.saved.before_crc32 = self._passed_crc32
        return True

    def was(self, line: bytes) -> bool:
        """Whether this line is the last one acknowledged."""
        return zlib.crc32(line) == self.saved.crc32

    def begin_again(self) -> None:
        """Before the first line."""
        self.saved = Saved(0, 0)
        self._passed_crc32 = 0


class States:
    """The positions of all files of one run, kept in one state file or in one beside each file."""

    def __init__(self, paths: Sequence[str], state: str | None, topics: str) -> None:
        """`topics`: the digest of the topics that are published to."""
        self._topics = topics
        self._file_of = {path: Path(state or path + SUFFIX) for path in paths}
        self._known = {file: self._load(file) for file in self._file_of.values()}
        self._positions: dict[str, Position] = {}
        self._saved_at = time.monotonic()

    def position(self, path: str, resume: bool) -> Position:
        """Where a file stands. Also writes its state for the first time, so that a folder that refuses it is known now."""
        file = self._file_of.get(path)
        saved = self._known[file].files.get(_key(path)) if file is not None and resume else None
        position = self._positions[path] = Position(path, saved)
        self.save()
        return position

    def save_now_and_then(self) -> None:
        """Save when it is time."""
        if time.monotonic() - self._saved_at >= SAVE_SECONDS:
            self.save()

    def save(self) -> None:
        """Write every state; each file is the old one or the new one at any time."""
        for path, position in self._positions.items():
            file = self._file_of.get(path)
            if file is not None:
                self._known[file].files[_key(path)] = position.saved
        for file in {self._file_of[path] for path in self._positions if path in self._file_of}:
            self._write(file)
        self._saved_at = time.monotonic()

    def _load(self, file: Path) -> StateFile:
        try:
            found = msgspec.json.decode(file.read_bytes(), type=StateFile)
        except FileNotFoundError:
            return StateFile(self._topics, {})
        except OSError as error:
            raise ConfigurationError(
                f"The state {file} cannot be read ({error.strerror}): name another by --state."
            ) from None
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise ConfigurationError(
                f"{file} is not a state of lampit publish: name another by --state, or delete it."
            ) from None
        if found.topics != self._topics:
            tables.notice(f"The state {file} is of other topics than these: publishing begins at the first line.")
            return StateFile(self._topics, {})
        return found

    def _write(self, file: Path) -> None:
        new = file.with_name(f"{file.name}.new")
        try:
            with new.open("wb") as output:
                output.write(msgspec.json.encode(self._known[file]))
                output.flush()
                os.fsync(output.fileno())
            new.replace(file)
        except OSError as error:
            raise ConfigurationError(
                f"The state {file} cannot be written ({error.strerror}): name another by --state."
            ) from None


def _key(path: str) -> str:
    return path if path == STANDARD_INPUT else in_unicode(str(Path(path).absolute()))


class _Sent(NamedTuple):
    position: Position
    number: int
    line: bytes
    future: Any


class Publisher:
    """A producer that knows up to which line everything is acknowledged."""

    def __init__(self, settings: Settings, states: States, stop: Stop) -> None:
        """Connects when entered."""
        self._settings = settings
        self._states = states
        self._stop = stop
        self._producer: Any = None
        self._in_flight: deque[_Sent] = deque()
        self._bytes_in_flight = 0
        self._rate: float | None = None
        self._began = 0.0
        self._sent = 0
        self.acknowledged = 0
        """Lines acknowledged in this run."""

    def __enter__(self) -> Self:
        """Connect."""
        try:
            self._producer = KafkaProducer(
                **for_kafka_python(self._settings),
                client_id="lampit-publish",
                acks="all",
                enable_idempotence=self._settings.transactions,
                # kafka-python has zstd from a package that Lampit needs anyway, lz4 from none.
                compression_type=None if self._settings.compression == "none" else "zstd",
                batch_size=256 * 1024,
                linger_ms=10,
                max_request_size=LINE_BYTES_MAX + 32 * 1024,
                delivery_timeout_ms=int(DELIVERY_SECONDS_MAX * 1000),
                max_block_ms=int(DELIVERY_SECONDS_MAX * 1000),
                allow_auto_create_topics=False,
            )
        except (KafkaError, OSError) as error:
            raise LampitError(
                f"No Kafka broker answers at {self._settings.bootstrap_servers} ({type(error).__name__})."
            ) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close; everything that should be waited for has been."""
        if self._in_flight:
            # close() would first wait for what is in flight; this gives it up, which nobody offers publicly.
            self._producer._sender.force_close()
        with contextlib.suppress(KafkaError):
            self._producer.close(timeout=LAST_ACKNOWLEDGEMENTS_SECONDS_MAX)

    def pace(self, rate: float | None) -> None:
        """Send at most so many lines a second, from now on."""
        self._rate = rate
        self._began = time.monotonic()

    def send(self, position: Position, number: int, line: bytes, topic: str, key: bytes | None) -> None:
        """Hand over one line; waits while too much is in flight."""
        self._stop.check()
        if self._rate is not None:
            self._wait_for_turn(self._rate)
        while len(self._in_flight) >= LINES_IN_FLIGHT_MAX or self._bytes_in_flight >= BYTES_IN_FLIGHT_MAX:
            self._wait_for_first()
        try:
            future = self._producer.send(topic, line, key)
        except KafkaError as error:
            self._settle_after(error)
        self._in_flight.append(_Sent(position, number, line, future))
        self._bytes_in_flight += len(line)
        self._sent += 1

    def reap(self) -> None:
        """Take note of what has been acknowledged since."""
        while self._in_flight and self._in_flight[0].future.is_done:
            sent = self._in_flight.popleft()
            self._bytes_in_flight -= len(sent.line)
            if sent.future.failed():
                self._settle_after(sent.future.exception)
            sent.position.reached(sent.number, sent.line)
            self.acknowledged += 1
        self._states.save_now_and_then()

    def drain(self) -> None:
        """Wait for everything in flight."""
        while self._in_flight:
            self._wait_for_first()

    def drain_briefly(self) -> None:
        """The same with little patience, for when the user waits for the end."""
        deadline = time.monotonic() + LAST_ACKNOWLEDGEMENTS_SECONDS_MAX
        while self._in_flight and time.monotonic() < deadline:
            _wait(self._in_flight[0].future)
            self.reap()

    def _wait_for_first(self) -> None:
        self._stop.check()
        _wait(self._in_flight[0].future)
        self.reap()

    def _wait_for_turn(self, rate: float) -> None:
        while (early := self._began + self._sent / rate - time.monotonic()) > 0:
            self.reap()
            self._stop.wait(min(early, _WAIT_SECONDS))

    def _settle_after(self, error: BaseException) -> None:
        raise LostWrite(
            f"A line was not acknowledged ({type(error).__name__}); {self.acknowledged:,} lines were. "
            "The same command goes on from there."
        ) from error


def _wait(future: Any) -> None:
    """Until it is done, or a moment has passed in which a signal may have come."""
    if not future.is_done:
        try:
            future.get(timeout=_WAIT_SECONDS)
        except KafkaError:
            return  # not yet, or failed: reap() sees which
