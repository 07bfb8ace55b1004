"""A store of which a file cannot be read: found, said, set aside; never taken for a store that ends there."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rocksdict import WriteBatch

from agents.damage import is_damage, is_damaged, noting_damage, set_aside
from agents.errors import DamagedStore
from agents.store import Store

COLUMNS = 30_000


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """A store with many cells and columns that are due, a block in the middle of its file overwritten."""
    path = tmp_path / "partition-0"
    store = Store(path)
    batch = WriteBatch(raw_mode=True)
    for number in range(COLUMNS):
        column = f"{number:08}{os.urandom(24).hex()}"
        batch.put(b"d" + number.to_bytes(8), msgspec.msgpack.encode([column]))
        batch.put(b"c" + (number % 100).to_bytes(4) + column.encode(), b"\x01" * 8)
    store._db.write(batch)
    store._db.flush()
    store.close()
    file = max(path.glob("*.sst"), key=lambda found: found.stat().st_size)
    content = bytearray(file.read_bytes())
    # Of the file's data blocks one in each half: cells (c) come before columns (d).
    for part in (0.2, 0.7):
        at = int(len(content) * part)
        content[at : at + 64] = os.urandom(64)
    file.write_bytes(content)
    return path


def _days(store: Store) -> list[Any]:
    return list(store.days(-1, 200))


@pytest.mark.parametrize("read", [Store.due_columns, _days])
def test_what_cannot_be_read_is_not_taken_for_the_end(damaged: Path, read: Callable[[Store], Any]) -> None:
    """RocksDB's iterator only stops there: figures would lack what lies behind."""
    store = Store(damaged)
    try:
        with pytest.raises(Exception, match="Corruption") as found:
            read(store)
    finally:
        store.close()
    assert is_damage(found.value)


def test_damage_is_noted_for_the_next_start(damaged: Path) -> None:
    store = Store(damaged)
    assert not is_damaged(damaged)
    with pytest.raises(DamagedStore, match="set aside at the next start"), noting_damage(damaged):
        store.due_columns()
    store.close()
    assert is_damaged(damaged)
    aside = set_aside(damaged)
    assert list(aside.glob("*.sst"))
    assert not damaged.exists()
    assert not is_damaged(damaged)


def test_other_failures_are_no_damage(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="anything else"), noting_damage(tmp_path / "partition-0"):
        raise ValueError("anything else")
    assert not is_damaged(tmp_path / "partition-0")
