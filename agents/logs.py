"""Logging: stderr, one line an event, and nothing in it that a record could have brought.

In: log records of Lampit, Faust, mode and aiokafka. Out: lines `2026-11-22T06:00:00.123Z LEVEL logger: message`.
An exception is shown as its type and the places it passed; its message only where ours or the broker's, since others quote
the value they choke on. A setting that does not fit is its sentence alone. Runs of 16 digits and more (a NIK is
16) are masked whatever they are. Of what the Kafka clients repeat as long as a broker is away, one line of a kind in 30 s; what
they try again is a warning.
Caller: agents/app.py.
"""

from __future__ import annotations

import logging
import re
import sys
import time
import traceback
from pathlib import Path
from typing import Final

from aiokafka.errors import KafkaError
from kafka.errors import KafkaError as AdminError

from agents.errors import AddressInUse, ConfigurationError, LampitError

FRAMES_MAX: Final = 6
KAFKA_CLIENTS: Final = ("aiokafka", "kafka")
REPEATED_SECONDS: Final = 30.0
_DIGITS: Final = re.compile(r"\d{16,}")


def describe(error: BaseException) -> str:
    """One line: type, message if it is safe, and the innermost places it passed; of what is no defect the message alone."""
    parts: list[str] = []
    seen: BaseException | None = error
    while seen is not None and len(parts) < 3:
        safe = isinstance(seen, (LampitError, KafkaError, AdminError, OSError, AssertionError))
        text = " ".join(str(seen).split())
        if isinstance(seen, (ConfigurationError, AddressInUse)):
            parts.append(text)
            break
        frames = traceback.extract_tb(seen.__traceback__)[-FRAMES_MAX:]
        places = " < ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in reversed(frames))
        parts.append(type(seen).__name__ + (f": {text}" if safe and text else "") + (f" [{places}]" if places else ""))
        seen = seen.__cause__
    return _DIGITS.sub("****", " caused by ".join(parts))


class OneLine(logging.Formatter):
    """UTC time, level, logger, message; exceptions through `describe`."""

    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        if isinstance(record.args, tuple):
            record.args = tuple(describe(arg) if isinstance(arg, BaseException) else arg for arg in record.args)
        message = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            described = describe(record.exc_info[1])
            message = message if described in message else f"{message} | {described}"
        moment = f"{self.formatTime(record, '%Y-%m-%dT%H:%M:%S')}.{int(record.msecs):03d}Z"
        return _DIGITS.sub("****", f"{moment} {record.levelname} {record.name}: {' '.join(message.split())}")


def _is_of_a_client(record: logging.LogRecord) -> bool:
    return record.name.partition(".")[0] in KAFKA_CLIENTS


class NotRepeated(logging.Filter):
    """Of what one statement of a Kafka client logs, one record in REPEATED_SECONDS; the next says how many were left out."""

    def __init__(self) -> None:
        """Nothing seen yet."""
        super().__init__()
        self._passed: dict[tuple[str, int], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if not _is_of_a_client(record):
            return True
        # By its place: some put their values into the text, which is another one each time then.
        statement, now = (record.name, record.lineno), time.monotonic()
        passed_at, left_out = self._passed.get(statement, (-REPEATED_SECONDS, 0))
        if now - passed_at < REPEATED_SECONDS:
            self._passed[statement] = (passed_at, left_out + 1)
            return False
        self._passed[statement] = (now, 0)
        if left_out:
            record.msg = f"{record.msg} ({left_out} more like this since the last one)"
        return True


def _tried_again(record: logging.LogRecord) -> bool:
    """For `addFilter`, leaves none out: what a Kafka client tries again by itself is a warning, also where it says error."""
    errors = record.args if isinstance(record.args, tuple) else ()
    is_retried = any(isinstance(error, (KafkaError, AdminError)) and error.retriable for error in errors)
    if is_retried and _is_of_a_client(record) and record.levelno > logging.WARNING:
        record.levelno, record.levelname = logging.WARNING, "WARNING"
    return True


def configure_logging(level: int = logging.INFO) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLine())
    handler.addFilter(NotRepeated())
    handler.addFilter(_tried_again)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in ("faust", "mode", "aiokafka", "kafka", "aiohttp", "asyncio", "agents"):
        # ("agents": Faust logs for our subclasses under the name of their module; our own logger is "lampit".)
        # Their lines about every join and start are for their developers; warnings are for operators.
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
