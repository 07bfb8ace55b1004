"""An S3-compatible store for the tests, and a way to it on which uploads can be cut off.

In: moto's server in .cache/s3 (scripts/s3-server) or in LAMPIT_TEST_S3. Out: `ObjectStore`, `Way`. Both listen on loopback
ports of their own and end with the test.
"""

from __future__ import annotations

import os
import re
import socket
import tempfile
import threading
import time
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from lampit.broker import spawn, stop_process

ROOT: Final = Path(__file__).resolve().parent.parent
BUCKET: Final = "lampit"
START_SECONDS_MAX: Final = 90.0
ENVIRONMENT: Final[Mapping[str, str]] = {
    "AWS_ACCESS_KEY_ID": "tests",
    "AWS_SECRET_ACCESS_KEY": "tests",
    "AWS_EC2_METADATA_DISABLED": "true",
}
_LISTENS: Final = re.compile(r"Running on http://127\.0\.0\.1:([0-9]+)")
_METHODS: Final = (b"GET ", b"PUT ", b"POST ", b"HEAD ", b"DELETE ")


def _program() -> Path:
    return Path(os.environ.get("LAMPIT_TEST_S3") or ROOT / ".cache" / "s3") / "bin" / "moto_server"


def object_store_missing() -> str | None:
    """What keeps the store from starting on this machine, in one sentence; None when nothing does."""
    return None if _program().exists() else f"{_program()} is missing (scripts/s3-server installs it)."


def url_of(port: int, prefix: str) -> str:
    """A place in the bucket, as LAMPIT_ARCHIVE_URL names it."""
    return f"s3://{BUCKET}/{prefix}?endpoint_override=127.0.0.1:{port}&scheme=http&region=us-east-1"


class ObjectStore:
    """moto's server on a port that it chooses, with one bucket. Everything is in its memory."""

    port: int

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="lampit-s3-")
        log = Path(self._folder.name) / "log"
        self._process = spawn([str(_program()), "--host", "127.0.0.1", "--port", "0"], log=log)
        try:
            self.port = self._wait_for_port(log)
            request = urllib.request.Request(f"http://127.0.0.1:{self.port}/{BUCKET}", method="PUT")
            with urllib.request.urlopen(request, timeout=START_SECONDS_MAX):
                pass
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stop_process(self._process)
        self._folder.cleanup()

    def _wait_for_port(self, log: Path) -> int:
        deadline = time.monotonic() + START_SECONDS_MAX
        while (found := _LISTENS.search(log.read_text(errors="replace"))) is None:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"moto's server did not start:\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.05)
        return int(found[1])


class Way:
    """A way to the store, byte for byte, that can stop in the middle of an upload until it is let go."""

    def __init__(self, store: ObjectStore) -> None:
        """Nothing listens yet."""
        self._store = store
        self._sockets: set[socket.socket] = set()
        self._uploads_left: int | None = None
        self._lock = threading.Lock()
        self.is_held = threading.Event()

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()
        self.cut()

    def hold(self, uploads: int) -> None:
        """Of the upload that follows on this many, let half of a piece through, and from then on nothing."""
        with self._lock:
            self._uploads_left = uploads
            self.is_held.clear()

    def cut(self) -> None:
        """Cut all connections, as they are when their process is gone, and let new ones through."""
        with self._lock:
            self._uploads_left = None
            sockets, self._sockets = self._sockets, set()
            self.is_held.clear()
        for one in sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _listen(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._store.port))
                with self._lock:
                    self._sockets |= {client, server}
                threading.Thread(target=self._forward, args=(client, server, True), daemon=True).start()
                threading.Thread(target=self._forward, args=(server, client, False), daemon=True).start()

    def _forward(self, source: socket.socket, target: socket.socket, is_request: bool) -> None:
        is_upload = False
        with suppress(OSError):
            while piece := source.recv(4096):
                if is_request and piece.startswith(_METHODS):
                    is_upload = piece.startswith(b"PUT ")
                elif is_request and is_upload and self._is_to_be_held():
                    target.sendall(piece[: len(piece) // 2])
                    self.is_held.set()
                    return  # what follows is read by nobody, until the connections are cut
                target.sendall(piece)
            target.shutdown(socket.SHUT_WR)

    def _is_to_be_held(self) -> bool:
        """Whether the piece of an upload that is at hand is the one."""
        with self._lock:
            if self._uploads_left is None:
                return False
            self._uploads_left -= 1
            return self._uploads_left < 0


__all__ = ["ENVIRONMENT", "ObjectStore", "Way", "object_store_missing", "url_of"]
