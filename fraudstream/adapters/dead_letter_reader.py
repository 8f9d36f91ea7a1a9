"""Reads the dead-letter topic from its beginning to where it ends now, without a consumer group."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiokafka
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from fraudstream.adapters.kafka_client import collected_log, kafka_arguments, unreachable
from fraudstream.dead_letter import DeadLetter
from fraudstream.errors import BrokerError, TopicError
from fraudstream.settings import Settings

CONNECT_TIMEOUT_S = 10.0
FETCH_TIMEOUT_MS = 500
SILENT_AFTER_S = 15.0


async def read_dead_letters(settings: Settings, bootstrap: str) -> AsyncIterator[DeadLetter]:
    """Every committed dead letter, partition by partition in their order.

    Raises:
        BrokerError: the broker cannot be reached or stops answering.
        TopicError: there is no such topic.
    """
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
            waiting = await _assign(settings, consumer)
            while waiting:
                async with asyncio.timeout(SILENT_AFTER_S):
                    fetched = await consumer.getmany(*waiting, timeout_ms=FETCH_TIMEOUT_MS)
                for tp, records in fetched.items():
                    for record in records:
                        if record.offset < waiting[tp]:
                            yield _dead_letter(record)
                # The position counts markers of transactions, which no reader ever sees.
                waiting = {tp: end for tp, end in waiting.items() if await consumer.position(tp) < end}
        except (KafkaError, OSError, TimeoutError) as error:
            raise BrokerError(unreachable(bootstrap, said[0] if said else str(error))) from None
        finally:
            await consumer.stop()


async def _assign(settings: Settings, consumer: Any) -> dict[TopicPartition, int]:
    """Gives the consumer the topic from its start; returns the ends of the partitions that hold anything."""
    topic = settings.dead_letters_topic
    known = await consumer._client.fetch_all_metadata()  # consumer.topics() asks the same and forgets the partitions
    if topic not in known.topics():
        raise TopicError(f"topic {topic}: expected it to exist; create it with `fraudstream topics create`")
    partitions = [TopicPartition(topic, number) for number in sorted(known.partitions_for_topic(topic))]
    consumer.assign(partitions)
    # A plain seek: seek_to_beginning is undone by the reset to the end that the client has begun by itself.
    firsts = await consumer.beginning_offsets(partitions)
    for tp, first in firsts.items():
        consumer.seek(tp, first)
    ends = await consumer.end_offsets(partitions)
    return {tp: end for tp, end in ends.items() if end > firsts[tp]}


def _dead_letter(record: Any) -> DeadLetter:
    texts = {name: value.decode("utf-8", "replace") for name, value in record.headers}
    return DeadLetter(
        topic=texts.get("source_topic", ""),
        partition=int(texts.get("source_partition", -1)),
        offset=int(texts.get("source_offset", -1)),
        key=record.key,
        value=record.value,
        reason=texts.get("reason", ""),
        detail=texts.get("detail", ""),
    )
