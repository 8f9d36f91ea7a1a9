"""On a real broker: /health/live says no where a restart would mend something, and only there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fraudstream.adapters.kafka_topics import create_topics
from fraudstream.settings import Settings
from fraudstream.training.history import encode_rows, read_history
from tests.checker import end_offsets, ordered_producer, produce, until
from tests.datasets import data_set
from tests.servers.kafka import KafkaCluster
from tests.worker import Worker

STALL_S = 8.0
SESSION_TIMEOUT_S = 6.0
WITHIN_S = 90.0
ROWS = 12_000
APP = "tests.standstill"

pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def messages() -> list[tuple[bytes, bytes]]:
    """The earliest rows of sparkov_a as they travel."""
    return encode_rows(read_history(data_set("sparkov_a.parquet"), rows=ROWS))


class Cause:
    """What brings a worker of `tests.standstill` to a standstill."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def plant(self, kind: str) -> None:
        self._path.write_text(kind)

    def remove(self) -> None:
        self._path.unlink()


@pytest.fixture
def cause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cause:
    path = tmp_path / "standstill"
    monkeypatch.setenv("STANDSTILL", str(path))
    return Cause(path)


@pytest.fixture
async def settings(own_settings: Settings, kafka: KafkaCluster) -> Settings:
    return await with_topics(own_settings, kafka)


async def with_topics(own_settings: Settings, kafka: KafkaCluster) -> Settings:
    settings = own_settings.model_copy(
        update={
            "kafka_servers": kafka.bootstrap,
            "kafka_session_timeout_s": SESSION_TIMEOUT_S,
            "liveness_stall_s": STALL_S,
        }
    )
    await create_topics(settings, kafka.bootstrap)
    return settings


@pytest.fixture
def worker(settings: Settings, cause: Cause, tmp_path: Path) -> Iterator[Worker]:
    worker = Worker(settings, tmp_path, app=APP)
    yield worker
    worker.end()


async def status(worker: Worker, probe: str) -> int | None:
    """None where nobody answers."""
    answer = await worker.ask(f"/health/{probe}")
    return None if answer is None else answer.status


async def send(settings: Settings, messages: list[tuple[bytes, bytes]]) -> None:
    async with ordered_producer(str(settings.kafka_servers)) as producer:
        await produce(producer, settings.transactions_topic, messages)


async def judged(settings: Settings) -> int:
    return sum((await end_offsets(str(settings.kafka_servers), settings.verdicts_topic)).values())


async def test_a_worker_that_no_longer_judges_what_waits_is_not_alive_until_it_goes_on(
    settings: Settings, worker: Worker, cause: Cause, messages: list[tuple[bytes, bytes]]
) -> None:
    await worker.start().ready()
    await asyncio.sleep(2 * STALL_S)
    assert await status(worker, "live") == 200, "nothing waits, so nothing stands still"
    cause.plant("wait")
    await send(settings, messages[:100])
    stuck_s = time.monotonic()

    async def is_dead() -> bool:
        return await status(worker, "live") == 503

    await until(is_dead, WITHIN_S, "a probe that says no")
    assert time.monotonic() - stuck_s >= STALL_S * 0.9, "it was given up too soon"
    answer = await asyncio.to_thread(worker.call, "GET", "/health/live")
    said = answer.json()
    assert said["alive"] is False
    assert said["problem"].startswith("transactions wait and none is judged")
    assert "not alive: transactions wait" in worker.log_text()
    cause.remove()
    worker.kill()
    await worker.start().ready()

    async def is_judged() -> bool:
        return await judged(settings) >= 100

    await until(is_judged, WITHIN_S, "verdicts after the restart")
    assert await status(worker, "live") == 200


async def test_a_model_that_never_comes_back_leaves_the_probe_unanswered(
    settings: Settings, worker: Worker, cause: Cause, messages: list[tuple[bytes, bytes]]
) -> None:
    await worker.start().ready()
    cause.plant("block")
    await send(settings, messages[:10])

    async def is_mute() -> bool:
        return await status(worker, "live") is None

    await until(is_mute, WITHIN_S, "a probe that runs into its timeout")


async def test_a_worker_that_restores_is_alive_and_not_ready_however_long_it_takes(
    settings: Settings, worker: Worker, cause: Cause, messages: list[tuple[bytes, bytes]], tmp_path: Path
) -> None:
    await worker.start().ready()
    await send(settings, messages)

    async def is_judged() -> bool:
        return await judged(settings) >= ROWS

    await until(is_judged, WITHIN_S, "a verdict on each transaction")
    assert await asyncio.to_thread(worker.stop) == 0
    cause.plant("restore")
    heir = Worker(settings, tmp_path, "heir", app=APP)
    try:
        heir.start()

        async def is_restoring() -> bool:
            answer = await heir.ask("/health")
            return answer is not None and answer.json()["restoring"]

        await until(is_restoring, WITHIN_S, "a restore")
        began_s, seen = time.monotonic(), set()
        while await status(heir, "ready") == 503:
            seen.add(await status(heir, "live"))
            assert time.monotonic() - began_s < WITHIN_S, heir.tail()
            await asyncio.sleep(0.2)
        took_s = time.monotonic() - began_s
        assert seen == {200}
        assert took_s > 2 * STALL_S, f"a restore of {took_s:.0f} s shows nothing"
        await heir.ready()
    finally:
        heir.end()


async def test_without_kafka_a_worker_is_alive_and_not_ready(own_settings: Settings, tmp_path: Path) -> None:
    with KafkaCluster(directory=tmp_path / "kafka") as cluster:
        settings = await with_topics(own_settings, cluster)
        with Worker(settings, tmp_path) as worker:
            await worker.ready()
            cluster.kill()
            killed_s = time.monotonic()

            async def is_unready() -> bool:
                return await status(worker, "ready") == 503

            await until(is_unready, 4 * SESSION_TIMEOUT_S, "a worker that knows that its broker is away")
            while time.monotonic() - killed_s < 4 * STALL_S:
                assert await status(worker, "live") == 200, worker.tail()
                await asyncio.sleep(0.5)
            cluster.revive()
            await worker.ready()
            assert worker.exit_code() is None
