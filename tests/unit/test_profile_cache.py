"""What every cache of profiles promises, in Redis and in the process alike; and what an address may look like."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from pydantic import SecretStr

from fraudstream.adapters.profile_cache import CachedProfile, MemoryProfileCache, ProfileCache, profile_cache
from fraudstream.adapters.redis_client import RedisAddress, redis_address, redis_client
from fraudstream.errors import CacheUnavailable, SettingsError
from fraudstream.settings import Settings, load_settings
from fraudstream.state.profile import source_offset, view
from tests.profiles import record_at

if TYPE_CHECKING:
    from tests.servers.redis import RedisServer

TIMEOUT_S = 2.0


@pytest_asyncio.fixture
async def in_process(own_settings: Settings) -> AsyncIterator[ProfileCache]:
    yield profile_cache(own_settings, TIMEOUT_S)


@pytest_asyncio.fixture
async def in_redis(own_settings: Settings, redis: RedisServer) -> AsyncIterator[ProfileCache]:
    cache = profile_cache(own_settings.model_copy(update={"redis_host": redis.host}), TIMEOUT_S)
    yield cache
    await cache.close()


@pytest.fixture(params=["in_process", pytest.param("in_redis", marks=pytest.mark.servers)])
def cache(request: pytest.FixtureRequest) -> ProfileCache:
    found: ProfileCache = request.getfixturevalue(request.param)
    return found


async def records_of(cache: ProfileCache, *keys: bytes) -> list[bytes | None]:
    return [None if copy is None else copy.record for copy in await cache.get(keys)]


def test_the_source_offset_is_the_one_that_the_view_shows() -> None:
    shown = view(record_at(4711))
    assert shown is not None
    assert source_offset(record_at(4711)) == shown.source_offset == 4711
    assert source_offset(b"") == source_offset(b"short") == -1


@pytest.mark.asyncio
async def test_what_was_put_is_found_in_the_order_of_the_keys(cache: ProfileCache) -> None:
    assert await cache.put({b"a": record_at(1), "ü".encode(): record_at(2)}) == 2
    assert await records_of(cache, "ü".encode(), b"nobody", b"a") == [record_at(2), None, record_at(1)]


@pytest.mark.asyncio
async def test_nothing_is_asked_and_nothing_is_put(cache: ProfileCache) -> None:
    assert await cache.get([]) == []


@pytest.mark.asyncio
async def test_an_older_copy_never_replaces_a_newer_one(cache: ProfileCache) -> None:
    await cache.put({b"a": record_at(2**40), b"b": record_at(-1)})
    assert await cache.put({b"a": record_at(2**40 - 1), b"b": record_at(0)}) == 1
    assert await records_of(cache, b"a", b"b") == [record_at(2**40), record_at(0)]


@pytest.mark.asyncio
async def test_a_copy_that_is_as_new_is_taken_again_and_is_young(cache: ProfileCache) -> None:
    await cache.put({b"a": record_at(7, mark=1)})
    await asyncio.sleep(0.05)
    assert await cache.put({b"a": record_at(7, mark=2)}) == 1
    (copy,) = await cache.get([b"a"])
    assert copy is not None
    assert copy.record == record_at(7, mark=2)
    assert 0 <= copy.age_s(copy.written_s + 0.01) <= 0.011


@pytest.mark.asyncio
async def test_partitions_are_complete_when_someone_says_so(cache: ProfileCache) -> None:
    assert await cache.incomplete([0, 1, 2]) == [0, 1, 2]
    await cache.mark_complete([0, 2], await cache.losses())
    assert await cache.incomplete([0, 1, 2]) == [1]
    assert await cache.has_everyone([0, 2])
    assert not await cache.has_everyone([0, 1, 2])
    await cache.mark_incomplete([2])
    assert await cache.incomplete([0, 1, 2]) == [1, 2]
    await cache.mark_incomplete([])
    assert await cache.incomplete([]) == []


@pytest.mark.asyncio
async def test_it_is_the_same_cache_until_it_begins_anew(cache: ProfileCache) -> None:
    assert await cache.identity() == await cache.identity() != ""


@pytest.mark.asyncio
async def test_two_applications_in_one_redis_do_not_see_each_other(own_settings: Settings, redis: RedisServer) -> None:
    caches = [
        profile_cache(own_settings.model_copy(update={"redis_host": redis.host, "app_id": name}), TIMEOUT_S)
        for name in ("one", "other")
    ]
    await caches[0].put({b"a": record_at(1)})
    assert await records_of(caches[1], b"a") == [None]
    for each in caches:
        await each.close()


@pytest.mark.asyncio
async def test_a_copy_in_redis_lives_as_long_as_the_setting_says_and_has_a_versioned_name(
    own_settings: Settings, redis: RedisServer
) -> None:
    settings = own_settings.model_copy(update={"redis_host": redis.host, "profile_ttl_s": 90.0})
    cache, client = profile_cache(settings, TIMEOUT_S), redis_client(settings, TIMEOUT_S)
    await cache.put({b"a": record_at(1)})
    name = f"fraudstream:{settings.app_id}:p1:a"
    assert 89_000 < await client.pttl(name) <= 90_000
    await client.set(name, b"short")
    assert await records_of(cache, b"a") == [None]  # what cannot be read is as good as absent
    await client.aclose()
    await cache.close()


@pytest.mark.asyncio
async def test_a_restarted_redis_is_another_one_and_is_used_at_once(in_redis: ProfileCache, redis: RedisServer) -> None:
    before = await in_redis.identity()
    await in_redis.put({b"a": record_at(1)})
    redis.kill()
    with pytest.raises(CacheUnavailable):
        await in_redis.get([b"a"])
    redis.start()
    assert await in_redis.identity() != before
    assert await in_redis.put({b"a": record_at(0)}) == 1
    assert await records_of(in_redis, b"a") == [record_at(0)]


@pytest.mark.asyncio
async def test_a_redis_that_stands_still_fails_in_time(own_settings: Settings, redis: RedisServer) -> None:
    cache = profile_cache(own_settings.model_copy(update={"redis_host": redis.host}), 0.2)
    await cache.put({b"a": record_at(1)})
    redis.stall()
    started_s = asyncio.get_running_loop().time()
    with pytest.raises(CacheUnavailable):
        await cache.get([b"a"])
    assert asyncio.get_running_loop().time() - started_s < 1.0
    redis.resume()
    await cache.close()


@pytest.mark.asyncio
async def test_the_process_keeps_the_most_recently_used_for_their_time() -> None:
    cache = MemoryProfileCache(2, ttl_s=60)
    await cache.put({b"a": record_at(1), b"b": record_at(1)})
    await cache.get([b"a"])
    await cache.put({b"c": record_at(1)})
    assert await records_of(cache, b"a", b"b", b"c") == [record_at(1), None, record_at(1)]
    cache.remember(b"old", CachedProfile(record_at(1), written_s=1.0))
    assert await records_of(cache, b"old") == [None]


def test_two_clocks_give_no_negative_age() -> None:
    assert CachedProfile(b"", written_s=100.0).age_s(99.0) == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cache", RedisAddress("cache", 6379)),
        ("cache:6380", RedisAddress("cache", 6380)),
        ("[::1]:6380", RedisAddress("::1", 6380)),
        ("redis://cache:1/3", RedisAddress("cache", 1, 3)),
        ("rediss://me:p%40ss@cache", RedisAddress("cache", 6379, 0, True, "me", "p@ss")),
    ],
)
@pytest.mark.usefixtures("plain_environment")
def test_an_address_is_read_as_users_write_it(text: str, expected: RedisAddress) -> None:
    assert redis_address(load_settings(redis_host=text)) == expected


@pytest.mark.usefixtures("plain_environment")
def test_a_password_of_its_own_wins_and_none_is_printed() -> None:
    settings = load_settings(redis_host="redis://u:secret@cache:1", redis_password="better", redis_username="me")
    address = redis_address(settings)
    assert (address.username, address.password) == ("me", "better")
    told = f"{address} {address!r} {settings.masked()}"
    assert "secret" not in told
    assert "better" not in told


@pytest.mark.parametrize("text", ["http://secret@cache", "cache:port", "redis://:secret@", "redis://cache/x"])
@pytest.mark.usefixtures("plain_environment")
def test_an_address_that_cannot_be_read_is_refused_without_telling_it(text: str) -> None:
    with pytest.raises(SettingsError, match="REDIS_HOST: expected") as refused:
        redis_address(load_settings(redis_host=text))
    assert "secret" not in str(refused.value)


@pytest.mark.usefixtures("plain_environment")
def test_settings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(SettingsError, match="PROFILE_SOURCE=cache: expected REDIS_HOST"):
        load_settings(profile_source="cache")
    with pytest.raises(SettingsError, match="expected http://HOST:PORT"):
        load_settings(worker_url="worker-1:8000")


@pytest.mark.asyncio
async def test_a_password_is_asked_for_and_shown(own_settings: Settings, redis: RedisServer) -> None:
    settings = own_settings.model_copy(update={"redis_host": redis.host})
    keeper = redis_client(settings, TIMEOUT_S)
    await keeper.config_set("requirepass", "secret")
    refused = profile_cache(settings, TIMEOUT_S)
    with pytest.raises(CacheUnavailable, match="authenticat"):
        await refused.get([b"a"])
    taken = profile_cache(settings.model_copy(update={"redis_password": SecretStr("secret")}), TIMEOUT_S)
    assert await taken.put({b"a": record_at(1)}) == 1
    for each in (refused, taken):
        await each.close()
    await keeper.aclose()


@pytest.mark.asyncio
async def test_tls_is_spoken_and_the_certificate_is_checked(
    own_settings: Settings, redis: RedisServer, tmp_path: Path
) -> None:
    certificate, key = tmp_path / "redis.crt", tmp_path / "redis.key"
    make = f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -keyout {key} -out {certificate} -subj /CN=redis"
    made = await asyncio.create_subprocess_exec(
        *make.split(), "-addext", "subjectAltName=IP:127.0.0.1", stderr=asyncio.subprocess.DEVNULL
    )
    assert await made.wait() == 0
    redis.end()
    redis.options = (
        *("--tls-port", str(redis.port), "--port", "0", "--tls-auth-clients", "no"),
        *("--tls-cert-file", str(certificate), "--tls-key-file", str(key)),
    )
    redis.start()
    settings = own_settings.model_copy(update={"redis_host": f"rediss://{redis.host}"})
    refused = profile_cache(settings, TIMEOUT_S)
    with pytest.raises(CacheUnavailable, match="certificate verify failed"):
        await refused.get([b"a"])
    trusted = profile_cache(settings.model_copy(update={"redis_ssl_cafile": certificate}), TIMEOUT_S)
    assert await trusted.put({b"a": record_at(1)}) == 1
    for each in (refused, trusted):
        await each.close()
    with pytest.raises(SettingsError, match="REDIS_SSL_CAFILE"):
        profile_cache(settings.model_copy(update={"redis_ssl_cafile": tmp_path / "none"}), TIMEOUT_S)
