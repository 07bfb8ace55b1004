"""Where an archive lies that a command was told of: what its store answers is told in one sentence.

In: a directory or URL, and what errors call it: the option or setting that named it. Out: its files, as the agents have them.
An agent whose store does not answer ends and is started again; of a command, exit code 1 would say that the archive is not in
order, so that a place that cannot be reached is a ConfigurationError. Called by whatever opens an archive for a command.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from agents.archive_files import Files, reason
from agents.errors import ConfigurationError


class Place(Files):
    """The files of an archive, for a command."""

    def __init__(self, url: str, called: str) -> None:
        """Nothing is made or read yet."""
        super().__init__(url, called)
        self.called = called

    def get(self, name: str) -> bytes | None:
        """See `Files`; ConfigurationError where the store refuses or does not answer."""
        with self._told(name, "read"):
            return super().get(name)

    def names(self, folder: str) -> list[str]:
        """See `Files`; ConfigurationError where the store refuses or does not answer."""
        with self._told(folder, "read"):
            return super().names(folder)

    def put(self, name: str, content: bytes) -> None:
        """See `Files`; ConfigurationError where the store refuses or does not answer."""
        with self._told(name, "written"):
            super().put(name, content)

    @contextmanager
    def _told(self, name: str, done: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ConfigurationError(
                f"{self.called} cannot be {done} ({reason(error)}, {name}): check its address, that it answers, and the "
                "rights to it."
            ) from None


def shown(url: str) -> str:
    """The place without what may be secret in a URL: user, password, parameters."""
    if "://" not in url:
        return url
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
