"""A Redis client from settings, by redis-py's asyncio half (what was aioredis); what is kept there stays outside."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from fraudstream.errors import CacheUnavailable, SettingsError, said
from fraudstream.settings import Settings

DEFAULT_PORT = 6379
EVICTING_POLICIES = ("allkeys-lru", "allkeys-lfu", "volatile-ttl", "volatile-lru", "volatile-lfu")
"""With these a full Redis lets old copies go; with any other it refuses new ones."""

BOUND = (
    "set maxmemory, and maxmemory-policy allkeys-lru on a Redis of its own, volatile-ttl on a shared one; "
    "a profile takes 0.2 to 8.5 kB"
)


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """Where Redis is; passwords are no part of what is printed."""

    host: str
    port: int
    database: int = 0
    tls: bool = False
    username: str | None = None
    password: str | None = None

    def __str__(self) -> str:
        return f"{'rediss' if self.tls else 'redis'}://{self.host}:{self.port}/{self.database}"

    def __repr__(self) -> str:
        return f"RedisAddress({self})"


def redis_address(settings: Settings) -> RedisAddress:
    """Reads REDIS_HOST (HOST, HOST:PORT, redis:// or rediss:// URL); REDIS_PASSWORD wins over one in the URL.

    Raises:
        SettingsError: no address can be read from it; does not tell it, for it may hold a password.
    """
    text = settings.redis_host or ""
    try:
        url = urlsplit(text if "://" in text else f"redis://{text}")
        if url.scheme not in ("redis", "rediss") or not url.hostname:
            raise ValueError
        own = settings.redis_password.get_secret_value() if settings.redis_password else None
        return RedisAddress(
            host=url.hostname,
            port=url.port or DEFAULT_PORT,
            database=int(url.path.strip("/") or 0),
            tls=url.scheme == "rediss",
            username=settings.redis_username or (unquote(url.username) if url.username else None),
            password=own or (unquote(url.password) if url.password else None),
        )
    except ValueError:
        raise SettingsError(
            "REDIS_HOST: expected HOST, HOST:PORT, redis://HOST:PORT/DATABASE or rediss:// for TLS, "
            "got an address that cannot be read; IPv6 addresses stand in brackets"
        ) from None


def redis_client(settings: Settings, timeout_s: float) -> Redis:
    """A client that connects when it is first used, and again at once when a connection was lost in between.

    Args:
        settings: REDIS_HOST must be there.
        timeout_s: for a connection to stand, and for each answer.

    Raises:
        SettingsError: the address or the CA bundle cannot be read.
    """
    address = redis_address(settings)
    return Redis(
        host=address.host,
        port=address.port,
        db=address.database,
        username=address.username,
        password=address.password,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        client_name=f"fraudstream-{settings.app_id}",
        # One more try: after a restart of Redis the pool is full of dead connections.
        retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
        **_tls(settings, address),
    )


@dataclass(frozen=True, slots=True)
class RedisFacts:
    """What a Redis says of itself.

    Attributes:
        most_bytes: it may use; 0: whatever the machine has.
        policy: what it does when these are used up.
        evicted: keys that it let go for want of memory, since it was started.
    """

    version: str
    used_bytes: int
    most_bytes: int
    policy: str
    evicted: int

    @property
    def problem(self) -> tuple[str, str] | None:
        """What is wrong with it as a cache, and what to do."""
        if not self.most_bytes:
            return "its memory has no bound: it grows until the machine has none left", BOUND
        if self.policy not in EVICTING_POLICIES:
            return f"its policy is {self.policy}: when it is full it refuses new copies, and old ones grow older", BOUND
        if self.evicted:
            return (
                f"it let {self.evicted} keys go for want of memory: who has no copy may be known or new",
                "give it more memory (maxmemory), or set a shorter PROFILE_TTL_S",
            )
        return None


async def redis_facts(settings: Settings, timeout_s: float) -> RedisFacts:
    """Asks the Redis that the settings name.

    Raises:
        CacheUnavailable: it does not answer, or does not let us in.
        SettingsError: the address or the CA bundle cannot be read.
    """
    client = redis_client(settings, timeout_s)
    try:
        info = await client.info("everything")
    except (RedisError, OSError) as error:
        raise CacheUnavailable(f"expected Redis at {redis_address(settings)}, got: {said(error)}") from None
    finally:
        await client.aclose()
    return RedisFacts(
        version=str(info["redis_version"]),
        used_bytes=int(info["used_memory"]),
        most_bytes=int(info["maxmemory"]),
        policy=str(info["maxmemory_policy"]),
        evicted=int(info["evicted_keys"]),
    )


def _tls(settings: Settings, address: RedisAddress) -> dict[str, Any]:
    if not address.tls:
        return {}
    bundle = settings.redis_ssl_cafile
    if bundle is not None:
        try:
            ssl.create_default_context(cafile=bundle)
        except (OSError, ssl.SSLError) as error:
            raise SettingsError(
                f"REDIS_SSL_CAFILE={bundle}: expected a readable file of CA certificates in PEM, "
                f"got {error.strerror or error}"
            ) from None
    return {"ssl": True, "ssl_ca_certs": str(bundle) if bundle else None}
