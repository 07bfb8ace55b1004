"""What a user sees who lacks rights, also where the tests run as root, whom no mode of a file keeps out."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_NOBODY: Final = 65_534


@contextmanager
def as_somebody_else() -> Iterator[None]:
    """Without the rights of root. What is imported inside has to be readable by anybody: import it before."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@contextmanager
def closed_folder() -> Iterator[Path]:
    """A folder that nobody may look into; pytest's own are closed to others altogether."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        closed = Path(name) / "closed"
        closed.mkdir(mode=0o000)
        yield closed
        closed.chmod(0o700)
