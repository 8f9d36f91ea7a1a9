"""Leaves copies of changed profiles in the cache after each checkpoint; the stream never waits for it.

Order of copies does not matter: the cache refuses what is older than what it has. Whatever it may lack (it was down,
it began anew, the buffer ran over, an earlier owner died with copies in hand) is written again from the table, which
holds everything; so the cache always ends where the table is.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from fraudstream.adapters.metrics import Metrics
from fraudstream.adapters.profile_cache import ProfileCache
from fraudstream.errors import CacheUnavailable, said
from fraudstream.state.profile import source_offset

log = logging.getLogger(__name__)

BUFFER_PROFILES = 20_000
"""At most 8 kB each; what runs over is dropped, counted, and written again from the table."""

SLICE_PROFILES = 256
PACE_S = 1e-4
"""At most 10,000 copies a second: a copy costs the loop some 3 µs, so the stream keeps 97 % of it whatever happens."""

LOOK_AGAIN_S = 30.0
IDLE_S = 1.0
RETRY_S, LONGEST_RETRY_S = 0.1, 5.0
DRAIN_S = 2.0
WRITE_TIMEOUT_S = 2.0


class Table(Protocol):
    """Committed profiles by partition."""

    def after(self, partition: int, key: bytes, count: int) -> list[tuple[bytes, bytes]]:
        """The next users and records in the order of keys, fewer than `count` at the end."""
        ...


class Waiting:
    """Profiles that the cache does not have yet: the newest record of each user, longest waiting first.

    Args:
        size: most users kept; the longest waiting ones are dropped.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._records: OrderedDict[bytes, tuple[int, bytes]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._records)

    def add(self, partition: int, records: Iterable[tuple[bytes, bytes]]) -> int:
        """Takes records of a partition, unless a newer one of the user waits; returns how many users are too many."""
        waiting = self._records
        for key, record in records:
            held = waiting.get(key)
            if held is None or source_offset(held[1]) <= source_offset(record):
                waiting[key] = (partition, record)
        return len(waiting) - self._size

    def drop(self) -> set[int]:
        """Lets go of what is too much; returns the partitions of those users."""
        lost: set[int] = set()
        while len(self._records) > self._size:
            _key, (partition, _record) = self._records.popitem(last=False)
            lost.add(partition)
        return lost

    def take(self, count: int) -> dict[bytes, tuple[int, bytes]]:
        """Takes the longest waiting users out."""
        records = self._records
        return dict(records.popitem(last=False) for _ in range(min(count, len(records))))


class Walk:
    """Which partitions are still to be copied from the table, and how far the first of them is."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._partitions: list[int] = []
        self._key = b""

    @property
    def partition(self) -> int | None:
        """The one that is walked through now."""
        return self._partitions[0] if self._partitions else None

    @property
    def is_at_start(self) -> bool:
        """Whether nothing of that partition is copied yet."""
        return not self._key

    def begin(self, partitions: Iterable[int]) -> None:
        """Adds partitions; one that is already under way begins anew."""
        for partition in partitions:
            if partition == self.partition:
                self._key = b""
            elif partition not in self._partitions:
                self._partitions.append(partition)

    def keep(self, owned: set[int]) -> None:
        """Forgets the partitions that another worker has now."""
        if self.partition not in owned:
            self._key = b""
        self._partitions = [partition for partition in self._partitions if partition in owned]

    def peek(self, count: int) -> list[tuple[bytes, bytes]]:
        """The next users and records."""
        return self._table.after(self._partitions[0], self._key, count)

    def passed(self, items: Sequence[tuple[bytes, bytes]]) -> None:
        """These are copied."""
        self._key = items[-1][0]

    def end_partition(self) -> int:
        """The first partition is done; returns it."""
        self._key = b""
        return self._partitions.pop(0)


class CacheWriter:
    """Writes copies in a task of its own, from `run` to `stop`.

    Args:
        cache: takes them.
        table: where the rest is found.
        owned: the partitions of this worker; none while they are being restored.
        buffer_size: most users that wait.
    """

    def __init__(
        self,
        cache: ProfileCache,
        table: Table,
        owned: Callable[[], set[int]],
        metrics: Metrics,
        buffer_size: int = BUFFER_PROFILES,
    ) -> None:
        self._cache = cache
        self._owned = owned
        self._metrics = metrics
        self._waiting = Waiting(buffer_size)
        self._walk = Walk(table)
        self._now_owned: set[int] = set()
        self._walked: set[int] = set()
        self._lost: set[int] = set()
        self._identity: str | None = None
        self._losses = ""
        self._is_known = False
        self._looked_s = 0.0
        self._is_failing = False
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def hand_over(self, changed: Mapping[int, Sequence[tuple[bytes, bytes]]]) -> None:
        """Takes what a checkpoint has committed, by partition; never waits and never raises."""
        for partition, records in changed.items():
            too_many = self._waiting.add(partition, records)
            if too_many > 0:
                self._metrics.cache_drops.inc(too_many)
                self._lost |= self._waiting.drop()
        self._wake.set()

    def start(self) -> None:
        """Begins to write."""
        self._task = asyncio.ensure_future(self.run())

    async def stop(self) -> None:
        """Writes what waits, for at most 2 s, and lets the cache go."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        try:
            async with asyncio.timeout(DRAIN_S):
                while self._waiting:
                    await self._write_waiting()
        except (CacheUnavailable, TimeoutError) as error:
            log.warning("%d copies of profiles did not reach the cache: %s", len(self._waiting), said(error))
        await self._cache.close()

    async def run(self) -> None:
        """Writes for as long as the worker lives; the cache may come and go."""
        retry_s = RETRY_S
        while True:
            try:
                await self._look()
                await self._step()
                retry_s = RETRY_S
                self._recovered()
            except Exception as error:  # whatever it is, the stream goes on without the cache
                self._fail(error)
                await asyncio.sleep(retry_s * random.uniform(0.5, 1.0))  # noqa: S311  spreads the workers
                retry_s = min(2 * retry_s, LONGEST_RETRY_S)

    async def _step(self) -> None:
        self._metrics.cache_waiting.set(len(self._waiting))
        written = 0
        if self._waiting:
            written = await self._write_waiting()
        elif self._walk.partition in self._now_owned:
            written = await self._write_more()
        else:
            self._wake.clear()
            try:
                async with asyncio.timeout(IDLE_S):
                    await self._wake.wait()
            except TimeoutError:
                return  # to look whether partitions have come
        await asyncio.sleep(written * PACE_S)

    async def _write_waiting(self) -> int:
        taken = self._waiting.take(SLICE_PROFILES)
        try:
            await self._put({key: record for key, (_, record) in taken.items()})
        except BaseException:  # cancelled as well: `stop` tries once more
            for key, (partition, record) in taken.items():
                self.hand_over({partition: [(key, record)]})
            raise
        return len(taken)

    async def _write_more(self) -> int:
        if self._walk.is_at_start:
            self._losses = await self._cache.losses()
        items = self._walk.peek(SLICE_PROFILES)
        if items:
            await self._put(dict(items))
            self._walk.passed(items)
        # A client connects again without a word, so the end of a walk may be in another cache than its beginning.
        if len(items) < SLICE_PROFILES and await self._is_the_same(self._now_owned):
            await self._cache.mark_complete([self._walk.end_partition()], self._losses)
        return len(items)

    async def _put(self, records: Mapping[bytes, bytes]) -> None:
        self._metrics.cache_writes.inc(await self._cache.put(records))

    # What the cache may lack

    async def _look(self) -> None:
        """Finds out what has to be copied from the table; asks the cache only after a failure and from time to time."""
        owned = self._now_owned = self._owned()
        if not owned:
            return
        self._walk.keep(owned)
        now_s = asyncio.get_running_loop().time()
        if not self._is_known or now_s - self._looked_s > LOOK_AGAIN_S:
            await self._is_the_same(owned)
            self._walk.begin(set(await self._cache.incomplete(sorted(owned))) - {self._walk.partition})
            self._is_known, self._looked_s = True, now_s
        self._walk.begin(sorted(owned - self._walked))  # the last owner may have died with copies in hand
        self._walked = owned
        if self._lost and not self._waiting:
            lost, self._lost = self._lost & owned, set()
            self._walk.begin(sorted(lost))

    async def _is_the_same(self, owned: set[int]) -> bool:
        """Whether the cache is the one it was; one that began anew gets everything again."""
        identity = await self._cache.identity()
        is_another = self._identity not in (identity, None)
        if is_another:  # empty, or on a snapshot from some time ago
            await self._cache.mark_incomplete(owned)
            self._walk.begin(sorted(owned))
        self._identity = identity
        return not is_another

    def _fail(self, error: Exception) -> None:
        self._metrics.cache_failures.labels("write").inc()
        if not isinstance(error, CacheUnavailable):
            log.error("copies of profiles cannot be written", exc_info=error)
        elif not self._is_failing:  # once, not at every try
            log.warning("the cache of profiles takes nothing, its copies grow old: %s", said(error))
        self._is_failing, self._is_known = True, False

    def _recovered(self) -> None:
        if self._is_failing:
            log.info("the cache of profiles takes copies again")
        self._is_failing = False
