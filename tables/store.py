"""The RocksDB store of a table, opened so that its options really hold, also on a database that exists already.

rocksdict applies the options given for a column family, not the ones given for the database, when it opens an existing
one; without them a profile read costs five times as much (an 8 MiB cache and no bloom filter).
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any

import rocksdict
from faust.stores.rocksdb import Store

BLOCK_CACHE_BYTES = 32 * 1024 * 1024
WRITE_BUFFER_BYTES = 16 * 1024 * 1024
BLOOM_BITS_PER_KEY = 10
OPEN_FILES = 512
_COLUMN_FAMILY = "default"


def open_options() -> rocksdict.Options:
    """Options of a partition's database: raw bytes, a bloom filter, bounded memory."""
    options = rocksdict.Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_max_open_files(OPEN_FILES)
    options.set_write_buffer_size(WRITE_BUFFER_BYTES)
    blocks = rocksdict.BlockBasedOptions()
    blocks.set_bloom_filter(BLOOM_BITS_PER_KEY, False)
    blocks.set_block_cache(rocksdict.Cache(BLOCK_CACHE_BYTES))
    blocks.set_cache_index_and_filter_blocks(True)
    options.set_block_based_table_factory(blocks)
    options.set_keep_log_file_num(2)
    return options


class ProfileStore(Store):
    """Faust's RocksDB store with working options and a checkpoint that writes values and offset in one batch."""

    def _open_for_partition(self, partition: int) -> Any:
        options = open_options()
        return rocksdict.Rdict(
            str(self.partition_path(partition)), options=options, column_families={_COLUMN_FAMILY: options}
        )

    def read(self, partition: int, key: bytes) -> bytes | None:
        """The value of a key in one partition."""
        value: bytes | None = self._db_for_partition(partition).get(key)
        return value

    def write(self, partition: int, items: Iterable[tuple[bytes, bytes | None]], changelog_offset: int) -> None:
        """Writes values (None deletes) and the changelog offset they go up to, all or nothing.

        Raises:
            Exception: whatever RocksDB says (disk full, corruption); nothing was written then.
        """
        batch = rocksdict.WriteBatch(raw_mode=True)
        for key, value in items:
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        batch.put(self.offset_key, str(changelog_offset).encode())
        self._db_for_partition(partition).write(batch)

    def items(self, partition: int) -> Iterable[tuple[bytes, bytes]]:  # type: ignore[override]
        """All keys and values of a partition; for checks and exports, never from a view."""
        return ((key, value) for key, value in self._db_for_partition(partition).items() if key != self.offset_key)

    def after(self, partition: int, key: bytes, count: int) -> list[tuple[bytes, bytes]]:
        """The next keys and values of a partition in the order of keys; fewer than `count` at the end.

        Holds nothing open in between, so that a slow walk keeps no old files on the disk.

        Args:
            key: the last one of the walk so far, empty at its start.
        """
        found = list(islice(self._db_for_partition(partition).items(from_key=key), count + 2))
        return [(name, value) for name, value in found if name not in (key, self.offset_key)][:count]
