"""The data directory of a process: made where there is none, and of no other process of its kind.

In: LAMPIT_DATA_DIR. Out: `made` makes a folder; `sole_use` keeps every other process of that role out of it as long as it
lasts. Only ledger workers have stores there whose own locks would stop another one, and only one that has the same partition.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agents.errors import ConfigurationError


def made(folder: Path) -> Path:
    """A folder at or below LAMPIT_DATA_DIR, there by now."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unusable(error) from None
    return folder


@contextmanager
def sole_use(folder: Path, role: str) -> Iterator[None]:
    """Hold the lock of a role on the data directory. Raises ConfigurationError where another process holds it.

    The kernel lets go of it with the process, however that ends, and no child has it. A file system that knows no locks keeps
    nobody out.
    """
    path = made(folder) / f"{role}.lock"
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise _unusable(error) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise ConfigurationError(
            f"LAMPIT_DATA_DIR is in use by another `lampit run {role}`: give each a directory of its own, or end the other one."
        ) from None
    except OSError:
        pass
    try:
        yield
    finally:
        os.close(lock)


def _unusable(error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"LAMPIT_DATA_DIR cannot be used ({error.strerror}): name a directory that this user may write."
    )
