"""Event files: JSON Lines as they are, compressed by gzip or zstd, or standard input.

In: a path, or `-`. Out: the lines in batches, with the number of the first, and how far the file has been read. What a
line holds is no business of this module. A file that cannot be read, or ends in the middle of a compressed stream,
raises ConfigurationError. Called by `lampit count` and `lampit publish`.
"""

from __future__ import annotations

import gzip
import os
import stat
import sys
import zlib
from collections.abc import Iterator
from typing import BinaryIO, Final, Self

from agents.errors import ConfigurationError

STANDARD_INPUT: Final = "-"

LINE_BYTES_MAX: Final = 8 * 1024 * 1024 - 64 * 1024
"""Of a longer line the end is missing. It is no event, and would not fit the intake topics."""

_CHUNK_BYTES: Final = 128 * 1024
_COMPRESSED_CHUNK_BYTES: Final = 32 * 1024
_ZSTD_PIECE_BYTES: Final = 1024
"""Unpacked at once. Zstandard makes up to 32,768 bytes of one, gzip a thousand: 32 MiB at once, of either."""

_GZIP_MAGIC: Final = b"\x1f\x8b"
_ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


class EventFile:
    """One file. What it is compressed by is told by its first bytes, so standard input may be compressed too."""

    def __init__(self, path: str) -> None:
        """Opens it, so that a wrong name is known before the first of many files is read; it stays open where it is a pipe."""
        self.path = path
        self.bytes_total: int | None = None
        """The length of the file; None of standard input and of pipes."""
        self._raw = self._opened()
        if self._raw is not sys.stdin.buffer:
            status = os.fstat(self._raw.fileno())
            if stat.S_ISREG(status.st_mode):
                self.bytes_total = status.st_size
                # Years of daily files are more than a process may have open at a time.
                self._raw.close()
        self.bytes_read = 0
        """Of the file as it lies there, compressed or not: what a progress bar shows of `bytes_total`."""

    def __enter__(self) -> Self:
        """The file."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close; standard input is left open."""
        self._close()

    def rewind(self) -> bool:
        """Back to the first byte, for `batches` to begin again; False where that is past, in standard input and pipes."""
        if self.bytes_total is None:
            return False
        self._close()
        self.bytes_read = 0
        return True

    def _close(self) -> None:
        if self._raw is not sys.stdin.buffer:
            self._raw.close()

    def _opened(self) -> BinaryIO:
        if self.path == STANDARD_INPUT:
            return sys.stdin.buffer
        try:
            return open(self.path, "rb")
        except OSError as error:
            raise _unreadable(self.path, error.strerror or type(error).__name__) from None

    def batches(self) -> Iterator[tuple[int, list[bytes]]]:
        """(number of the first line, lines), without line feeds; empty lines are there, an empty last one is not."""
        number = 1
        rest = b""
        if self._raw.closed:
            self._raw = self._opened()
        try:
            for chunk in self._content():
                if len(rest) > LINE_BYTES_MAX and b"\n" not in chunk:
                    continue
                lines = (rest + chunk).split(b"\n")
                rest = lines.pop()[: LINE_BYTES_MAX + 1]
                if lines:
                    yield number, lines
                    number += len(lines)
        except EOFError:
            raise _unreadable(self.path, "the compressed data ends too early") from None
        except (gzip.BadGzipFile, zlib.error, ValueError):
            raise _unreadable(self.path, "the compressed data is damaged") from None
        except OSError as error:
            raise _unreadable(self.path, error.strerror or type(error).__name__) from None
        if rest:
            yield number, [rest]
        self._close()

    def _content(self) -> Iterator[bytes]:
        """What the lines are of: unpacked, without a byte order mark, which belongs to the file and not to its first event."""
        unpacked = self._unpacked()
        head = b""
        for chunk in unpacked:
            head += chunk
            if len(head) >= len(_BYTE_ORDER_MARK):
                break
        yield head.removeprefix(_BYTE_ORDER_MARK)
        yield from unpacked

    def _unpacked(self) -> Iterator[bytes]:
        head = self._read(_COMPRESSED_CHUNK_BYTES)
        if head.startswith(_GZIP_MAGIC):
            yield from self._gunzipped(head)
        elif head.startswith(_ZSTD_MAGIC):
            yield from self._unzstd(head)
        else:
            yield head
            while chunk := self._read(_CHUNK_BYTES):
                yield chunk

    def _gunzipped(self, chunk: bytes) -> Iterator[bytes]:
        """A file of one gzip member or several."""
        member = zlib.decompressobj(zlib.MAX_WBITS | 16)
        while chunk:
            yield member.decompress(chunk)
            chunk = member.unused_data if member.eof else self._read(_COMPRESSED_CHUNK_BYTES)
            if member.eof:
                chunk = chunk.lstrip(b"\0") or self._read(_COMPRESSED_CHUNK_BYTES).lstrip(b"\0")
                if not chunk:
                    return
                member = zlib.decompressobj(zlib.MAX_WBITS | 16)
        raise EOFError

    def _unzstd(self, chunk: bytes) -> Iterator[bytes]:
        """A file of one zstd frame or several."""
        import zstandard

        frame = zstandard.ZstdDecompressor().decompressobj()
        try:
            while chunk:
                piece, rest = chunk[:_ZSTD_PIECE_BYTES], chunk[_ZSTD_PIECE_BYTES:]
                yield frame.decompress(piece)
                chunk = frame.unused_data + rest or self._read(_COMPRESSED_CHUNK_BYTES)
                if frame.eof:
                    if not chunk:
                        return
                    frame = zstandard.ZstdDecompressor().decompressobj()
        except zstandard.ZstdError as error:
            raise ValueError from error
        raise EOFError

    def _read(self, size: int) -> bytes:
        chunk = self._raw.read(size)
        self.bytes_read += len(chunk)
        return chunk


def in_unicode(path: str) -> str:
    """A path for JSON: what of its name is no UTF-8 is written out, as an archive from another system may hold it."""
    return os.fsencode(path).decode(errors="backslashreplace")


def open_all(paths: tuple[str, ...]) -> list[EventFile]:
    """Every file; ConfigurationError for the first that cannot be opened, or for standard input named twice."""
    if paths.count(STANDARD_INPUT) > 1:
        raise ConfigurationError("Standard input can be read once: name - only once.")
    return [EventFile(path) for path in paths]


def bytes_of(files: list[EventFile]) -> int | None:
    """The length of all files together; None when one of them does not say."""
    lengths = [file.bytes_total for file in files]
    return None if None in lengths else sum(length for length in lengths if length is not None)


def _unreadable(path: str, why: str) -> ConfigurationError:
    name = "Standard input" if path == STANDARD_INPUT else path
    return ConfigurationError(f"{name} cannot be read ({why}): check the file.")
