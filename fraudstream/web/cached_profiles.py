"""Profiles from the cache for whoever answers requests; when it is down, answers go on from this process' own copies.

A copy may be older than the worker's table, and says so by its age; nothing here ever writes to the cache.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence

from fraudstream.adapters.metrics import Metrics
from fraudstream.adapters.profile_cache import CachedProfile, MemoryProfileCache, ProfileCache, profile_cache
from fraudstream.errors import CacheUnavailable, said
from fraudstream.settings import Settings
from fraudstream.state.profile import EMPTY
from fraudstream.web.profile_source import FoundProfile

log = logging.getLogger(__name__)

RETRY_S, LONGEST_RETRY_S = 0.1, 2.0
LOOK_AGAIN_S = 1.0

NEVER_SEEN = FoundProfile(EMPTY, "cache", 0.0)


class CachedProfiles:
    """A source of profiles that always answers.

    Args:
        cache: is asked for every request, so that its newest copies are seen.
        copies: what came from there before, for the time when it is down.
        partitions: all source partitions; a user without a copy is new where the cache has everyone of them.
        timeout_s: how long the cache may take.
    """

    def __init__(
        self,
        cache: ProfileCache,
        copies: MemoryProfileCache,
        metrics: Metrics,
        partitions: Sequence[int],
        timeout_s: float,
    ) -> None:
        self._cache = cache
        self._copies = copies
        self._metrics = metrics
        self._partitions = partitions
        self._timeout_s = timeout_s
        self._retry_s = RETRY_S
        self._ask_at_s = 0.0
        self._is_complete = False
        self._look_at_s = 0.0
        self._next_keys: dict[bytes, None] = {}
        self._asking: asyncio.Task[dict[bytes, CachedProfile | None] | None] | None = None
        self._one_at_a_time = asyncio.Lock()
        self.problem: str | None = None

    @classmethod
    def of(cls, settings: Settings, metrics: Metrics) -> CachedProfiles:
        """From settings.

        Raises:
            SettingsError: REDIS_HOST cannot be read.
        """
        return cls(
            profile_cache(settings, settings.profile_timeout_s),
            MemoryProfileCache(settings.profile_cache_size, settings.profile_ttl_s),
            metrics,
            range(settings.topic_partitions),
            settings.profile_timeout_s,
        )

    async def find(self, keys: Sequence[bytes]) -> list[FoundProfile | None]:
        """The copy of each user's profile, in their order; None where there is none and the user may be known."""
        copies = await self._ask(keys)
        has_answered = copies is not None
        found: list[FoundProfile | None] = [
            self._found(key, copy) for key, copy in zip(keys, copies or [None] * len(keys), strict=True)
        ]
        missing = sum(one is None for one in found)
        self._metrics.cache_hits.inc(len(found) - missing)
        self._metrics.cache_misses.inc(missing)
        if not missing:
            return found
        if not (has_answered and await self._knows_all()):
            self._metrics.cache_fallbacks.inc(missing)
            return found
        return [one or NEVER_SEEN for one in found]

    def remember(self, key: bytes, copy: CachedProfile) -> None:
        """Keeps a copy that came another way."""
        self._copies.remember(key, copy)

    async def close(self) -> None:
        """Lets the connections go."""
        await self._cache.close()

    def _found(self, key: bytes, copy: CachedProfile | None) -> FoundProfile | None:
        if copy is not None:
            self._copies.remember(key, copy)
        # What this process saw before is better than nothing: the cache may be down, or empty after a restart.
        copy = copy or self._copies.look(key)
        if copy is None:
            return None
        age_s = copy.age_s(time.time())
        self._metrics.profile_age_seconds.observe(age_s)
        return FoundProfile(copy.record, "cache", age_s)

    async def _ask(self, keys: Sequence[bytes]) -> list[CachedProfile | None] | None:
        """What the cache says, None where it is down; requests that come while it is asked go together in the next."""
        if self._asking is None:
            self._asking = asyncio.ensure_future(self._ask_together())
        self._next_keys.update(dict.fromkeys(keys))
        copies = await asyncio.shield(self._asking)  # a caller that gives up must not take the others with it
        return None if copies is None else [copies[key] for key in keys]

    async def _ask_together(self) -> dict[bytes, CachedProfile | None] | None:
        async with self._one_at_a_time:
            keys, self._next_keys, self._asking = list(self._next_keys), {}, None
            copies = await self._ask_cache(keys)
        return None if copies is None else dict(zip(keys, copies, strict=True))

    async def _ask_cache(self, keys: Sequence[bytes]) -> list[CachedProfile | None] | None:
        """None where it is down; one request finds out whether it is back, while the others go on without."""
        now_s = asyncio.get_running_loop().time()
        if self.problem is not None:
            if now_s < self._ask_at_s:
                return None
            self._ask_at_s = now_s + self._timeout_s + self._retry_s
        try:
            async with asyncio.timeout(self._timeout_s):
                copies = await self._cache.get(keys)
        except (CacheUnavailable, TimeoutError) as error:
            self._fail(error)
            return None
        if self.problem is not None:
            log.info("the cache of profiles answers again")
        self.problem, self._retry_s = None, RETRY_S
        return copies

    def _fail(self, error: Exception) -> None:
        self._metrics.cache_failures.labels("read").inc()
        if self.problem is None:  # once, not at every request
            log.warning("the cache of profiles does not answer, requests are judged by older copies: %s", said(error))
        self.problem = f"the cache of profiles does not answer: {said(error)}"
        self._ask_at_s = asyncio.get_running_loop().time() + self._retry_s
        self._retry_s = min(2 * self._retry_s, LONGEST_RETRY_S)
        self._is_complete, self._look_at_s = False, 0.0

    async def _knows_all(self) -> bool:
        """Whether every user that a worker knows has a copy, as far as was seen within the last second."""
        now_s = asyncio.get_running_loop().time()
        if now_s >= self._look_at_s:
            self._look_at_s = now_s + LOOK_AGAIN_S
            try:
                async with asyncio.timeout(self._timeout_s):
                    self._is_complete = await self._cache.has_everyone(self._partitions)
            except (CacheUnavailable, TimeoutError) as error:
                self._fail(error)
        return self._is_complete
