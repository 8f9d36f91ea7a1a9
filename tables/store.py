"""The RocksDB store of a table, opened so that its options really hold, also on a database that exists already.

rocksdict applies the options given for a column family, not the ones given for the database, when it opens an existing
one; without them a profile read costs five times as much (an 8 MiB cache and no bloom filter).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

import rocksdict
from faust.stores.rocksdb import Store

from fraudstream.errors import StoreError
from fraudstream.tables.faults import Fault, fault, kind_of, mark_damaged, mark_of, set_aside

log = logging.getLogger(__name__)

BLOCK_CACHE_BYTES = 32 * 1024 * 1024
WRITE_BUFFER_BYTES = 16 * 1024 * 1024
BLOOM_BITS_PER_KEY = 10
OPEN_FILES = 512
LOCKED_TRIES = 30
"""One a second: a worker that is told to stop closes its databases well within."""
WALK_ITEMS = 1_000
MEMORY_OF = {
    "write_buffers": "rocksdb.size-all-mem-tables",
    "indexes": "rocksdb.estimate-table-readers-mem",
    "blocks": "rocksdb.block-cache-usage",
}
"""What RocksDB holds memory for, and the property in which it tells how much."""
_COLUMN_FAMILY = "default"


def open_options() -> rocksdict.Options:
    """Options of a partition's database: raw bytes, a bloom filter, bounded memory."""
    options = rocksdict.Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_max_open_files(OPEN_FILES)
    options.set_write_buffer_size(WRITE_BUFFER_BYTES)
    blocks = rocksdict.BlockBasedOptions()
    # Filters and indexes are read with their file and go with it, 3 to 24 bytes a profile. In the cache, those of files
    # that were merged long ago would stay until it is full, at megabytes an hour.
    blocks.set_cache_index_and_filter_blocks(False)
    blocks.set_bloom_filter(BLOOM_BITS_PER_KEY, False)
    blocks.set_block_cache(rocksdict.Cache(BLOCK_CACHE_BYTES))
    options.set_block_based_table_factory(blocks)
    options.set_keep_log_file_num(2)
    return options


class ProfileStore(Store):
    """Faust's RocksDB store with working options and a checkpoint that writes values and offset in one batch.

    A damaged database is moved aside when it is opened, so that it is restored; damage that shows later is marked for
    the next start and ends the process, because what was read from it so far cannot be trusted either.

    Attributes:
        on_set_aside: told the partition whose database was damaged.
        on_fault: told what cannot go on; it must not return.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._loading: set[int] = set()
        self.on_set_aside: Callable[[int], None] = lambda _partition: None
        self.on_fault: Callable[[StoreError], NoReturn] = _raise

    def _open_for_partition(self, partition: int) -> Any:
        path = self.partition_path(partition)
        try:
            damage = mark_of(path)
            if damage is None:
                try:
                    return self._open_checked(path)
                except Exception as error:
                    if kind_of(error) is not Fault.DAMAGED or not path.is_dir():
                        raise
                    damage = str(error)
            self._set_aside(partition, damage)
            return self._open_checked(path)
        except Exception as error:
            raise fault(path, error) from error

    def _set_aside(self, partition: int, damage: str) -> None:
        aside = set_aside(self.partition_path(partition))
        log.warning(
            "profiles of partition %d on this disk are damaged (%s): moved to %s, and restored from the changelog",
            partition, " ".join(damage.split()), aside,
        )  # fmt: skip
        self.on_set_aside(partition)

    def _open_checked(self, path: Path) -> Any:
        db = _open(path)
        try:
            db.get(self.offset_key)  # without it the rest is worth nothing
        except Exception:
            with suppress(Exception):  # closing says the same again
                db.close()
            raise
        return db

    async def _try_open_db_for_partition(
        self, partition: int, max_retries: int = LOCKED_TRIES, retry_delay: float = 1.0, generation_id: int = 0
    ) -> Any:
        """As Faust's, which takes every error with "lock" in it, a damaged block's too, for a lock."""
        for tries_left in reversed(range(max_retries)):
            try:
                return self._db_for_partition(partition)
            except StoreError as error:
                if not tries_left or kind_of(error.__cause__ or error) is not Fault.LOCKED:
                    self.on_fault(error)
                if generation_id != self.app.consumer_generation_id:
                    return None  # rebalanced again meanwhile
                log.info("profiles of partition %d are in use by another process, waiting", partition)
                await self.sleep(retry_delay)
        return None

    def read(self, partition: int, key: bytes) -> bytes | None:
        """The value of a key in one partition."""
        with self._guarded(partition) as db:
            value: bytes | None = db.get(key)
        return value

    def write(self, partition: int, items: Iterable[tuple[bytes, bytes | None]], changelog_offset: int) -> None:
        """Writes values (None deletes) and the changelog offset they go up to, all or nothing."""
        if partition in self._loading:
            self._settle(partition)
        self._write(partition, items, changelog_offset, None)

    def load(self, partition: int, items: Iterable[tuple[bytes, bytes | None]], changelog_offset: int) -> None:
        """As `write`, but without RocksDB's log until the next `write`: a crash before that loses the last of them.

        Values and their offset are lost together, because tables go to disk in the order in which they were written.
        """
        if partition not in self._loading:
            self._loading.add(partition)
            self._compact_by_itself(partition, False)  # once at the end costs less than again and again in between
        self._write(partition, items, changelog_offset, _unlogged())

    def _settle(self, partition: int) -> None:
        with self._guarded(partition) as db:
            db.flush()
        self._loading.discard(partition)
        self._compact_by_itself(partition, True)

    def _compact_by_itself(self, partition: int, does: bool) -> None:
        with self._guarded(partition) as db:
            db.set_options({"disable_auto_compactions": str(not does).lower()})

    def _write(
        self, partition: int, items: Iterable[tuple[bytes, bytes | None]], changelog_offset: int, how: Any
    ) -> None:
        batch = rocksdict.WriteBatch(raw_mode=True)
        for key, value in items:
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        batch.put(self.offset_key, str(changelog_offset).encode())
        with self._guarded(partition) as db:
            db.write(batch, how)

    def persisted_offset(self, tp: Any) -> int | None:
        """The changelog offset up to which this partition's profiles go, None where there are none."""
        found = self.read(tp.partition, self.offset_key)
        return None if found is None else int(found)

    def items(self, partition: int) -> Iterator[tuple[bytes, bytes]]:  # type: ignore[override]
        """All keys and values of a partition; for checks and exports, never from a view."""
        key = b""
        while some := self.after(partition, key, WALK_ITEMS):
            yield from some
            key = some[-1][0]

    def after(self, partition: int, key: bytes, count: int) -> list[tuple[bytes, bytes]]:
        """The next keys and values of a partition in the order of keys; fewer than `count` at the end.

        Holds nothing open in between, so that a slow walk keeps no old files on the disk.

        Args:
            key: the last one of the walk so far, empty at its start.
        """
        with self._guarded(partition) as db:
            found = list(islice(db.items(from_key=key), count + 2))
            if len(found) < count + 2:
                _require_end(db, found[-1][0] if found else key)
        return [(name, value) for name, value in found if name not in (key, self.offset_key)][:count]

    def memory_bytes(self) -> dict[str, int]:
        """What the open databases hold in memory, by the names of MEMORY_OF."""
        return {
            part: sum(db.property_int_value(name) or 0 for db in self._dbs.values()) for part, name in MEMORY_OF.items()
        }

    @contextmanager
    def _guarded(self, partition: int) -> Iterator[Any]:
        """The open database of a partition; what goes wrong with it is ours to tell."""
        try:
            db = self._db_for_partition(partition)
        except StoreError as error:
            self.on_fault(error)
        try:
            yield db
        except Exception as error:
            path = self.partition_path(partition)
            if kind_of(error) is Fault.DAMAGED:
                mark_damaged(path, error)
            self.on_fault(fault(path, error))


def _open(path: Path) -> Any:
    options = open_options()
    return rocksdict.Rdict(str(path), options=options, column_families={_COLUMN_FAMILY: options})


def _unlogged() -> rocksdict.WriteOptions:
    options = rocksdict.WriteOptions()
    options.disable_wal = True  # type: ignore[method-assign, assignment]  # a property, whatever its stub says
    return options


def _require_end(db: Any, key: bytes) -> None:
    """An iterator that meets a damaged block ends as if nothing came after it; only its status tells."""
    rest = db.iter()
    rest.seek(key)
    while rest.valid():
        rest.next()
    rest.status()


def _raise(error: StoreError) -> NoReturn:
    raise error
