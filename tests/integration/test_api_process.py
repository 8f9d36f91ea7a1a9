"""`fraudstream api` and owner forwarding on real servers: any process answers for any user, whatever breaks."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from benchmarks.open_loop import post, send_at_rate
from fraudstream.adapters.kafka_topics import create_topics
from fraudstream.settings import Settings
from fraudstream.training.history import encode_rows
from fraudstream.training.simulate import SimulationSpec, simulate
from tests.api_process import ApiServer
from tests.checker import read_topic, until
from tests.integration.test_profile_cache import Message, send, until_judged, users_of
from tests.servers.kafka import KafkaCluster
from tests.servers.redis import RedisServer
from tests.worker import Answer, Worker

ROWS, USERS = 3_000, 60
WITHIN_S = 60.0
RATE, LOAD_S = 150.0, 8.0

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def messages() -> list[Message]:
    return encode_rows(simulate(SimulationSpec(transactions=ROWS, users=USERS)))


@pytest.fixture
def settings(own_settings: Settings, kafka: KafkaCluster, redis: RedisServer) -> Settings:
    return own_settings.model_copy(
        update={"kafka_servers": kafka.bootstrap, "kafka_session_timeout_s": 6.0, "redis_host": redis.host}
    )


@pytest.fixture
def new_worker(tmp_path: Path) -> Iterator[Callable[[Settings], Worker]]:
    workers: list[Worker] = []

    def new(settings: Settings) -> Worker:
        workers.append(Worker(settings, tmp_path, f"worker-{len(workers)}"))
        return workers[-1].start()

    yield new
    for worker in workers:
        worker.end()


@pytest.fixture
def api(settings: Settings, tmp_path: Path) -> Iterator[ApiServer]:
    with ApiServer(settings, tmp_path) as server:
        yield server


def question(key: bytes, number: int) -> bytes:
    return json.dumps(
        {
            "transaction_id": f"q-{number}",
            "user_id": key.decode(),
            "amount": 40 + number % 50,
            "merchant": "Corner Shop",
        }
    ).encode()


def asked(server: Worker | ApiServer, key: bytes, number: int, query: str = "") -> Answer:
    return server.call("POST", f"/predict{query}", question(key, number), {"Content-Type": "application/json"})


def body_of(answer: Answer) -> dict[str, Any]:
    assert answer.status == HTTPStatus.OK, answer.body
    body: dict[str, Any] = answer.json()
    return body


async def until_known(api: ApiServer, keys: list[bytes]) -> None:
    """Waits until the API has a profile of every user."""

    async def is_known() -> bool:
        answers = [await asyncio.to_thread(api.call, "GET", f"/profiles/{key.decode()}") for key in keys]
        return all(answer.status == HTTPStatus.OK for answer in answers)

    await until(is_known, WITHIN_S, "a copy of every user's profile")


async def test_no_prediction_fails_while_redis_is_killed_and_restarted_under_load(
    kafka: KafkaCluster,
    redis: RedisServer,
    settings: Settings,
    new_worker: Callable[[Settings], Worker],
    api: ApiServer,
    messages: list[Message],
) -> None:
    await create_topics(settings, kafka.bootstrap)
    worker = await new_worker(settings).ready()
    await send(settings, messages)
    await until_judged(worker, len(messages))
    keys = users_of(messages)
    await asyncio.to_thread(api.ready)
    await until_known(api, keys)
    loading = asyncio.create_task(
        send_at_rate(
            api.port, lambda n: post("/predict", question(keys[n % len(keys)], n)), RATE, LOAD_S, keep_bodies=True
        )
    )
    for _ in range(3):
        await asyncio.sleep(LOAD_S / 6)
        redis.kill()
        await asyncio.sleep(LOAD_S / 8)
        await asyncio.to_thread(redis.start)
    assert not loading.done(), "the kills came too late to hit the load"
    answers = await loading
    assert answers.failed == 0, answers.statuses
    verdicts = [json.loads(body) for body in answers.bodies]
    assert len(verdicts) == round(RATE * LOAD_S)
    # Every user was seen before Redis went, so this process' own copies serve.
    assert {verdict["profile"] and verdict["profile"]["origin"] for verdict in verdicts} == {"cache"}
    assert not [verdict for verdict in verdicts if verdict["degraded"]]

    # Nobody's copy is there, and the cache cannot be asked: judged as a stranger, and the answer says so.
    redis.kill()
    stranger = body_of(await asyncio.to_thread(asked, api, b"stranger", 90_000))
    assert (stranger["degraded"], stranger["profile"]) == (["profile"], None)
    assert (await asyncio.to_thread(api.call, "GET", "/health")).status == HTTPStatus.OK
    await asyncio.to_thread(redis.start)

    async def is_new() -> bool:
        # Known to be new, once the worker has copied its table to the new Redis.
        answer = body_of(await asyncio.to_thread(asked, api, b"newcomer", next(numbers)))
        return answer["degraded"] == [] and bool(answer["profile"]["origin"] == "cache")

    numbers = iter(range(10_000, 20_000))
    await until(is_new, WITHIN_S, "an answer that is sure of a new user")


async def test_the_api_answers_as_the_worker_does_and_records_what_it_is_asked_to(
    kafka: KafkaCluster,
    settings: Settings,
    new_worker: Callable[[Settings], Worker],
    api: ApiServer,
    messages: list[Message],
) -> None:
    await create_topics(settings, kafka.bootstrap)
    worker = await new_worker(settings).ready()
    await send(settings, messages)
    await until_judged(worker, len(messages))
    keys = users_of(messages)
    await asyncio.to_thread(api.ready)
    await until_known(api, keys)
    own = ("profile", "processing_time_ms", "timestamp", "event_time")
    for number, key in enumerate(keys[:20]):
        said = [body_of(asked(server, key, number)) for server in (worker, api)]
        assert [answer["profile"]["origin"] for answer in said] == ["table", "cache"]
        stamped = "?record=true" if number == 0 else ""
        assert stamped == "" or body_of(asked(api, key, 777, stamped))["degraded"] == []
        for answer in said:
            for name in own:
                del answer[name]
        assert abs(said[0].pop("anomaly_score") - said[1].pop("anomaly_score")) < 0.05  # a second may have passed

    async def is_judged() -> bool:
        found = await read_topic(settings.kafka_servers or "", settings.verdicts_topic)
        return any(json.loads(record.value)["transaction_id"] == "q-777" for record in found)

    await until(is_judged, WITHIN_S, "a verdict in the stream on the recorded transaction")
    assert api.stop() == 0, api.tail()


@pytest.mark.parametrize("source", ["owner", "cache"])
async def test_any_worker_answers_for_any_user(
    kafka: KafkaCluster,
    settings: Settings,
    new_worker: Callable[[Settings], Worker],
    messages: list[Message],
    source: str,
) -> None:
    own = settings.model_copy(update={"profile_source": source} | ({"redis_host": None} if source == "owner" else {}))
    await create_topics(settings, kafka.bootstrap)
    workers = [await new_worker(own).ready() for _ in range(2)]
    await send(settings, messages)
    keys = users_of(messages)

    async def is_done() -> bool:
        parts = [(await worker.ask("/health")) for worker in workers]
        reports = [part.json() for part in parts if part is not None and part.status == HTTPStatus.OK]
        return [len(report["partitions"]) for report in reports] == [2, 2] and not any(
            report["lag"] for report in reports
        )

    await until(is_done, WITHIN_S, "two partitions for each worker, and everything judged")

    async def is_known_everywhere() -> bool:
        pages = [
            await asyncio.to_thread(worker.call, "GET", f"/profiles/{key.decode()}")
            for key in keys
            for worker in workers
        ]
        return all(page.status == HTTPStatus.OK for page in pages)

    await until(is_known_everywhere, WITHIN_S, "every user known at every worker")
    number = 0
    for key in keys:
        said = []
        for worker in workers:
            number += 1
            said.append(body_of(asked(worker, key, number)))
        assert sorted(answer["profile"]["origin"] for answer in said) == sorted(["table", source])
        assert [answer["degraded"] for answer in said] == [[], []]
    newcomers = [body_of(asked(worker, b"new-%d" % n, 5000 + n)) for n in range(8) for worker in workers[:1]]
    if source == "owner":
        assert {answer["profile"]["origin"] for answer in newcomers} == {"table", "owner"}
        assert not [answer for answer in newcomers if answer["degraded"]]

    # One stands still: the other answers for everybody all the same, from its copies, within its time.
    workers[1].stall()
    for key in keys[:10]:
        number += 1
        answer = body_of(await asyncio.to_thread(asked, workers[0], key, number))
        assert answer["profile"]["origin"] in ("table", "cache")
        assert answer["processing_time_ms"] < 2_000
    workers[1].resume()


def test_several_processes_share_a_port_and_stop_together(settings: Settings, tmp_path: Path) -> None:
    alone = settings.model_copy(update={"kafka_servers": None})
    with ApiServer(alone, tmp_path, ("--processes", "2")) as server:
        server.ready()
        for number in range(20):
            assert body_of(asked(server, b"u", number))["model_version"]
        assert server.stop() == 0, server.tail()
        with pytest.raises(OSError, match="refused"):
            server.call("GET", "/health")


def test_one_of_several_processes_that_dies_ends_them_all(settings: Settings, tmp_path: Path) -> None:
    alone = settings.model_copy(update={"kafka_servers": None})
    with ApiServer(alone, tmp_path, ("--processes", "2")) as server:
        server.ready()
        children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
        os.kill(int(children[0]), signal.SIGKILL)
        assert server.wait() == 1, server.tail()
        assert f"process {children[0]} ended by itself (-9)" in server.tail()
        with pytest.raises(OSError, match="refused"):
            server.call("GET", "/health")
