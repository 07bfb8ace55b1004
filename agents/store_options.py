"""How RocksDB is to keep a store.

In: nothing. Out: options, with memory that all stores of a process share. Called by `agents.store`.
"""

from __future__ import annotations

from rocksdict import BlockBasedOptions, Cache, DBCompressionType, Options, WriteBufferManager

_CACHE_BYTES, _WRITE_BUFFER_BYTES = 24 * 2**20, 48 * 2**20
_cache = Cache(_CACHE_BYTES)
_write_buffers = WriteBufferManager(_WRITE_BUFFER_BYTES, allow_stall=False)
"""One of each for all stores of a process: what a worker needs does not grow with its partitions."""


def store_options() -> Options:
    """Of one store, new or not."""
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_compression_type(DBCompressionType.zstd())
    options.set_write_buffer_size(32 * 1024 * 1024)
    options.set_max_write_buffer_number(3)
    options.set_write_buffer_manager(_write_buffers)
    options.increase_parallelism(2)
    # Most persons and cells that a batch asks for are new, and most of the others are in one file of many: filters say so
    # without a search, in memory and on disk.
    options.set_memtable_prefix_bloom_ratio(0.05)
    options.set_memtable_whole_key_filtering(True)
    blocks = BlockBasedOptions()
    blocks.set_bloom_filter(10, False)
    blocks.set_block_cache(_cache)
    options.set_block_based_table_factory(blocks)
    return options
