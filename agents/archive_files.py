"""Where an archive or snapshots lie: a directory or an S3-compatible store, behind the few things that are done to its files.

In: LAMPIT_ARCHIVE_URL or LAMPIT_SNAPSHOT_URL: a path, file:// or s3://bucket/prefix (with ?endpoint_override=…&scheme=http for
other stores than Amazon's). Out: `put`, `get`, `names`; piece by piece, `copy_in` and `copy_out`.
A file is there whole or not at all: in a directory by a temporary name, fsync and rename; in an object store by one upload,
which shows nothing before it is complete. Called by agents and audit.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Final
from uuid import uuid4

from pyarrow import ArrowException, fs

from agents.errors import ConfigurationError, Unreachable

_TEMPORARY: Final = ".tmp"
_LEFT_SECONDS: Final = 3600.0
"""Since a temporary file was last written to. From that to its rename it takes seconds; clocks of two machines may differ."""
_PIECE_BYTES: Final = 4 * 2**20
_S3_ERROR: Final = re.compile(r"AWS Error (\w+)")


class Files:
    """The files of one archive. Paths are relative to it, with slashes."""

    def __init__(self, url: str, setting: str = "LAMPIT_ARCHIVE_URL") -> None:
        """Nothing is made or read yet. setting: where the URL was named, for errors."""
        self.url = url
        try:
            self.filesystem, self.root = _resolve(url)
        except OSError as error:  # which region a bucket lies in is asked of Amazon
            raise Unreachable(
                f"{setting} cannot be reached ({reason(error)}): check the name of the bucket and the network, or give "
                "?region=…"
            ) from None
        except (ArrowException, ValueError) as error:
            raise ConfigurationError(
                f"{setting} cannot be used: give a directory, or s3://BUCKET/PREFIX ({type(error).__name__})."
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

    def require_writable(self, setting: str) -> None:
        """Unreachable where a directory cannot be written or made, tried with a file without a name: nothing is changed. Of an
        object store nothing is known: the right to remove a file again is one that a writer need not have.
        """
        if not self.is_local:
            return
        folder = Path(self.root)
        while not os.path.lexists(folder):
            folder = folder.parent
        try:
            with TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise Unreachable(
                f"{setting} cannot be written ({reason(error)}): name a directory that this user may write."
            ) from None

    def copy_in(self, name: str, path: Path, seen: Callable[[bytes], None]) -> None:
        """Write the file at `path`, piece by piece; `seen` gets each, and ends it by raising: then a part may be there."""
        with path.open("rb") as source:
            pieces = iter(lambda: source.read(_PIECE_BYTES), b"")
            if self.is_local:
                _write_locally(Path(self.path(name)), _telling(pieces, seen))
                return
            with self.filesystem.open_output_stream(self.path(name), compression=None) as stream:
                for piece in _telling(pieces, seen):
                    stream.write(piece)

    def copy_out(self, name: str, path: Path, seen: Callable[[bytes], None]) -> None:
        """Read a file into `path`, piece by piece; `seen` gets each, and ends it by raising. Raises FileNotFoundError."""
        with (
            closing(self.filesystem.open_input_stream(self.path(name), compression=None)) as source,
            path.open("wb") as to,
        ):
            while piece := bytes(source.read(_PIECE_BYTES)):
                seen(piece)
                to.write(piece)

    def remove(self, name: str) -> None:
        """Remove a file, or a folder with all that is in it; nothing where there is none."""
        info = self.filesystem.get_file_info(self.path(name))
        if info.type == fs.FileType.File:
            self.filesystem.delete_file(self.path(name))
        elif info.type == fs.FileType.Directory:
            self.filesystem.delete_dir(self.path(name))

    def names(self, folder: str) -> list[str]:
        """The names directly in a folder, sorted; nothing where there is no such folder. Temporary files are left out."""
        found = self.filesystem.get_file_info(fs.FileSelector(self.path(folder), allow_not_found=True))
        return sorted(info.base_name for info in found if not info.base_name.endswith(_TEMPORARY))

    def remove_temporary(self, folder: str) -> None:
        """Remove what a killed process left half written, an hour later: another worker may be writing a younger one."""
        if self.is_local and (path := Path(self.path(folder))).is_dir():
            for left in path.glob(f".*{_TEMPORARY}"):
                with suppress(FileNotFoundError):
                    if time.time() - left.stat().st_mtime > _LEFT_SECONDS:
                        left.unlink()


def _resolve(url: str) -> tuple[Any, str]:
    if "://" not in url:
        return fs.LocalFileSystem(), str(Path(url).absolute())
    filesystem, root = fs.FileSystem.from_uri(url)
    if not root and not isinstance(filesystem, fs.LocalFileSystem):
        raise ValueError("no bucket is named")
    return filesystem, root.rstrip("/")


def reason(error: OSError) -> str:
    """Why a store did not do what was asked, in a word or two; its whole message names more than a log should hold."""
    if error.errno is not None:
        return os.strerror(error.errno)
    found = _S3_ERROR.search(str(error))
    return found[1] if found else type(error).__name__


def _telling(pieces: Iterator[bytes], seen: Callable[[bytes], None]) -> Iterator[bytes]:
    for piece in pieces:
        seen(piece)
        yield piece


def _put_locally(path: Path, content: bytes) -> None:
    _write_locally(path, iter((content,)))


def _write_locally(path: Path, pieces: Iterator[bytes]) -> None:
    # No number of a process: in two containers it is the same, and a worker that was overtaken may still be writing.
    temporary = path.with_name(f".{path.name}.{uuid4().hex}{_TEMPORARY}")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with temporary.open("wb") as file:
            file.writelines(pieces)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    # The name too has to outlive a power cut.
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
