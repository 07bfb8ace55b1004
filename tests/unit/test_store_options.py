"""A store is kept as this release keeps stores, whoever made it."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest
from rocksdict import DBCompressionType, Options

from agents import store_options
from agents.store import Store


def opened_with(
    path: Path, monkeypatch: pytest.MonkeyPatch, compression: DBCompressionType
) -> tuple[list[str], list[int]]:
    """What RocksDB's log says of an opening: compression, bytes of the block cache."""

    def options() -> Options:
        chosen = store_options.store_options()
        chosen.set_compression_type(compression)
        return chosen

    monkeypatch.setattr("agents.store.store_options", options)
    Store(path).close()
    log = (path / "LOG").read_text(encoding="utf-8", errors="replace")
    sizes = re.findall(r"block_cache: .*\n(?:.*\n)*?\s+capacity : (\d+)", log)
    return re.findall(r"Options\.compression: (\w+)", log), [int(size) for size in sizes]


def test_a_store_that_is_there_gets_the_options_of_today(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It kept those it was made with; and its cache was one of its own, not the one that all stores of a process share."""
    shared = store_options._CACHE_BYTES
    assert opened_with(tmp_path / "0", monkeypatch, DBCompressionType.lz4()) == (["LZ4"], [shared])
    assert opened_with(tmp_path / "0", monkeypatch, DBCompressionType.zstd()) == (["ZSTD"], [shared])


@pytest.mark.skipif(sys.platform != "linux", reason="priorities of threads are Linux's")
def test_files_are_merged_at_the_lowest_priority_and_written_at_that_of_the_process(tmp_path: Path) -> None:
    """A merge takes a core for seconds, in which intake, the broker and this worker's own events would wait."""
    store = Store(tmp_path / "0")
    for value in (b"1", b"2"):
        store._db[b"key"] = value
        store._db.flush(True)
    store._db.compact_range(None, None)
    priorities: dict[str, set[int]] = {}
    for task in Path("/proc/self/task").iterdir():
        name = (task / "comm").read_text().strip()
        priorities.setdefault(name, set()).add(os.getpriority(os.PRIO_PROCESS, int(task.name)))
    store.close()
    assert 19 in priorities["rocksdb:low"]  # one of them that has had nothing to do yet may have any
    assert priorities["rocksdb:high"] == {os.getpriority(os.PRIO_PROCESS, 0)}
