"""A worker on the embedded broker: every transaction judged once, every state exact, without any server."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from fraudstream.adapters.embedded_broker import EmbeddedBroker
from fraudstream.settings import Settings
from fraudstream.topics import declared_topics
from fraudstream.training.history import encode_rows, read_history
from tests.checker import (
    Sent,
    Verdicts,
    assert_each_once,
    assert_states_equal,
    ordered_producer,
    produce,
    states_by_oracle,
    states_by_rocksdb,
)
from tests.datasets import data_set
from tests.worker import Worker

ROWS = 20_000
SLICE_ROWS = 1_000
AHEAD_ROWS = 4_000
"""Production waits for verdicts: a partition of the embedded broker keeps 5 MiB, read or not."""
VERDICTS_WITHIN_S = 120.0

pytestmark = [pytest.mark.slow]


async def stream_in_step(
    bootstrap: str, settings: Settings, messages: list[tuple[bytes, bytes]]
) -> tuple[list[Sent], Verdicts]:
    """Produces the messages and reads the verdicts, never far ahead of them."""
    sent: list[Sent] = []
    verdicts, seen = Verdicts(), 0
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest", enable_auto_commit=False)
    async with consumer, ordered_producer(bootstrap) as producer:
        consumer.assign(
            [TopicPartition(settings.verdicts_topic, number) for number in range(settings.topic_partitions)]
        )
        async with asyncio.timeout(VERDICTS_WITHIN_S):
            for start in range(0, len(messages), SLICE_ROWS):
                sent += await produce(producer, settings.transactions_topic, messages[start : start + SLICE_ROWS])
                allowed_behind = AHEAD_ROWS if len(sent) < len(messages) else 0
                while seen < len(sent) - allowed_behind:
                    for batch in (await consumer.getmany(timeout_ms=200)).values():
                        seen += verdicts.add(batch)
        for batch in (await consumer.getmany(timeout_ms=1_000)).values():
            verdicts.add(batch)  # one verdict too many would come now
    return sent, verdicts


@pytest.fixture(scope="module")
def messages() -> list[tuple[bytes, bytes]]:
    """The earliest rows of sparkov_a as they travel."""
    return encode_rows(read_history(data_set("sparkov_a.parquet"), rows=ROWS))


async def assert_worker_is_exact(worker: Worker, bootstrap: str, messages: list[tuple[bytes, bytes]]) -> None:
    sent, verdicts = await stream_in_step(bootstrap, worker.settings, messages)
    assert worker.stop() == 0, worker.tail()
    assert_each_once(verdicts, [json.loads(value)["transaction_id"] for _, value in messages])
    assert_states_equal(states_by_rocksdb(worker.data_dir), states_by_oracle(sent, worker.settings.allowed_lateness_s))
    worker.assert_no_traceback()


async def test_a_worker_on_an_embedded_broker_judges_each_transaction_once_and_keeps_exact_state(
    embedded_broker: EmbeddedBroker, own_settings: Settings, tmp_path: Path, messages: list[tuple[bytes, bytes]]
) -> None:
    for topic in declared_topics(own_settings):
        embedded_broker.create_topic(topic.name, topic.partitions)
    settings = own_settings.model_copy(update={"kafka_servers": embedded_broker.bootstrap})
    with Worker(settings, tmp_path) as worker:
        await worker.ready()
        await assert_worker_is_exact(worker, embedded_broker.bootstrap, messages)


async def test_a_worker_without_kafka_servers_brings_its_own_broker_and_is_as_exact(
    embedded_broker: EmbeddedBroker, own_settings: Settings, tmp_path: Path, messages: list[tuple[bytes, bytes]]
) -> None:
    with Worker(own_settings, tmp_path) as worker:  # the fixture only proves that this machine can run such a broker
        await worker.ready()
        await assert_worker_is_exact(worker, worker.embedded_broker(), messages)
