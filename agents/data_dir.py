"""The data directory of a process: made where there is none, and of no other process of its kind.

In: LAMPIT_DATA_DIR. Out: `made` makes a folder; `sole_use` keeps every other process of that role out of it as long as it
lasts. Only ledger workers have stores there whose own locks would stop another one, and only one that has the same partition.
"""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from agents.errors import ConfigurationError

LOOK_SECONDS: Final = 0.1

logger = logging.getLogger("lampit")


def made(folder: Path) -> Path:
    """A folder at or below LAMPIT_DATA_DIR, there by now."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unusable(error) from None
    return folder


@contextmanager
def sole_use(folder: Path, role: str, seconds_max: float) -> Iterator[None]:
    """Hold the lock of a role on the data directory. Raises ConfigurationError where another process keeps it.

    seconds_max: how long it may, since it may be about to stop: the agents of a `run all` that was killed have their time to
    stop in, while the next one is started. The kernel lets go of the lock with the process, however that ends, and no child
    has it. A file system that knows no locks keeps nobody out.
    """
    path = made(folder) / f"{role}.lock"
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise _unusable(error) from None
    try:
        if not _locked(lock) and not _locked_later(lock, role, seconds_max):
            raise ConfigurationError(
                f"LAMPIT_DATA_DIR is in use by another `lampit run {role}`: give each a directory of its own, or end the "
                "other one."
            )
        yield
    finally:
        os.close(lock)


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def _locked_later(lock: int, role: str, seconds_max: float) -> bool:
    logger.warning("another `lampit run %s` uses LAMPIT_DATA_DIR: waiting %.0f s for its end", role, seconds_max)
    deadline = time.monotonic() + seconds_max
    while time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)
        if _locked(lock):
            return True
    return False


def _unusable(error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"LAMPIT_DATA_DIR cannot be used ({error.strerror}): name a directory that this user may write."
    )
