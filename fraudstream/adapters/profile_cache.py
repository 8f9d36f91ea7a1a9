"""Copies of profiles outside the worker that owns them: in Redis, or in this process where there is none.

A copy is never decided upon here: the worker's table is the truth, and what is here may be older. A newer copy is
never replaced by an older one, whoever writes: a worker that stalled and wakes up may write late.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from fraudstream.errors import SettingsError
from fraudstream.settings import Settings
from fraudstream.state.profile import source_offset


@dataclass(frozen=True, slots=True)
class CachedProfile:
    """A copy of a profile, and when it was written (seconds since 1970, by the writer's clock)."""

    record: bytes
    written_s: float

    def age_s(self, now_s: float) -> float:
        """Seconds since it was written; never negative, whatever two machines' clocks say."""
        return max(now_s - self.written_s, 0.0)


class ProfileCache(Protocol):
    """Where copies are. Every call may raise `CacheUnavailable`."""

    async def get(self, keys: Sequence[bytes]) -> list[CachedProfile | None]:
        """The copy of each user's profile, in their order; None where there is none."""
        ...

    async def put(self, records: Mapping[bytes, bytes]) -> int:
        """Takes the records that are not older than what is there, by source offset; returns how many."""
        ...

    async def identity(self) -> str:
        """Changes when what was put may be gone: another process keeps the copies now."""
        ...

    async def losses(self) -> str:
        """Changes whenever a copy may have gone before its time: with the identity, or to make room."""
        ...

    async def mark_complete(self, partitions: Iterable[int], losses: str) -> None:
        """Notes that every user of these source partitions has a copy.

        Args:
            losses: what `losses` said before the first of the copies was put.
        """
        ...

    async def mark_incomplete(self, partitions: Iterable[int]) -> None:
        """Takes that back."""
        ...

    async def incomplete(self, partitions: Sequence[int]) -> list[int]:
        """Those of the partitions that are not marked complete."""
        ...

    async def has_everyone(self, partitions: Sequence[int]) -> bool:
        """Whether every user of the partitions has a copy: all are marked, and nothing was lost since."""
        ...

    async def close(self) -> None:
        """Lets the connections go."""
        ...


class MemoryProfileCache:
    """Copies in this process; the least recently used go first.

    Args:
        size: most copies kept.
        ttl_s: a copy older than this is gone.
    """

    def __init__(self, size: int, ttl_s: float) -> None:
        self._size = size
        self._ttl_s = ttl_s
        self._copies: OrderedDict[bytes, CachedProfile] = OrderedDict()
        self._complete: dict[int, str] = {}
        self._let_go = 0

    async def get(self, keys: Sequence[bytes]) -> list[CachedProfile | None]:
        """As the protocol says."""
        return [self.look(key) for key in keys]

    async def put(self, records: Mapping[bytes, bytes]) -> int:
        """As the protocol says."""
        now_s = time.time()
        return sum(self.remember(key, CachedProfile(record, now_s)) for key, record in records.items())

    def look(self, key: bytes) -> CachedProfile | None:
        """The copy of one user."""
        copy = self._copies.get(key)
        if copy is None:
            return None
        if copy.age_s(time.time()) > self._ttl_s:
            del self._copies[key]
            return None
        self._copies.move_to_end(key)
        return copy

    def remember(self, key: bytes, copy: CachedProfile) -> bool:
        """Takes a copy that is not older than the one that is here; returns whether it did."""
        held = self.look(key)
        if not self._size or (held is not None and source_offset(held.record) > source_offset(copy.record)):
            return False
        self._copies[key] = copy
        self._copies.move_to_end(key)
        if len(self._copies) > self._size:
            self._copies.popitem(last=False)
            self._let_go += 1
        return True

    async def identity(self) -> str:
        """As the protocol says."""
        return "process"

    async def losses(self) -> str:
        """As the protocol says."""
        return str(self._let_go)

    async def mark_complete(self, partitions: Iterable[int], losses: str) -> None:
        """As the protocol says."""
        self._complete |= dict.fromkeys(partitions, losses)

    async def mark_incomplete(self, partitions: Iterable[int]) -> None:
        """As the protocol says."""
        for partition in partitions:
            self._complete.pop(partition, None)

    async def incomplete(self, partitions: Sequence[int]) -> list[int]:
        """As the protocol says."""
        return [partition for partition in partitions if partition not in self._complete]

    async def has_everyone(self, partitions: Sequence[int]) -> bool:
        """As the protocol says."""
        losses = await self.losses()
        return all(self._complete.get(partition) == losses for partition in partitions)

    async def close(self) -> None:
        """As the protocol says."""


def profile_cache(settings: Settings, timeout_s: float) -> ProfileCache:
    """The cache that the settings name: Redis at REDIS_HOST, or this process.

    Raises:
        SettingsError: REDIS_HOST cannot be read, or redis-py is not installed.
    """
    if settings.redis_host is None:
        return MemoryProfileCache(settings.profile_cache_size, settings.profile_ttl_s)
    try:
        from fraudstream.adapters.redis_cache import RedisProfileCache, redis_client  # an extra
    except ModuleNotFoundError:
        raise SettingsError("REDIS_HOST: needs redis-py: pip install 'fraudstream[redis]', or unset it") from None
    return RedisProfileCache(redis_client(settings, timeout_s), settings.app_id, settings.profile_ttl_s)
