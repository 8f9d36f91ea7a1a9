"""Profiles of other workers' users, over real HTTP: who is asked, with which key, and what if nobody answers."""

from __future__ import annotations

import asyncio
import socket
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import msgspec
import pytest
import pytest_asyncio
from aiohttp import web
from pydantic import SecretStr

from fraudstream.adapters.metrics import Metrics
from fraudstream.agents.build import worker_url
from fraudstream.agents.owners import MSGPACK, PATH, WORKER_KEY_HEADER, WorkerProfiles, worker_key
from fraudstream.settings import Settings
from fraudstream.state.profile import EMPTY
from fraudstream.tables.profiles import Profiles
from fraudstream.tables.store import ProfileStore
from fraudstream.web.cached_profiles import CachedProfiles
from fraudstream.web.mount import mount
from tests.profiles import record_at
from tests.servers.ports import free_port

PARTITIONS = 4
USERS = [b"user-%d" % number for number in range(400)]


def home_of(key: bytes) -> int:
    return zlib.crc32(key) % PARTITIONS


class Shared:
    """Who has which partition, as each worker of a group is told."""

    def __init__(self, own: tuple[int, ...], urls: dict[int, str]) -> None:
        self.own = own
        self.urls = urls
        self.ready = True

    def partitions(self) -> tuple[int, ...]:
        return self.own

    def is_ready(self) -> bool:
        return self.ready

    def home(self, key: bytes) -> int | None:
        return home_of(key)

    def owner_url(self, partition: int) -> str | None:
        return self.urls.get(partition)


class DictStore:
    """The committed profiles of a worker's partitions."""

    def __init__(self, own: tuple[int, ...]) -> None:
        self.held = {(home_of(key), key): record_at(at) for at, key in enumerate(USERS) if home_of(key) in own}

    def read(self, partition: int, key: bytes) -> bytes | None:
        return self.held.get((partition, key))


class Part:
    """One worker, as far as profiles go."""

    def __init__(self, settings: Settings, own: tuple[int, ...], urls: dict[int, str]) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        urls.update(dict.fromkeys(own, self.url))
        self.assignment = Shared(own, urls)
        metrics = Metrics()
        profiles = Profiles(cast(ProfileStore, DictStore(own)), 10)
        self.source = WorkerProfiles(settings, profiles, self.assignment, CachedProfiles.of(settings, metrics))
        app = web.Application()
        mount(app, cast(Any, SimpleNamespace(settings=settings, metrics=metrics, answers=None, profiles=self.source)))
        self.source.mount(app)
        self.requests = 0
        app.on_response_prepare.append(self._count)
        self.runner = web.AppRunner(app)

    async def _count(self, _request: web.Request, _response: web.StreamResponse) -> None:
        self.requests += 1

    async def start(self) -> Part:
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", self.port).start()
        return self

    async def stop(self) -> None:
        await self.source.close()
        await self.runner.cleanup()


NewParts = Callable[[Settings], Awaitable[tuple[Part, Part]]]


@pytest_asyncio.fixture
async def new_parts() -> AsyncIterator[NewParts]:
    started: list[Part] = []

    async def new(settings: Settings) -> tuple[Part, Part]:
        urls: dict[int, str] = {}
        first, second = Part(settings, (0, 2), urls), Part(settings, (1, 3), urls)
        started.extend([await first.start(), await second.start()])
        return first, second

    yield new
    for part in started:
        await part.stop()


async def ask(part: Part, keys: list[bytes], key: str = "") -> tuple[int, bytes]:
    headers = {"Content-Type": MSGPACK, WORKER_KEY_HEADER: key}
    async with (
        aiohttp.ClientSession() as session,
        session.post(part.url + PATH, data=msgspec.msgpack.encode(keys), headers=headers) as response,
    ):
        return response.status, await response.read()


@pytest.mark.asyncio
async def test_every_user_is_found_in_order_and_each_owner_is_asked_for_many_at_once(
    own_settings: Settings, new_parts: NewParts
) -> None:
    first, second = await new_parts(own_settings)
    keys = [*USERS, USERS[0], b"nobody-1", b"nobody-2", b"nobody-3"]
    found = await first.source.find(keys)
    assert [one and one.record for one in found] == [record_at(at) for at in range(400)] + [record_at(0)] + [EMPTY] * 3
    assert [one and one.origin for one in found] == ["table" if home_of(key) in (0, 2) else "owner" for key in keys]
    assert second.requests == 2  # some 200 users and a few more, 200 in a request
    assert first.requests == 0


@pytest.mark.asyncio
async def test_an_owner_that_cannot_answer_is_made_up_for_by_the_copy_of_before(
    own_settings: Settings, new_parts: NewParts
) -> None:
    first, second = await new_parts(own_settings.model_copy(update={"profile_timeout_s": 0.2}))
    seen, unseen = [key for key in USERS if home_of(key) == 1][:2]
    await first.source.find([seen])
    second.assignment.ready = False
    found = await first.source.find([seen, unseen])
    assert found[0] is not None
    assert (found[0].record, found[0].origin) == (record_at(USERS.index(seen)), "cache")
    assert found[0].age_s >= 0
    assert found[1] is None
    second.assignment.ready, second.assignment.own = True, (3,)  # a rebalance that the first has not heard of
    assert (await first.source.find([unseen])) == [None]
    await second.runner.cleanup()
    started_s = asyncio.get_running_loop().time()
    assert (await first.source.find([unseen])) == [None]
    assert asyncio.get_running_loop().time() - started_s < 2


@pytest.mark.asyncio
async def test_workers_show_their_key(own_settings: Settings, new_parts: NewParts) -> None:
    settings = own_settings.model_copy(update={"worker_key": SecretStr("wk"), "api_keys": SecretStr("a,b")})
    assert worker_key(settings) == "wk"
    first, second = await new_parts(settings)
    other = next(key for key in USERS if home_of(key) == 1)
    found = await first.source.find([other])
    assert found[0] is not None
    assert found[0].origin == "owner"
    for wrong in ("", "a", "wkk", "\u00fc"):
        assert (await ask(second, [other], wrong))[0] == 401
    assert (await ask(second, [other], "wk"))[0] == 200


@pytest.mark.asyncio
async def test_with_hashed_keys_alone_nobody_is_let_in(
    own_settings: Settings, new_parts: NewParts, tmp_path: Path
) -> None:
    hashes = tmp_path / "keys"
    hashes.write_text("")
    first, second = await new_parts(own_settings.model_copy(update={"api_key_hashes_file": hashes}))
    other = next(key for key in USERS if home_of(key) == 1)
    assert (await ask(second, [other]))[0] == 401
    assert await first.source.find([other]) == [None]


@pytest.mark.asyncio
async def test_what_is_no_list_of_keys_is_refused(own_settings: Settings, new_parts: NewParts) -> None:
    _, second = await new_parts(own_settings)
    async with aiohttp.ClientSession() as session, session.post(second.url + PATH, data=b"\xc1no") as response:
        assert response.status == 400
        assert (await response.json())["reason"] == "invalid_parameter"


def test_the_first_api_key_serves_where_workers_have_none_of_their_own(own_settings: Settings) -> None:
    assert worker_key(own_settings) == ""
    assert worker_key(own_settings.model_copy(update={"api_keys": SecretStr("one,two")})) == "one"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"web_host": "10.0.0.7"}, "http://10.0.0.7:8000"),
        ({"web_host": "::1"}, "http://[::1]:8000"),
        ({"web_host": "0.0.0.0"}, f"http://{socket.gethostname()}:8000"),  # noqa: S104  told, not bound to
        ({"web_host": "::", "worker_url": "http://worker-1:80"}, "http://worker-1:80"),
    ],
)
def test_a_worker_tells_the_others_an_address_that_they_can_reach(
    own_settings: Settings, changes: dict[str, str], expected: str
) -> None:
    assert worker_url(own_settings.model_copy(update=changes)) == expected
