"""A pseudonym key in a file.

In: a path, and where it was named. Out: the key, or ConfigurationError, which never shows it. Called by `agents.settings` and
`lampit rotate`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from agents.errors import ConfigurationError

KEY_BYTES_MIN: Final = 32


def read_key(path: Path, named: str) -> bytes:
    """A pseudonym key, without the end of line that editors put after the last line of a file.

    named: where the file was named, for errors.
    """
    try:
        key = path.read_bytes().rstrip(b"\r\n")
    except OSError as error:
        raise ConfigurationError(
            f"The file {named} cannot be read ({error.strerror}): "
            f"name a file that this user may read, with {KEY_BYTES_MIN} bytes or more."
        ) from None
    if len(key) < KEY_BYTES_MIN:
        raise ConfigurationError(f"The file {named} is too short: it should hold {KEY_BYTES_MIN} bytes or more.")
    return key
