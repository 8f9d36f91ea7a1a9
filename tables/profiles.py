"""The table of profiles: what the worker knows of each user, from the newest layer down to the disk.

A changed profile first lives in memory (`dirty`), goes into the changelog and is committed there, and only then into
RocksDB. Reads look through the same layers from the newest one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import cast

import faust
from faust.tables.table import Table

from fraudstream.state.profile import EMPTY
from fraudstream.tables.store import ProfileStore
from fraudstream.topics import PROFILES_TABLE

UserKey = tuple[int, bytes]
"""Source partition and message key."""


class ProfileTable(Table):  # type: ignore[type-arg]
    """A Faust table on a `ProfileStore`; Faust assigns its partitions, checkpoints write it."""

    def _new_store(self) -> ProfileStore:
        return ProfileStore("rocksdb://", self.app, self, table_name=self.name, loop=self.loop)

    @property
    def store(self) -> ProfileStore:
        """The RocksDB store underneath."""
        return cast(ProfileStore, self.data)


def profile_table(app: faust.App, partitions: int) -> ProfileTable:
    """Declares the table of profiles on an app."""
    table = ProfileTable(
        app, name=PROFILES_TABLE, partitions=partitions, key_type=bytes, value_type=bytes, recovery_buffer_size=1000
    )
    app.tables.add(table)
    return table


class Profiles:
    """Profiles of the partitions this worker owns, with what is not yet committed on top.

    Args:
        store: holds what is committed.
        cache_size: committed profiles kept in memory, least recently used go first.
    """

    def __init__(self, store: ProfileStore, cache_size: int) -> None:
        self._store = store
        self._cache_size = cache_size
        self._cache: OrderedDict[UserKey, bytes] = OrderedDict()
        self._dirty: dict[UserKey, bytes] = {}
        self._committing: dict[UserKey, bytes] = {}

    def load(self, partition: int, key: bytes) -> bytes:
        """The current record of a user, `EMPTY` if there is none."""
        user = (partition, key)
        record = self._dirty.get(user)
        if record is None:
            record = self._committing.get(user)
        if record is not None:
            return record
        record = self._cache.get(user)
        if record is not None:
            self._cache.move_to_end(user)
            return record
        record = self._store.read(partition, key) or EMPTY
        self._remember(user, record)
        return record

    def find(self, partitions: Iterable[int], key: bytes) -> bytes:
        """The record of a user in whichever of these partitions holds it."""
        return next((record for partition in partitions if (record := self.load(partition, key))), EMPTY)

    def put(self, changed: Mapping[UserKey, bytes]) -> None:
        """Takes the profiles that a batch changed."""
        self._dirty.update(changed)

    def begin_commit(self) -> dict[int, list[tuple[bytes, bytes]]]:
        """Sets what is dirty aside for a commit; returns it by partition."""
        self._committing, self._dirty = self._dirty, {}
        by_partition: dict[int, list[tuple[bytes, bytes]]] = {}
        for (partition, key), record in self._committing.items():
            by_partition.setdefault(partition, []).append((key, record))
        return by_partition

    def end_commit(self, changelog_offsets: Mapping[int, int]) -> None:
        """Writes what was set aside to disk, now that the changelog holds it."""
        by_partition: dict[int, list[tuple[bytes, bytes | None]]] = {}
        for user, record in self._committing.items():
            by_partition.setdefault(user[0], []).append((user[1], record))
            self._remember(user, record)
        for partition, items in by_partition.items():
            self._store.write(partition, items, changelog_offsets[partition])
        self._committing = {}

    def forget(self) -> None:
        """Drops everything in memory: partitions move, and their next owner changes what we remember."""
        self._cache.clear()
        self._dirty.clear()
        self._committing.clear()

    def _remember(self, user: UserKey, record: bytes) -> None:
        if not self._cache_size:
            return
        self._cache[user] = record
        self._cache.move_to_end(user)
        if len(self._cache) > self._cache_size:
            self._cache.popitem(last=False)
