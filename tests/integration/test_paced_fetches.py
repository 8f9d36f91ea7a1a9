"""Fetches that wait for each other bring everything, in fewer answers, and what comes after a silence at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.protocol.fetch import FetchRequest

from fraudstream.adapters.kafka_topics import create_topics
from fraudstream.agents.paced_fetches import FEW_PACE_S, MUCH_PACE_S, MUCH_RECORDS, PACE_S, pace
from fraudstream.settings import Settings
from tests.servers.kafka import KafkaCluster

pytestmark = pytest.mark.servers

MESSAGES = 200


@pytest.mark.parametrize(("apart_s", "pace_s"), [(0.002, PACE_S), (0.015, FEW_PACE_S)])
async def test_a_steady_stream_comes_in_answers_that_are_a_pace_apart(
    kafka: KafkaCluster, own_settings: Settings, apart_s: float, pace_s: float
) -> None:
    await create_topics(own_settings, kafka.bootstrap)
    topic = own_settings.transactions_topic
    async with (
        AIOKafkaProducer(bootstrap_servers=kafka.bootstrap) as producer,
        paced(kafka.bootstrap, topic) as consumer,
    ):
        sent_s = counted(consumer)
        sending = asyncio.ensure_future(send_steadily(producer, topic, apart_s))
        values, started_s = list[bytes](), time.monotonic()
        while len(values) < MESSAGES:
            fetched = await consumer.getmany(timeout_ms=2_000)
            values += [record.value for records in fetched.values() for record in records]
        elapsed_s = time.monotonic() - started_s
        await sending
    assert values == [b"%d" % number for number in range(MESSAGES)]
    assert len(sent_s) <= elapsed_s / pace_s + 2


async def test_what_comes_after_a_silence_waits_for_no_pace(kafka: KafkaCluster, own_settings: Settings) -> None:
    await create_topics(own_settings, kafka.bootstrap)
    topic = own_settings.transactions_topic
    async with (
        AIOKafkaProducer(bootstrap_servers=kafka.bootstrap) as producer,
        paced(kafka.bootstrap, topic) as consumer,
    ):
        waited_s = []
        for number in range(10):
            await asyncio.sleep(4 * PACE_S)
            await producer.send_and_wait(topic, b"%d" % number, partition=0)
            sent_s = time.monotonic()
            assert await consumer.getmany(timeout_ms=2_000)
            waited_s.append(time.monotonic() - sent_s)
    assert sorted(waited_s)[5] < PACE_S / 2


async def test_where_much_waits_answers_are_further_apart(kafka: KafkaCluster, own_settings: Settings) -> None:
    await create_topics(own_settings, kafka.bootstrap)
    topic = own_settings.transactions_topic
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap) as producer:
        for _ in range(20):
            await send_together(producer, topic, MUCH_RECORDS // 4)
    async with paced(kafka.bootstrap, topic, max_partition_fetch_bytes=1) as consumer:  # a batch for each answer
        sent_s, much_s, few_s = counted(consumer), list[float](), list[float]()
        left = 20 * (MUCH_RECORDS // 4)
        while left:
            fetched = await consumer.getmany(timeout_ms=2_000)
            (much_s if left > MUCH_RECORDS else few_s).append(sent_s[-1])
            left -= sum(len(records) for records in fetched.values())
    assert min(apart(much_s[1:])) >= MUCH_PACE_S * 0.95
    assert len(few_s) == 4
    assert PACE_S * 0.95 <= min(apart(few_s)) < MUCH_PACE_S


def apart(moments_s: list[float]) -> list[float]:
    return [later_s - earlier_s for earlier_s, later_s in pairwise(moments_s)]


@asynccontextmanager
async def paced(bootstrap: str, topic: str, **options: Any) -> AsyncIterator[AIOKafkaConsumer]:
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False, **options) as consumer:
        pace(consumer)
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        consumer.seek(partition, 0)
        yield consumer


def counted(consumer: Any) -> list[float]:
    """When its fetches are sent, from now on."""
    send, sent_s = consumer._client.send, list[float]()

    async def noted(node: int, request: Any, **named: Any) -> Any:
        if isinstance(request, FetchRequest):
            sent_s.append(time.monotonic())
        return await send(node, request, **named)

    consumer._client.send = noted
    return sent_s


async def send_steadily(producer: AIOKafkaProducer, topic: str, apart_s: float) -> None:
    for number in range(MESSAGES):
        await producer.send(topic, b"%d" % number, partition=0)
        await asyncio.sleep(apart_s)


async def send_together(producer: AIOKafkaProducer, topic: str, number: int) -> None:
    batch = producer.create_batch()
    for at in range(number):
        batch.append(key=None, value=b"%d" % at, timestamp=None)
    await (await producer.send_batch(batch, topic, partition=0))
