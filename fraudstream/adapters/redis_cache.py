"""The cache of profiles in Redis, and nothing else of it: names, layout and time to live of the values."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from fraudstream.adapters.profile_cache import CachedProfile
from fraudstream.adapters.redis_client import redis_client
from fraudstream.errors import CacheUnavailable, said
from fraudstream.state.profile import source_offset

__all__ = ["RedisProfileCache", "redis_client"]

LAYOUT = 1
"""Part of every key's name: another layout of values, or a reader that cannot read today's, takes another number."""

_HEAD = struct.Struct(">qq")
"""Before the record: when it was written in ms since 1970, and the source offset it has seen."""

# KEYS: of profiles. ARGV[1]: time to live in ms; then a value for each key. Returns how many were newer or as new.
_PUT = """
local taken = 0
for at, key in ipairs(KEYS) do
  local held = redis.call('GETRANGE', key, 8, 15)
  if #held < 8 or struct.unpack('>i8', held) <= struct.unpack('>i8', ARGV[at + 1], 9) then
    redis.call('SET', key, ARGV[at + 1], 'PX', ARGV[1])
    taken = taken + 1
  end
end
return taken
"""


class RedisProfileCache:
    """Copies in Redis, for every process that asks.

    Args:
        client: answers bytes.
        app_id: part of every key's name.
        ttl_s: a copy that nobody wrote for this long goes.
    """

    def __init__(self, client: Redis, app_id: str, ttl_s: float) -> None:
        self._client: Any = client  # redis-py's types leave open whether a call is to be awaited
        self._ttl_ms = int(ttl_s * 1000)
        self._prefix = f"fraudstream:{app_id}:p{LAYOUT}:".encode()
        self._marks = f"fraudstream:{app_id}:complete{LAYOUT}:"
        self._put = self._client.register_script(_PUT)

    async def get(self, keys: Sequence[bytes]) -> list[CachedProfile | None]:
        """As the protocol says; one MGET."""
        with _translated():
            values = await self._client.mget([self._prefix + key for key in keys]) if keys else []
        return [_unpacked(value) for value in values]

    async def put(self, records: Mapping[bytes, bytes]) -> int:
        """As the protocol says; one script call, during which Redis serves nobody else: some hundreds at a time."""
        now_ms = int(time.time() * 1000)
        values = [_HEAD.pack(now_ms, source_offset(record)) + record for record in records.values()]
        with _translated():
            taken: int = await self._put(keys=[self._prefix + key for key in records], args=[self._ttl_ms, *values])
        return taken

    async def identity(self) -> str:
        """As the protocol says: Redis' run id."""
        with _translated():
            server: dict[str, Any] = await self._client.info("server")
        return str(server["run_id"])

    async def losses(self) -> str:
        """As the protocol says: Redis' run id, and how many keys it has let go for want of memory."""
        with _translated():
            info: dict[str, Any] = await self._client.info()
        return f"{info['run_id']}:{info['evicted_keys']}"

    async def mark_complete(self, partitions: Iterable[int], losses: str) -> None:
        """As the protocol says; a mark goes before the copies do, whose time began earlier."""
        with _translated():
            for partition in partitions:
                await self._client.set(f"{self._marks}{partition}", losses, px=max(self._ttl_ms // 2, 1))

    async def mark_incomplete(self, partitions: Iterable[int]) -> None:
        """As the protocol says."""
        names = [f"{self._marks}{partition}" for partition in partitions]
        if names:
            with _translated():
                await self._client.delete(*names)

    async def incomplete(self, partitions: Sequence[int]) -> list[int]:
        """As the protocol says."""
        marks = await self._marks_of(partitions)
        return [partition for partition, mark in zip(partitions, marks, strict=True) if mark is None]

    async def has_everyone(self, partitions: Sequence[int]) -> bool:
        """As the protocol says."""
        losses = (await self.losses()).encode()
        return all(mark == losses for mark in await self._marks_of(partitions))

    async def close(self) -> None:
        """As the protocol says."""
        await self._client.aclose()

    async def _marks_of(self, partitions: Sequence[int]) -> list[bytes | None]:
        names = [f"{self._marks}{partition}" for partition in partitions]
        with _translated():
            marks: list[bytes | None] = await self._client.mget(names) if names else []
        return marks


class _translated:  # noqa: N801  reads as a statement
    """Turns the client's errors into ours."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, RedisError | OSError):  # TimeoutError is an OSError
            raise CacheUnavailable(said(error)) from error


def _unpacked(value: bytes | None) -> CachedProfile | None:
    if value is None or len(value) < _HEAD.size:
        return None
    written_ms, _offset = _HEAD.unpack_from(value)
    return CachedProfile(value[_HEAD.size :], written_ms / 1000)
