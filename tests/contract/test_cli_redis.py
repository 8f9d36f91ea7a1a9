"""What `fraudstream doctor` says of a Redis that answers."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fraudstream.adapters.redis_client import redis_client
from fraudstream.settings import Settings
from tests.contract.test_cli import run

if TYPE_CHECKING:
    from tests.servers.redis import RedisServer

pytestmark = pytest.mark.usefixtures("plain_environment")


def configure(server: RedisServer, **options: str) -> None:
    async def apply() -> None:
        client = redis_client(Settings.model_construct(redis_host=server.host, app_id="test"), 2.0)
        for name, value in options.items():
            await client.config_set(name.replace("_", "-"), value)
        for number in range(12):
            await client.set(f"key-{number}", b"x" * 1_000_000)
        await client.aclose()

    asyncio.run(apply())


def told_of(server: RedisServer, tmp_path: Path) -> dict[str, Any]:
    told = tmp_path / "doctor.json"
    ended = run("doctor", "--json", told, REDIS_HOST=server.host, DATA_DIR=str(tmp_path / "data"))
    assert ended.exit_code == 0, ended.output
    checks: list[dict[str, Any]] = json.loads(told.read_text(encoding="utf-8"))["checks"]
    return next(check for check in checks if check["name"] == "redis")


@pytest.mark.parametrize(
    ("options", "said", "todo"),
    [
        ({"maxmemory": "0"}, "its memory has no bound", "set maxmemory, and maxmemory-policy"),
        ({"maxmemory": "100mb", "maxmemory_policy": "noeviction"}, "its policy is noeviction", "set maxmemory, and"),
        ({"maxmemory": "10mb", "maxmemory_policy": "allkeys-lru"}, "keys go for want of memory", "give it more memory"),
        (
            {"maxmemory": "100mb", "maxmemory_policy": "volatile-ttl"},
            "100 MiB, volatile-ttl; its memory is bounded",
            "",
        ),
    ],
)
def test_doctor_looks_at_the_memory_of_redis(
    redis: RedisServer, tmp_path: Path, options: dict[str, str], said: str, todo: str
) -> None:
    configure(redis, **options)
    check = told_of(redis, tmp_path)
    assert check["status"] == "ok"
    assert f"redis://{redis.host}/0 is Redis" in check["found"]
    assert said in check["found"]
    assert check["todo"].startswith(todo)
    assert bool(check["todo"]) == bool(todo)
