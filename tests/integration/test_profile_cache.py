"""Copies of profiles on real servers: the worker leaves them in Redis, gives them to others, and notices no fault."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from http import HTTPStatus
from pathlib import Path

import msgspec
import pytest

from fraudstream.adapters.kafka_topics import create_topics
from fraudstream.adapters.profile_cache import ProfileCache, profile_cache
from fraudstream.agents.owners import MSGPACK, PATH, WORKER_KEY_HEADER
from fraudstream.settings import Settings
from fraudstream.state.profile import view
from fraudstream.training.history import encode_rows
from fraudstream.training.simulate import SimulationSpec, simulate
from tests.checker import ordered_producer, produce, until
from tests.servers.kafka import KafkaCluster
from tests.servers.redis import RedisServer
from tests.worker import Worker

ROWS, USERS = 6_000, 150
WITHIN_S = 60.0
SLICE_ROWS = 250

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]

Message = tuple[bytes, bytes]


@pytest.fixture(scope="module")
def messages() -> list[Message]:
    return encode_rows(simulate(SimulationSpec(transactions=ROWS, users=USERS)))


@pytest.fixture
def settings(own_settings: Settings, kafka: KafkaCluster) -> Settings:
    return own_settings.model_copy(update={"kafka_servers": kafka.bootstrap, "kafka_session_timeout_s": 6.0})


@pytest.fixture
def new_worker(settings: Settings, tmp_path: Path) -> Iterator[Callable[..., Worker]]:
    workers: list[Worker] = []

    def new(**changes: object) -> Worker:
        worker = Worker(settings.model_copy(update=changes), tmp_path, f"worker-{len(workers)}")
        workers.append(worker)
        return worker.start()

    yield new
    for worker in workers:
        worker.end()


async def send(settings: Settings, messages: Sequence[Message], pause_s: float = 0.0) -> None:
    async with ordered_producer(settings.kafka_servers or "") as producer:
        for at in range(0, len(messages), SLICE_ROWS):
            await produce(producer, settings.transactions_topic, messages[at : at + SLICE_ROWS])
            await asyncio.sleep(pause_s)


def users_of(messages: Sequence[Message]) -> list[bytes]:
    return sorted({key for key, _ in messages})


def given_by(worker: Worker, keys: Sequence[bytes], worker_key: str = "") -> list[bytes] | HTTPStatus:
    """What a worker gives other workers: the records, or its refusal."""
    headers = {"Content-Type": MSGPACK, WORKER_KEY_HEADER: worker_key}
    answer = worker.call("POST", PATH, msgspec.msgpack.encode(keys), headers)
    if answer.status != HTTPStatus.OK:
        return HTTPStatus(answer.status)
    return msgspec.msgpack.decode(answer.body, type=list[bytes])


def is_owner(worker: Worker, key: bytes) -> bool:
    given = given_by(worker, [key], "wk")
    assert isinstance(given, list) or given == HTTPStatus.MISDIRECTED_REQUEST
    return isinstance(given, list)


async def until_judged(worker: Worker, rows: int) -> None:
    async def is_judged() -> bool:
        answer = await worker.ask("/health")
        return answer is not None and answer.json()["processed"] >= rows and answer.json()["lag"] == 0

    await until(is_judged, WITHIN_S, f"{rows} transactions judged")


async def until_copied(cache: ProfileCache, worker: Worker, keys: Sequence[bytes]) -> None:
    async def is_copied() -> bool:
        truth = await asyncio.to_thread(given_by, worker, keys)
        return [copy and copy.record for copy in await cache.get(keys)] == truth

    await until(is_copied, WITHIN_S, "every copy in Redis is what the worker's table holds")


async def test_copies_are_those_of_the_table_though_redis_is_killed_and_restarted_under_load(
    kafka: KafkaCluster,
    redis: RedisServer,
    settings: Settings,
    new_worker: Callable[..., Worker],
    messages: list[Message],
) -> None:
    await create_topics(settings, kafka.bootstrap)
    worker = await new_worker(redis_host=redis.host).ready()
    cache = profile_cache(settings.model_copy(update={"redis_host": redis.host}), 2.0)
    sending = asyncio.create_task(send(settings, messages, pause_s=0.1))
    for _ in range(2):
        await asyncio.sleep(0.5)
        redis.kill()
        await asyncio.sleep(0.5)
        await asyncio.to_thread(redis.start)
    assert not sending.done(), "the kills came too late to hit the stream"
    await sending
    await until_judged(worker, len(messages))
    keys = users_of(messages)
    await until_copied(cache, worker, keys)
    counts = [shown.count for copy in await cache.get(keys) if copy and (shown := view(copy.record))]
    assert sum(counts) == len({json.loads(value)["transaction_id"] for _, value in messages})

    # Empty, and nothing happens in the stream any more: what is missing comes from the table.
    redis.kill()
    await asyncio.to_thread(redis.start)
    await until_copied(cache, worker, keys)
    assert worker.stop() == 0, worker.tail()
    await cache.close()


async def test_a_worker_that_is_killed_leaves_no_old_copy_for_long(
    kafka: KafkaCluster,
    redis: RedisServer,
    settings: Settings,
    new_worker: Callable[..., Worker],
    messages: list[Message],
) -> None:
    await create_topics(settings, kafka.bootstrap)
    worker = await new_worker(redis_host=redis.host).ready()
    cache = profile_cache(settings.model_copy(update={"redis_host": redis.host}), 2.0)
    half = len(messages) // 2
    await send(settings, messages[:half])
    redis.stall()  # the copies of what comes now stay in the worker's hands
    await send(settings, messages[half:])
    await until_judged(worker, len(messages))
    worker.kill()
    redis.resume()
    heir = await new_worker(redis_host=redis.host).ready()
    await until_copied(cache, heir, users_of(messages))
    await cache.close()


async def test_workers_give_profiles_to_those_who_show_the_key_and_only_their_own(
    kafka: KafkaCluster, settings: Settings, new_worker: Callable[..., Worker], messages: list[Message]
) -> None:
    await create_topics(settings, kafka.bootstrap)
    workers = [await new_worker(worker_key="wk").ready() for _ in range(2)]
    await send(settings, messages)
    keys = users_of(messages)

    async def is_shared() -> bool:
        parts = [(await worker.ask("/health")) for worker in workers]
        return all(part is not None and len(part.json()["partitions"]) == 2 for part in parts)

    await until(is_shared, WITHIN_S, "two partitions for each worker")
    assert given_by(workers[0], keys[:1]) == HTTPStatus.UNAUTHORIZED
    assert given_by(workers[0], keys[:1], "other") == HTTPStatus.UNAUTHORIZED
    assert given_by(workers[0], keys, "wk") == HTTPStatus.MISDIRECTED_REQUEST
    owned: list[list[bytes]] = [[key for key in keys if is_owner(worker, key)] for worker in workers]
    assert sorted([*owned[0], *owned[1]]) == keys, "each user has one owner"

    async def is_known() -> bool:
        given = [await asyncio.to_thread(given_by, *pair, "wk") for pair in zip(workers, owned, strict=True)]
        return all(isinstance(records, list) and all(records) for records in given)

    await until(is_known, WITHIN_S, "every owner gives the profiles of its users")
