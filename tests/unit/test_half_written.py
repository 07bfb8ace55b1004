"""Files of the archive that are half written: those of a worker that is at it stay, those that nobody will finish go."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from agents.archive_books import Books
from agents.archive_files import Files
from agents.archive_tree import TreeBooks, tree_path
from agents.topics import LEDGER
from stream.archive import Header
from tests.archives import LEDGER_ID, SIGNER, grow, ledger, write


def test_a_takeover_leaves_what_another_worker_is_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is written under a temporary name, and with a slow disk most of the time is spent before the rename."""
    header = Header(LEDGER_ID, LEDGER, 0)
    write(tmp_path, ledger(200, 1, 2), 100)
    path = tree_path(LEDGER, 0)
    books = Books(Files(str(tmp_path)), header, SIGNER)
    (tmp_path / path).rename(tmp_path / "tree")
    fsync = os.fsync

    def taken_over(number: int) -> None:
        fsync(number)
        Books(Files(str(tmp_path)), header, SIGNER)

    with monkeypatch.context() as slow:
        slow.setattr(os, "fsync", taken_over)
        grow(TreeBooks(books.files, header, SIGNER, books.entries), books)
    assert (tmp_path / path).read_bytes() == (tmp_path / "tree").read_bytes()


def test_what_is_half_written_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At once where writing it failed, as on a full disk, else an hour after the process that wrote it was killed."""
    files = Files(str(tmp_path))

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            files.put("folder/file", b"content")
    assert list((tmp_path / "folder").iterdir()) == []
    left = tmp_path / "folder" / ".file.1.tmp"
    left.write_bytes(b"con")
    for minutes_ago, stays in ((59, [left]), (61, [])):
        at = time.time() - 60 * minutes_ago
        os.utime(left, (at, at))
        files.remove_temporary("folder")
        assert list((tmp_path / "folder").iterdir()) == stays
