"""Where an archive lies: a directory or an S3-compatible store, behind the few things that are done to its files.

In: LAMPIT_ARCHIVE_URL: a path, file:// or s3://bucket/prefix (with ?endpoint_override=…&scheme=http for other stores than
Amazon's). Out: `put`, `get`, `names`. A file is there whole or not at all: in a directory by a temporary name, fsync and
rename; in an object store by one upload, which shows nothing before it is complete. Called by agent and audit.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

from pyarrow import ArrowInvalid, fs

from agents.errors import ConfigurationError

_TEMPORARY: Final = ".tmp"


class Files:
    """The files of one archive. Paths are relative to it, with slashes."""

    def __init__(self, url: str) -> None:
        """Nothing is made or read yet."""
        self.url = url
        try:
            self.filesystem, self.root = _resolve(url)
        except (ArrowInvalid, OSError, ValueError) as error:
            raise ConfigurationError(
                f"LAMPIT_ARCHIVE_URL cannot be used: give a directory, or s3://BUCKET/PREFIX ({type(error).__name__})."
            ) from None
        self.is_local = isinstance(self.filesystem, fs.LocalFileSystem)

    def path(self, name: str) -> str:
        """The path of a file in the store."""
        return f"{self.root}/{name}"

    def url_of(self, name: str) -> str:
        """The path or URL by which another program (DuckDB) finds the file."""
        return self.path(name) if self.is_local else f"s3://{self.path(name)}"

    def put(self, name: str, content: bytes) -> None:
        """Write a file whole, replacing one of that name."""
        if self.is_local:
            _put_locally(Path(self.path(name)), content)
            return
        with self.filesystem.open_output_stream(self.path(name), compression=None) as stream:
            stream.write(content)

    def get(self, name: str) -> bytes | None:
        """A file's bytes; None where there is none."""
        try:
            if self.is_local:
                return Path(self.path(name)).read_bytes()
            with self.filesystem.open_input_stream(self.path(name), compression=None) as stream:
                return bytes(stream.read())
        except (FileNotFoundError, NotADirectoryError):
            return None

    def names(self, folder: str) -> list[str]:
        """The names directly in a folder, sorted; nothing where there is no such folder. Temporary files are left out."""
        found = self.filesystem.get_file_info(fs.FileSelector(self.path(folder), allow_not_found=True))
        return sorted(info.base_name for info in found if not info.base_name.endswith(_TEMPORARY))

    def remove_temporary(self, folder: str) -> None:
        """Remove what a killed process left half written."""
        if self.is_local and (path := Path(self.path(folder))).is_dir():
            for left in path.glob(f".*{_TEMPORARY}"):
                left.unlink(missing_ok=True)


def _resolve(url: str) -> tuple[Any, str]:
    if "://" not in url:
        return fs.LocalFileSystem(), str(Path(url).absolute())
    filesystem, root = fs.FileSystem.from_uri(url)
    return filesystem, root.rstrip("/")


def _put_locally(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}{_TEMPORARY}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
    # The name too has to outlive a power cut.
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
