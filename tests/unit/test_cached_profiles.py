"""Profiles from the cache: an answer always comes, and says how much it knows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from fraudstream.adapters.metrics import Metrics
from fraudstream.adapters.profile_cache import CachedProfile, MemoryProfileCache, ProfileCache, profile_cache
from fraudstream.adapters.redis_client import redis_client
from fraudstream.settings import Settings
from fraudstream.state.profile import EMPTY
from fraudstream.web import cached_profiles
from fraudstream.web.cached_profiles import CachedProfiles
from tests.profiles import record_at

if TYPE_CHECKING:
    from tests.servers.redis import RedisServer

PARTITIONS = range(2)
TIMEOUT_S = 0.3


def source_on(cache: ProfileCache, metrics: Metrics | None = None) -> CachedProfiles:
    return CachedProfiles(cache, MemoryProfileCache(10, 60), metrics or Metrics(), PARTITIONS, TIMEOUT_S)


@pytest_asyncio.fixture
async def cache(own_settings: Settings, redis: RedisServer) -> AsyncIterator[ProfileCache]:
    cache = profile_cache(own_settings.model_copy(update={"redis_host": redis.host}), TIMEOUT_S)
    await cache.put({b"a": record_at(1), b"b": record_at(2)})
    yield cache
    await cache.close()


async def records(source: CachedProfiles, *keys: bytes) -> list[bytes | None]:
    return [None if found is None else found.record for found in await source.find(keys)]


@pytest.mark.asyncio
async def test_a_profile_says_where_it_comes_from_and_how_old_it_is(cache: ProfileCache) -> None:
    source = source_on(cache)
    await asyncio.sleep(0.1)
    first, second, again = await source.find([b"b", b"a", b"b"])
    assert first is not None
    assert second is not None
    assert again is not None
    assert (again.record, again.origin) == (first.record, first.origin)
    assert (first.record, second.record) == (record_at(2), record_at(1))
    assert first.origin == "cache"
    assert 0.1 <= first.age_s < 5


@pytest.mark.asyncio
async def test_a_newer_copy_is_seen_at_once(cache: ProfileCache) -> None:
    source = source_on(cache)
    await source.find([b"a"])
    await cache.put({b"a": record_at(9)})
    assert await records(source, b"a") == [record_at(9)]


@pytest.mark.asyncio
async def test_a_user_without_a_copy_is_new_only_where_the_cache_has_everyone(
    cache: ProfileCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cached_profiles, "LOOK_AGAIN_S", 0.0)
    source = source_on(cache)
    await cache.mark_complete([0], await cache.losses())
    assert await records(source, b"new") == [None]
    await cache.mark_complete([1], await cache.losses())
    assert await records(source, b"new", b"a") == [EMPTY, record_at(1)]


@pytest.mark.asyncio
async def test_a_user_without_a_copy_may_be_known_once_redis_let_someone_go(
    cache: ProfileCache, redis: RedisServer, own_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cached_profiles, "LOOK_AGAIN_S", 0.0)
    metrics = Metrics()
    source, client = (
        source_on(cache, metrics),
        redis_client(own_settings.model_copy(update={"redis_host": redis.host}), 5),
    )
    await cache.mark_complete(PARTITIONS, await cache.losses())
    assert await records(source, b"new") == [EMPTY]
    names = [f"fraudstream:{own_settings.app_id}:complete1:{partition}" for partition in PARTITIONS]
    marks: list[Any] = await client.mget(names)
    used = (await client.info("memory"))["used_memory"]
    await client.config_set("maxmemory-policy", "allkeys-lru")
    await client.config_set("maxmemory", used + 500_000)
    for number in range(200):
        await client.set(f"other-{number}", bytes(10_000))
    await client.config_set("maxmemory", 0)
    await client.mset(dict(zip(names, marks, strict=True)))  # the marks may outlive those whom they speak of
    assert await records(source, b"new") == [None]
    assert metrics.registry.get_sample_value("fraudstream_cache_fallbacks_total") == 1
    await cache.mark_complete(PARTITIONS, await cache.losses())  # whoever was gone has been written again
    assert await records(source, b"new") == [EMPTY]
    await client.aclose()


@pytest.mark.asyncio
async def test_while_redis_is_down_own_copies_serve_and_the_rest_is_unknown(
    cache: ProfileCache, redis: RedisServer
) -> None:
    metrics = Metrics()
    source = source_on(cache, metrics)
    await cache.mark_complete(PARTITIONS, await cache.losses())
    await source.find([b"a"])
    redis.kill()
    assert await records(source, b"a", b"b") == [record_at(1), None]
    assert source.problem is not None
    assert metrics.registry.get_sample_value("fraudstream_cache_failures_total", {"operation": "read"}) == 1
    assert metrics.registry.get_sample_value("fraudstream_cache_fallbacks_total") == 1
    redis.start()  # empty: what this process saw is still better than nothing
    async with asyncio.timeout(5):
        while source.problem is not None:
            assert await records(source, b"a", b"b") == [record_at(1), None]
            await asyncio.sleep(0.02)


@pytest.mark.asyncio
async def test_a_redis_that_stands_still_costs_one_request_its_patience_and_not_every_one(
    cache: ProfileCache, redis: RedisServer
) -> None:
    source = source_on(cache)
    await source.find([b"a"])
    redis.stall()
    loop = asyncio.get_running_loop()
    started_s = loop.time()
    slow = 0
    while loop.time() - started_s < 1.5:
        asked_s = loop.time()
        found = await asyncio.gather(*(source.find([b"a"]) for _ in range(10)))
        assert all(one and one.record == record_at(1) for each in found for one in each)
        slow += loop.time() - asked_s > TIMEOUT_S / 2
        await asyncio.sleep(0.01)
    redis.resume()
    assert 1 <= slow <= 4


@pytest.mark.asyncio
async def test_a_copy_that_came_another_way_serves_too() -> None:
    source = source_on(MemoryProfileCache(10, 60))
    source.remember(b"a", CachedProfile(record_at(5), time.time() - 3))
    (found,) = await source.find([b"a"])
    assert found is not None
    assert found.record == record_at(5)
    assert found.age_s == pytest.approx(3, abs=1)


@pytest.mark.asyncio
async def test_requests_that_come_together_ask_redis_once(cache: ProfileCache) -> None:
    asked: list[int] = []
    get = cache.get

    async def counted(keys: list[bytes]) -> list[CachedProfile | None]:
        asked.append(len(keys))
        return await get(keys)

    cache.get = counted  # type: ignore[method-assign,assignment]
    source = source_on(cache)
    found = await asyncio.gather(*(source.find([b"a", b"b"]) for _ in range(16)))
    assert [[one and one.record for one in each] for each in found] == [[record_at(1), record_at(2)]] * 16
    assert len(asked) <= 2
