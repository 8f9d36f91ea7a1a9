"""The worker's cache writer: the stream never waits for it, and the cache ends where the table is, whatever happens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from fraudstream.adapters.metrics import Metrics
from fraudstream.adapters.profile_cache import MemoryProfileCache, ProfileCache, profile_cache
from fraudstream.agents import caching
from fraudstream.agents.caching import CacheWriter
from fraudstream.settings import Settings
from tests.profiles import record_at

if TYPE_CHECKING:
    from tests.servers.redis import RedisServer

WITHIN_S = 10.0
USERS = 700


class DictTable:
    """The worker's table, in a dict by partition."""

    def __init__(self, partitions: int = 2, users: int = USERS) -> None:
        self.held = {
            partition: {b"p%d-%04d" % (partition, user): record_at(user) for user in range(users)}
            for partition in range(partitions)
        }
        self.broken = False

    def after(self, partition: int, key: bytes, count: int) -> list[tuple[bytes, bytes]]:
        if self.broken:
            raise RuntimeError("Corruption: a block of the disk")
        return [(name, self.held[partition][name]) for name in sorted(self.held[partition]) if name > key][:count]

    def change(self, partition: int, users: range, offset: int) -> dict[int, list[tuple[bytes, bytes]]]:
        changed = {b"p%d-%04d" % (partition, user): record_at(offset + user) for user in users}
        self.held[partition] |= changed
        return {partition: list(changed.items())}

    def everything(self) -> dict[bytes, bytes]:
        return {key: record for records in self.held.values() for key, record in records.items()}


async def has(cache: ProfileCache, expected: dict[bytes, bytes]) -> bool:
    copies = await cache.get(list(expected))
    return [copy and copy.record for copy in copies] == list(expected.values())


async def becomes(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while True:
            found = condition()
            if await found if asyncio.iscoroutine(found) else found:
                return
            await asyncio.sleep(0.01)


@contextmanager
def running(writer: CacheWriter) -> Iterator[None]:
    task = asyncio.ensure_future(writer.run())
    try:
        yield
    finally:
        task.cancel()


def failures(metrics: Metrics) -> float:
    return float(metrics.registry.get_sample_value("fraudstream_cache_failures_total", {"operation": "write"}) or 0)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caching, "LONGEST_RETRY_S", 0.2)
    monkeypatch.setattr(caching, "IDLE_S", 0.02)
    monkeypatch.setattr(caching, "LOOK_AGAIN_S", 0.1)


@pytest.fixture
def in_redis(own_settings: Settings, redis: RedisServer) -> ProfileCache:
    return profile_cache(own_settings.model_copy(update={"redis_host": redis.host}), 0.3)


@pytest.mark.asyncio
async def test_what_a_checkpoint_committed_is_in_the_cache_soon_after() -> None:
    table, cache, metrics = DictTable(users=0), MemoryProfileCache(10_000, 60), Metrics()
    writer = CacheWriter(cache, table, lambda: {0, 1}, metrics)
    with running(writer):
        await becomes(lambda: cache._complete.keys() == {0, 1})
        writer.hand_over(table.change(0, range(10), 100))
        await becomes(lambda: has(cache, table.everything()))
    assert metrics.registry.get_sample_value("fraudstream_cache_writes_total") == 10


@pytest.mark.asyncio
async def test_a_worker_that_starts_copies_what_its_partitions_hold() -> None:
    table, cache, owned = DictTable(), MemoryProfileCache(10_000, 60), set[int]()
    with running(CacheWriter(cache, table, lambda: set(owned), Metrics())):
        await asyncio.sleep(0.05)
        assert await cache.incomplete([0, 1]) == [0, 1]  # nothing while partitions are being restored
        owned |= {1}
        await becomes(lambda: has(cache, table.held[1]))
        assert not await has(cache, table.held[0])
        owned |= {0}
        await becomes(lambda: has(cache, table.everything()))
        await becomes(lambda: cache._complete.keys() == {0, 1})


@pytest.mark.asyncio
async def test_a_partition_that_comes_back_is_copied_again_for_another_worker_had_it() -> None:
    table, cache, owned = DictTable(), MemoryProfileCache(10_000, 60), {0, 1}
    with running(CacheWriter(cache, table, lambda: set(owned), Metrics())):
        await becomes(lambda: has(cache, table.everything()))
        owned.remove(1)
        await asyncio.sleep(0.1)
        table.change(1, range(USERS), 10_000)  # by the other worker, which died with its copies in hand
        owned.add(1)
        await becomes(lambda: has(cache, table.everything()))


@pytest.mark.asyncio
async def test_what_ran_over_is_counted_and_copied_from_the_table() -> None:
    table, cache, metrics = DictTable(), MemoryProfileCache(10_000, 60), Metrics()
    writer = CacheWriter(cache, table, lambda: {0, 1}, metrics, buffer_size=50)
    with running(writer):
        await becomes(lambda: has(cache, table.everything()))
        writer.hand_over(table.change(0, range(200), 5_000))
        assert metrics.registry.get_sample_value("fraudstream_cache_drops_total") == 150
        await becomes(lambda: has(cache, table.everything()))


@pytest.mark.asyncio
async def test_handing_over_takes_no_time_while_redis_is_down_and_the_cache_catches_up(
    in_redis: ProfileCache, redis: RedisServer
) -> None:
    table, metrics = DictTable(), Metrics()
    writer = CacheWriter(in_redis, table, lambda: {0, 1}, metrics)
    with running(writer):
        await becomes(lambda: has(in_redis, table.everything()))
        redis.kill()
        started_s = asyncio.get_running_loop().time()
        for turn in range(20):
            writer.hand_over(table.change(turn % 2, range(USERS), 1_000 * (turn + 1)))
        assert asyncio.get_running_loop().time() - started_s < 1.0
        await becomes(lambda: failures(metrics) >= 2)
        redis.start()  # empty
        await becomes(lambda: has(in_redis, table.everything()))
    await in_redis.close()


@pytest.mark.asyncio
async def test_a_redis_that_was_restarted_gets_everything_again(in_redis: ProfileCache, redis: RedisServer) -> None:
    table = DictTable()
    writer = CacheWriter(in_redis, table, lambda: {0, 1}, Metrics())
    with running(writer):
        await becomes(lambda: has(in_redis, table.everything()))
        redis.kill()
        redis.start()
        await becomes(lambda: has(in_redis, table.everything()))
        await becomes(lambda: _is_complete(in_redis))
    await in_redis.close()


async def _is_complete(cache: ProfileCache) -> bool:
    return not await cache.incomplete([0, 1])


@pytest.mark.asyncio
async def test_a_stalled_worker_that_wakes_up_sets_nothing_back(in_redis: ProfileCache) -> None:
    old, new = DictTable(), DictTable()
    new.change(0, range(USERS), 10_000)
    with running(CacheWriter(in_redis, new, lambda: {0}, Metrics())):
        await becomes(lambda: has(in_redis, new.held[0]))
    with running(zombie := CacheWriter(in_redis, old, lambda: {0}, Metrics())):
        zombie.hand_over({0: list(old.held[0].items())})
        await becomes(lambda: not zombie._waiting and zombie._walk.partition is None)
    assert await has(in_redis, new.held[0])
    await in_redis.close()


@pytest.mark.asyncio
async def test_a_table_that_cannot_be_read_ends_nothing() -> None:
    table, cache, metrics = DictTable(), MemoryProfileCache(10_000, 60), Metrics()
    table.broken = True
    with running(CacheWriter(cache, table, lambda: {0, 1}, metrics)):
        await becomes(lambda: failures(metrics) >= 2)
        table.broken = False
        await becomes(lambda: has(cache, table.everything()))


@pytest.mark.asyncio
async def test_a_worker_that_stops_writes_what_waits() -> None:
    table, cache = DictTable(users=0), MemoryProfileCache(10_000, 60)
    writer = CacheWriter(cache, table, lambda: {0, 1}, Metrics())
    writer.start()
    await asyncio.sleep(0.05)
    writer.hand_over(table.change(0, range(2_000), 0))
    await writer.stop()
    assert await has(cache, table.everything())


@pytest.mark.asyncio
async def test_a_worker_stops_in_time_where_redis_does_not_answer(in_redis: ProfileCache, redis: RedisServer) -> None:
    table = DictTable()
    writer = CacheWriter(in_redis, table, lambda: {0, 1}, Metrics())
    redis.stall()
    writer.start()
    writer.hand_over(table.change(0, range(10), 0))
    await asyncio.wait_for(writer.stop(), WITHIN_S)
    redis.resume()
