"""Stores that cannot be used: set aside, and rebuilt from the log.

In: the folder of a store. Out: `set_aside` moves it away, `noting_damage` remembers that a file in it cannot be read, so
that the next start sets it aside, `is_damaged` tells. Called by the ledger worker.

RocksDB finds damage only where it reads: at the opening, or days later in the middle of a batch. Then the process ends, as
after any failure; without the note it would open the same store again and end at the same place for ever.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agents.errors import DamagedStore, StoreFailed


def is_damage(error: BaseException) -> bool:
    """Whether RocksDB says that its files are not what it wrote: its errors differ in their text only."""
    return str(error).startswith("Corruption")


@contextmanager
def noting_damage(path: Path) -> Iterator[None]:
    """Around what uses the store in `path`.

    Raises DamagedStore where a file in it cannot be read, StoreFailed where the disk is full or does not work.
    """
    try:
        yield
    except Exception as error:
        if is_damage(error):
            _note(path).touch()
            raise DamagedStore(
                f"a file of the store in {path} cannot be read: it is set aside at the next start"
            ) from error
        if str(error).startswith("IO error"):
            # The text names a file and what the system said of it.
            raise StoreFailed(f"the store in {path} cannot be used: {error}; is its disk full?") from error
        raise


def is_damaged(path: Path) -> bool:
    """Whether damage was noted."""
    return _note(path).exists()


def set_aside(path: Path) -> Path:
    """Move a store that does not fit the log out of the way, keeping one such copy for inspection."""
    aside = path.with_name(f"{path.name}.set-aside")
    if aside.exists():
        shutil.rmtree(aside)
    if path.exists():
        path.rename(aside)
    _note(path).unlink(missing_ok=True)
    return aside


def _note(path: Path) -> Path:
    return path.with_name(f"{path.name}.damaged")
