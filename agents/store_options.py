"""How RocksDB is to keep a store.

In: a folder. Out: options, with memory and threads that all stores of a process share, and what is opened with them. Called by
`agents.store`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from rocksdict import (
    BlockBasedOptions,
    Cache,
    DBCompactionStyle,
    DBCompressionType,
    Env,
    Options,
    Rdict,
    UniversalCompactOptions,
    WriteBufferManager,
)

_CACHE_BYTES, _WRITE_BUFFER_BYTES = 24 * 2**20, 48 * 2**20
_OUTDATED_PERCENT_MAX: Final = 25
_COLUMN_FAMILY: Final = "default"
"""RocksDB's name of the one that is always there."""

_cache = Cache(_CACHE_BYTES)
_write_buffers = WriteBufferManager(_WRITE_BUFFER_BYTES, allow_stall=False)
_env = Env()
_env.lower_thread_pool_cpu_priority()
"""One of each for all stores of a process: what a worker needs does not grow with its partitions.

Files are merged with what processor time nobody else wants (nice 19): a merge takes a core for seconds, of a large store for
minutes, and no event waits for its end. What is in memory is flushed at the priority of everything else: writing would have to
wait for that one.
"""


def store_options() -> Options:
    """Of one store, new or not."""
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_env(_env)
    options.set_compression_type(DBCompressionType.zstd())
    options.set_write_buffer_size(32 * 1024 * 1024)
    options.set_max_write_buffer_number(3)
    options.set_write_buffer_manager(_write_buffers)
    options.increase_parallelism(2)
    # Files of much the same age are merged, not each new one with all that is there: a store of millions of people was written
    # anew for every few thousand, and took as much processor time as all else. All is merged when what is outdated may come
    # to a quarter.
    options.set_compaction_style(DBCompactionStyle.universal())
    merging = UniversalCompactOptions()
    merging.max_size_amplification_percent = _OUTDATED_PERCENT_MAX
    options.set_universal_compaction_options(merging)
    # Most persons and cells that a batch asks for are new, and most of the others are in one file of many: filters say so
    # without a search, in memory and on disk.
    options.set_memtable_prefix_bloom_ratio(0.05)
    options.set_memtable_whole_key_filtering(True)
    blocks = BlockBasedOptions()
    blocks.set_bloom_filter(10, False)
    blocks.set_block_cache(_cache)
    options.set_block_based_table_factory(blocks)
    return options


def open_database(path: Path, options: Options, **how: Any) -> Any:
    """With these options throughout: by itself rocksdict takes most of them from the folder, as they were when it was made.

    Such a store keeps the compression of an earlier release, and has a cache of its own instead of a share of the process's.
    """
    return Rdict(str(path), options, column_families={_COLUMN_FAMILY: options}, **how)
