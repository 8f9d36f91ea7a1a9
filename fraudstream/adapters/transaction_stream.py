"""A client's side of the stream: produces transactions and reads back the verdicts, alerts and dead letters.

It writes whole batches to the partition that every Kafka client would choose for the key, and knows nothing of what
the messages say.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, Literal

import aiokafka
from aiokafka.errors import KafkaError
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.structs import TopicPartition

from fraudstream.adapters.kafka_client import collected_log, kafka_arguments, unreachable
from fraudstream.adapters.record_batches import record_batches
from fraudstream.errors import BrokerError
from fraudstream.settings import Settings

BATCH_BYTES = 512 * 1024
FETCH_BYTES = 4 * 1024 * 1024
START_TIMEOUT_S = 15.0

KeyAndValue = tuple[bytes, bytes]
Isolation = Literal["read_committed", "read_uncommitted"]
"""In Kafka's own words: each message exactly once, some checkpoints later; or at once, and after a crash some again."""

_choose = DefaultPartitioner()


class TransactionStream:
    """Connected to the topics of some settings; made by `transaction_stream`."""

    def __init__(self, settings: Settings, producer: Any, consumer: Any, partitions: int) -> None:
        self._settings = settings
        self._producer = producer
        self._consumer = consumer
        self._partitions = list(range(partitions))
        self._home: dict[bytes, int] = {}

    async def send(self, messages: Iterable[KeyAndValue], topic: str | None = None) -> None:
        """Sends messages, in their order within a partition, and returns once the broker has them.

        Args:
            messages: key and value.
            topic: by default the transactions; must have as many partitions as these.

        Raises:
            BrokerError: the broker refuses or does not answer.
        """
        topic = topic or self._settings.transactions_topic
        by_partition: dict[int, list[KeyAndValue]] = {}
        for key, value in messages:
            by_partition.setdefault(self._partition(key), []).append((key, value))
        try:
            sent = [
                await self._producer.send_batch(batch, topic, partition=partition)
                for partition, items in by_partition.items()
                for batch in record_batches(self._producer, ((key, value, None, []) for key, value in items))
            ]
            await asyncio.gather(*sent)
        except KafkaError as error:
            raise BrokerError(f"expected the broker to take messages for topic {topic}, got {error!r}") from None

    async def receive(self, wait_s: float) -> list[tuple[str, bytes]]:
        """Topic and value of what came, after at most `wait_s` seconds.

        Raises:
            BrokerError: the broker refuses or does not answer.
        """
        try:
            fetched = await self._consumer.getmany(timeout_ms=int(wait_s * 1000))
        except KafkaError as error:
            raise BrokerError(f"expected verdicts from the broker, got {error!r}") from None
        return [(tp.topic, record.value) for tp, records in fetched.items() for record in records]

    def _partition(self, key: bytes) -> int:
        if key not in self._home:
            self._home[key] = int(_choose(key, self._partitions, self._partitions))
        return self._home[key]


@asynccontextmanager
async def transaction_stream(
    settings: Settings, bootstrap: str, isolation: Isolation = "read_uncommitted"
) -> AsyncIterator[TransactionStream]:
    """Connects; what is received begins with what is written from now on.

    Args:
        bootstrap: HOST:PORT[,HOST:PORT] of the broker.
        isolation: uncommitted, a verdict is received from the moment at which it can be seen at all.

    Raises:
        BrokerError: the broker cannot be reached, or lacks the topics.
    """
    arguments = {"bootstrap_servers": bootstrap, **kafka_arguments(settings)}
    producer = aiokafka.AIOKafkaProducer(
        **arguments, max_batch_size=BATCH_BYTES, max_request_size=2 * BATCH_BYTES, linger_ms=0
    )
    # No group: every run reads for itself.
    consumer = aiokafka.AIOKafkaConsumer(
        **arguments,
        enable_auto_commit=False,
        isolation_level=isolation,
        max_partition_fetch_bytes=FETCH_BYTES,
        fetch_max_wait_ms=100,
    )
    try:
        with collected_log() as said:
            try:
                async with asyncio.timeout(START_TIMEOUT_S):
                    await producer.start()
                    await consumer.start()
                    partitions = await _assign(settings, producer, consumer)
            except (KafkaError, OSError, TimeoutError) as error:
                raise BrokerError(unreachable(bootstrap, said[0] if said else str(error))) from None
        yield TransactionStream(settings, producer, consumer, partitions)
    finally:
        await consumer.stop()
        await producer.stop()


async def _assign(settings: Settings, producer: Any, consumer: Any) -> int:
    """Gives the consumer the ends of all result topics; returns the partitions of the transactions."""
    known: set[str] = await consumer.topics()
    missing = sorted(set(settings.topic_names) - known)
    if missing:
        raise BrokerError(
            f"expected the topics {', '.join(settings.topic_names)}, {', '.join(missing)} is missing: "
            "create them with `fraudstream topics create`, and start a worker"
        )
    results = [
        TopicPartition(topic, partition)
        for topic in settings.topic_names[1:]
        for partition in sorted(await producer.partitions_for(topic))
    ]
    consumer.assign(results)
    await consumer.seek_to_end(*results)
    for tp in results:
        await consumer.position(tp)  # only now is the end a fixed place
    return len(await producer.partitions_for(settings.transactions_topic))
