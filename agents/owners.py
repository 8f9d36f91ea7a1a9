"""A worker's source of profiles: its own table, and for everyone else's users their owner or the cache.

The owner is told by Faust's assignment: the group's leader gives every member the URLs and partitions of all.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Protocol

import aiohttp
import msgspec
from aiohttp import web

from fraudstream.adapters.profile_cache import CachedProfile
from fraudstream.errors import said
from fraudstream.settings import Settings
from fraudstream.tables.profiles import Profiles
from fraudstream.web.cached_profiles import CachedProfiles
from fraudstream.web.problems import Trouble
from fraudstream.web.profile_source import FoundProfile

log = logging.getLogger(__name__)

PATH = "/internal/profiles"
MSGPACK = "application/msgpack"
WORKER_KEY_HEADER = "X-Worker-Key"
KEYS_PER_REQUEST = 200
LOG_EVERY_S = 10.0


class Assignment(Protocol):
    """What a worker knows of who has which partition."""

    def partitions(self) -> tuple[int, ...]:
        """Those of this worker."""
        ...

    def is_ready(self) -> bool:
        """Whether this worker's profiles are restored."""
        ...

    def home(self, key: bytes) -> int | None:
        """The partition of a user; None while the topic is not known."""
        ...

    def owner_url(self, partition: int) -> str | None:
        """Where the worker of a partition answers; None while nobody has it."""
        ...


class FaustAssignment:
    """Read off the Faust app, whose types leave out what is needed here."""

    def __init__(self, app: Any, topic: str, own: Any) -> None:
        self._app = app
        self._topic = topic
        self._own = own

    def partitions(self) -> tuple[int, ...]:
        """As the protocol says."""
        partitions: tuple[int, ...] = self._own.partitions()
        return partitions

    def is_ready(self) -> bool:
        """As the protocol says."""
        return bool(self._app.tables.actives_ready)

    def restored_partitions(self) -> set[int]:
        """Partitions of this worker whose profiles are in its table."""
        return set(self._own.owned()) if self.is_ready() else set()

    def home(self, key: bytes) -> int | None:
        """As the protocol says: where a producer with Kafka's default partitioner puts the user."""
        partition: int | None = self._app.consumer._thread.key_partition(self._topic, key)
        return partition

    def owner_url(self, partition: int) -> str | None:
        """As the protocol says."""
        for url, topics in self._app.assignor.external_topics_metadata().items():
            if partition in topics.get(self._topic, ()):
                return str(url)
        return None


class WorkerProfiles:
    """Finds the profile of any user from any worker.

    Args:
        settings: PROFILE_SOURCE says whether the owner or the cache is asked.
        profiles: this worker's.
        assignment: who has what.
        cached: the cache, also for when an owner does not answer.
    """

    def __init__(self, settings: Settings, profiles: Profiles, assignment: Assignment, cached: CachedProfiles) -> None:
        self._settings = settings
        self._profiles = profiles
        self._assignment = assignment
        self._cached = cached
        self._key = worker_key(settings)
        self._session: aiohttp.ClientSession | None = None
        self._logged_s = -LOG_EVERY_S

    def mount(self, app: web.Application) -> None:
        """Adds the route at which other workers ask this one."""
        app.router.add_post(PATH, self.answer)

    async def find(self, keys: Sequence[bytes]) -> list[FoundProfile | None]:
        """The profile of each user, in their order; None where neither the owner nor the cache knows."""
        own = self._assignment.partitions()
        found: dict[bytes, FoundProfile | None] = {}
        elsewhere: dict[int | None, list[bytes]] = {}
        for key in dict.fromkeys(keys):
            record = self._profiles.find(own, key)
            home = None if record else self._assignment.home(key)
            if record or home in own:
                found[key] = FoundProfile(record, "table", 0.0)
            else:
                elsewhere.setdefault(home, []).append(key)
        if elsewhere:
            found |= await self._find_elsewhere(elsewhere)
        return [found[key] for key in keys]

    async def close(self) -> None:
        """Lets the connections go."""
        if self._session is not None:
            await self._session.close()
        await self._cached.close()

    async def _find_elsewhere(self, elsewhere: dict[int | None, list[bytes]]) -> dict[bytes, FoundProfile | None]:
        found: dict[bytes, FoundProfile | None] = {}
        if self._settings.profile_source == "owner":
            by_url: dict[str, list[bytes]] = {}
            for partition, keys in elsewhere.items():
                url = self._assignment.owner_url(partition) if partition is not None else None
                if url is not None:
                    by_url.setdefault(url, []).extend(keys)
            requests = [
                self._ask(url, keys[at : at + KEYS_PER_REQUEST])
                for url, keys in by_url.items()
                for at in range(0, len(keys), KEYS_PER_REQUEST)
            ]
            for answered in await asyncio.gather(*requests):
                found |= answered
        rest = [key for keys in elsewhere.values() for key in keys if key not in found]
        return found | dict(zip(rest, await self._cached.find(rest), strict=True)) if rest else found

    async def _ask(self, url: str, keys: list[bytes]) -> dict[bytes, FoundProfile]:
        """What the owner says; nothing where it does not answer in time or is no longer the owner."""
        try:
            async with self._client().post(
                url + PATH,
                data=msgspec.msgpack.encode(keys),
                headers={"Content-Type": MSGPACK, WORKER_KEY_HEADER: self._key},
            ) as response:
                if response.status != HTTPStatus.OK:
                    raise aiohttp.ClientError(f"status {response.status}")
                records = msgspec.msgpack.decode(await response.read(), type=list[bytes])
            found = {key: FoundProfile(record, "owner", 0.0) for key, record in zip(keys, records, strict=True)}
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError, msgspec.MsgspecError) as error:
            self._complain(url, error)
            return {}
        now_s = time.time()
        for key, profile in found.items():
            if profile.record:
                self._cached.remember(key, CachedProfile(profile.record, now_s))
        return found

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=self._settings.profile_timeout_s),
                connector=aiohttp.TCPConnector(ssl=True),
            )
        return self._session

    def _complain(self, url: str, error: Exception) -> None:
        now_s = time.monotonic()
        if now_s - self._logged_s > LOG_EVERY_S:
            self._logged_s = now_s
            log.warning("the worker at %s does not give its users' profiles: %s", url, said(error))

    async def answer(self, request: web.Request) -> web.Response:
        """Gives other workers the profiles of this one's users: in go keys, out come records, both in MessagePack.

        401 without the workers' key, 503 before profiles are restored, 421 where a user is not this worker's.
        """
        offered = request.headers.get(WORKER_KEY_HEADER, "").encode("utf-8", "surrogateescape")
        is_open = self._key or not self._settings.needs_key  # hashed keys alone: there is none that workers could show
        if not hmac.compare_digest(offered, self._key.encode()) or not is_open:
            raise Trouble("unauthorized", f"expected the key of the workers in {WORKER_KEY_HEADER}: set WORKER_KEY")
        if not self._assignment.is_ready():
            raise Trouble("not_ready", "profiles are not restored yet")
        try:
            keys = msgspec.msgpack.decode(await request.read(), type=list[bytes])
        except msgspec.MsgspecError as error:
            raise Trouble("invalid_parameter", f"expected a list of keys in MessagePack: {error}") from None
        own = self._assignment.partitions()
        records = [self._profiles.find(own, key) for key in keys]
        if any(not record and self._assignment.home(key) not in own for key, record in zip(keys, records, strict=True)):
            raise Trouble("not_owned", f"expected users of partitions {list(own)}")
        return web.Response(body=msgspec.msgpack.encode(records), content_type=MSGPACK)


def worker_key(settings: Settings) -> str:
    """The key that workers show each other: WORKER_KEY, else the first of API_KEYS, else none is needed."""
    if settings.worker_key is not None:
        return settings.worker_key.get_secret_value()
    return settings.keys[0] if settings.keys else ""
