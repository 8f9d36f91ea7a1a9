"""Reads a topic from its beginning, or from one record, to where it ends now; joins no consumer group."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import aiokafka
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from fraudstream.adapters.kafka_client import collected_log, kafka_arguments, unreachable
from fraudstream.adapters.kafka_topics import describe_topics
from fraudstream.errors import BrokerError, TopicError
from fraudstream.settings import Settings

CONNECT_TIMEOUT_S = 10.0
FETCH_TIMEOUT_MS = 500
SILENT_AFTER_S = 15.0


async def read_topic(
    settings: Settings, bootstrap: str, topic: str, start: tuple[int, int] | None = None
) -> AsyncGenerator[Any, None]:
    """Every committed record, partition by partition in their order.

    Args:
        start: a partition and an offset: that partition alone, from there on. None: everything.

    Raises:
        BrokerError: the broker cannot be reached or stops answering.
        TopicError: there is no such topic.
    """
    found = (await describe_topics(settings, bootstrap, [topic])).get(topic)
    if found is None:
        raise TopicError(f"topic {topic}: expected it to exist; create it with `fraudstream topics create`")
    partitions = [number for number in range(found.partitions) if start is None or number == start[0]]
    if not partitions:
        return
    consumer = aiokafka.AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        enable_auto_commit=False,
        isolation_level="read_committed",
        **kafka_arguments(settings),
    )
    with collected_log() as said:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await consumer.start()
                ends = await _assign(consumer, [TopicPartition(topic, number) for number in partitions], start)
            async for record in _until(consumer, ends):
                yield record
        except (KafkaError, OSError, TimeoutError) as error:
            raise BrokerError(unreachable(bootstrap, said[0] if said else str(error))) from None
        finally:
            await consumer.stop()


async def _assign(
    consumer: Any, partitions: list[TopicPartition], start: tuple[int, int] | None
) -> dict[TopicPartition, int]:
    """Gives the consumer the partitions from where to begin; returns the ends of those that hold anything."""
    consumer.assign(partitions)
    # A plain seek: seek_to_beginning is undone by the reset to the end that the client has begun by itself.
    firsts = await consumer.beginning_offsets(partitions)
    if start is not None:
        firsts = {tp: max(first, start[1]) for tp, first in firsts.items()}
    for tp, first in firsts.items():
        consumer.seek(tp, first)
    ends = await consumer.end_offsets(partitions)
    return {tp: end for tp, end in ends.items() if end > firsts[tp]}


async def _until(consumer: Any, waiting: dict[TopicPartition, int]) -> AsyncIterator[Any]:
    heard_s = time.monotonic()
    while waiting:
        fetched = await consumer.getmany(*waiting, timeout_ms=FETCH_TIMEOUT_MS)
        for tp, records in fetched.items():
            for record in records:
                if record.offset < waiting[tp]:
                    yield record
        # The position counts markers of transactions, which no reader ever sees.
        left = {tp: end for tp, end in waiting.items() if await consumer.position(tp) < end}
        if fetched or len(left) < len(waiting):
            heard_s = time.monotonic()
        elif time.monotonic() - heard_s > SILENT_AFTER_S:
            raise TimeoutError(f"nothing for {SILENT_AFTER_S:.0f} s")
        waiting = left
