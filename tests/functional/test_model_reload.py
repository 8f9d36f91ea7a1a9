"""Another model is promoted while transactions stream: none is lost or judged twice, and each partition turns once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from fraudstream.adapters.embedded_broker import EmbeddedBroker
from fraudstream.score.artifact import DEFAULT_MODEL, TENSOR_FILE
from fraudstream.score.promotions import Promotions
from fraudstream.score.registry import PROMOTED_FILE, Registry
from fraudstream.settings import Settings
from fraudstream.topics import declared_topics
from fraudstream.training.messages import encode_rows
from fraudstream.training.simulate import SimulationSpec, simulate
from tests.checker import Verdicts, assert_each_once, ordered_producer, produce, until
from tests.models import other_model
from tests.worker import Worker

ROWS = 40_000
SLICE_ROWS = 100
AHEAD_ROWS = 1_000
BEFORE_ROWS = AFTER_ROWS = 2_000
LIMIT_S = 60.0
QUESTION = b'{"transaction_id":"t","user_id":"u","amount":1,"merchant":"m"}'

pytestmark = [pytest.mark.slow]


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    registry = Registry(tmp_path / "registry")
    registry.promote(str(DEFAULT_MODEL))
    return registry


@pytest.fixture
def worker(
    embedded_broker: EmbeddedBroker, own_settings: Settings, registry: Registry, tmp_path: Path
) -> Iterator[Worker]:
    for topic in declared_topics(own_settings):
        embedded_broker.create_topic(topic.name, topic.partitions)
    own = {"kafka_servers": embedded_broker.bootstrap, "model_registry": registry.directory}
    with Worker(own_settings.model_copy(update={**own, "model_poll_interval_s": 0.1}), tmp_path) as worker:
        yield worker


class Traffic:
    """Streams transactions in step with their verdicts until it is told that it is enough."""

    def __init__(self, worker: Worker) -> None:
        self._settings = worker.settings
        self._bootstrap = worker.settings.kafka_servers or ""
        self._messages = iter(encode_rows(simulate(SimulationSpec(transactions=ROWS, users=300, seed=11))))
        self.ids: list[str] = []
        self.records: list[Any] = []

    async def stream(self, enough: asyncio.Event) -> None:
        """Sends without a pause; at the end waits until everything is judged."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self._bootstrap, auto_offset_reset="earliest")
        async with consumer, ordered_producer(self._bootstrap) as producer:
            partitions = range(self._settings.topic_partitions)
            consumer.assign([TopicPartition(self._settings.verdicts_topic, number) for number in partitions])
            while not enough.is_set():
                rows = list(islice(self._messages, SLICE_ROWS))
                assert rows, "the stream is too short for this machine"
                await produce(producer, self._settings.transactions_topic, rows)
                self.ids += [json.loads(value)["transaction_id"] for _, value in rows]
                await self._read(consumer, behind=AHEAD_ROWS)
            await self._read(consumer, behind=0)
            for batch in (await consumer.getmany(timeout_ms=500)).values():
                self.records += batch  # one verdict too many would come now

    async def _read(self, consumer: AIOKafkaConsumer, behind: int) -> None:
        async with asyncio.timeout(LIMIT_S):
            while len(self.records) < len(self.ids) - behind:
                for batch in (await consumer.getmany(timeout_ms=100)).values():
                    self.records += batch

    async def until_judged(self, more: int) -> None:
        """Waits for so many further verdicts."""
        goal = len(self.records) + more

        async def are_there() -> bool:
            return len(self.records) >= goal

        await until(are_there, LIMIT_S, f"{more} more verdicts")

    def assert_each_is_judged_once(self) -> None:
        verdicts = Verdicts()
        verdicts.add(self.records)
        assert_each_once(verdicts, self.ids)

    def versions_by_partition(self) -> list[list[str]]:
        """The model versions of each partition's verdicts, in the order of the transactions, repeats left out."""
        verdicts = sorted(
            (json.loads(record.value) for record in self.records),
            key=lambda verdict: (verdict["source_partition"], verdict["source_offset"]),
        )
        return [
            [version for version, _ in groupby(verdict["model_version"] for verdict in of_partition)]
            for _, of_partition in groupby(verdicts, lambda verdict: verdict["source_partition"])
        ]


async def health(worker: Worker) -> dict[str, Any]:
    answer = await worker.ask("/health")
    assert answer is not None
    assert answer.status == 200, answer.body
    said: dict[str, Any] = answer.json()
    return said


async def metric(worker: Worker, name: str) -> float:
    answer = await worker.ask("/metrics")
    assert answer is not None
    return float(next(line for line in answer.body.decode().splitlines() if line.startswith(name)).rpartition(" ")[2])


async def until_in_use(worker: Worker, version: str) -> None:
    async def is_in_use() -> bool:
        return bool((await health(worker))["model_version"] == version)

    await until(is_in_use, LIMIT_S, f"{version} in use")


async def test_a_promotion_in_the_middle_of_the_stream_loses_and_repeats_nothing(
    worker: Worker, registry: Registry, tmp_path: Path
) -> None:
    await worker.ready()
    first = registry.promotions().version or ""
    traffic, enough = Traffic(worker), asyncio.Event()
    streaming = asyncio.create_task(traffic.stream(enough))
    versions = [first]
    for number in (1, 2):
        await traffic.until_judged(BEFORE_ROWS)
        promotion = await asyncio.to_thread(registry.promote, str(other_model(tmp_path / f"model-{number}", number)))
        assert promotion is not None
        versions.append(promotion.to_version)
        await until_in_use(worker, promotion.to_version)
    await traffic.until_judged(AFTER_ROWS)
    enough.set()
    await streaming
    traffic.assert_each_is_judged_once()
    assert traffic.versions_by_partition() == [versions] * worker.settings.topic_partitions
    asked = await asyncio.to_thread(worker.call, "POST", "/predict", QUESTION, {"Content-Type": "application/json"})
    assert asked.json()["model_version"] == versions[-1]
    assert await metric(worker, "fraudstream_model_reloads_total") == 2
    assert await metric(worker, f'fraudstream_model_info{{model_version="{versions[-1]}"}}') == 1
    assert worker.stop() == 0, worker.tail()
    worker.assert_no_traceback()


async def test_a_promoted_model_that_cannot_be_loaded_leaves_the_old_one_in_use(
    worker: Worker, registry: Registry, tmp_path: Path
) -> None:
    await worker.ready()
    first = registry.promotions().version or ""
    broken, _ = registry.add(other_model(tmp_path / "broken", 3))
    (registry.entry(broken).directory / TENSOR_FILE).write_bytes(b"not a model")
    path = registry.directory / PROMOTED_FILE
    path.write_bytes(Promotions(broken, registry.promotions().history).encoded())  # `promote` would refuse

    async def is_told() -> bool:
        return (await health(worker))["model_problem"] is not None

    await until(is_told, LIMIT_S, "a word about the model in /health")
    said = await health(worker)
    assert said["ready"] is True
    assert said["problems"] == []
    assert said["model_version"] == first
    assert broken in said["model_problem"]
    assert "SHA-256" in said["model_problem"]
    assert await metric(worker, "fraudstream_model_reload_failures_total") >= 1
    asked = await asyncio.to_thread(worker.call, "POST", "/predict", QUESTION, {"Content-Type": "application/json"})
    assert asked.json()["model_version"] == first
    path.write_bytes(b"{")
    await asyncio.sleep(1.0)
    assert (await health(worker))["model_version"] == first
    path.write_bytes(Promotions(first, ()).encoded())
    promotion = await asyncio.to_thread(registry.promote, str(other_model(tmp_path / "good", 4)))
    assert promotion is not None
    await until_in_use(worker, promotion.to_version)
    assert (await health(worker))["model_problem"] is None
    assert worker.log_text().count(f"the promoted model ({broken}) is not in use") == 1, worker.tail()


async def test_a_worker_whose_registry_has_no_promoted_model_says_so_and_ends(
    own_settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "registry").mkdir()
    settings = own_settings.model_copy(update={"model_registry": tmp_path / "registry"})
    with Worker(settings, tmp_path) as worker:
        assert worker.wait(LIMIT_S) == 78, worker.tail()
        assert "none is promoted yet" in worker.log_text()
        worker.assert_no_traceback()
