"""One transactional producer per source partition: its id names the partition, so a new owner fences the old one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import aiokafka
from aiokafka.errors import KafkaError, ProducerFenced
from aiokafka.structs import TopicPartition

from fraudstream.adapters.kafka_client import kafka_arguments
from fraudstream.dead_letter import CUT_HEADER, DeadLetter
from fraudstream.errors import BrokerError, Fenced, said
from fraudstream.settings import Settings
from fraudstream.topics import DEAD_LETTER_MAX_BYTES

log = logging.getLogger(__name__)

BATCH_BYTES = 1024 * 1024
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 5.0
TRANSACTION_TIMEOUT_MS = 30_000
"""The broker aborts a transaction of a worker that died with it open; until then read_committed readers wait."""

DEAD_LETTER_VALUE_BYTES = DEAD_LETTER_MAX_BYTES - 64 * 1024
"""What fits beside the key, the headers and the framing."""

Header = tuple[str, bytes]
Message = tuple[bytes | None, bytes | None, list[Header]]


class PartitionProducer:
    """Sends what follows from one source partition, inside one open transaction at a time."""

    def __init__(self, partition: int, producer: aiokafka.AIOKafkaProducer, settings: Settings) -> None:
        self.partition = partition
        self._producer = producer
        self._settings = settings
        self._sent: list[asyncio.Future[Any]] = []
        self._is_open = False

    async def send(self, topic: str, messages: Iterable[Message]) -> list[asyncio.Future[Any]]:
        """Sends whole batches to this partition's number; they are awaited by `commit`.

        Raises:
            Fenced: another worker owns the partition.
            BrokerError: the broker refuses or does not answer.
        """
        with _translated():
            if not self._is_open:
                await self._producer.begin_transaction()
                self._is_open = True
            futures = [
                await self._producer.send_batch(batch, topic, partition=self.partition)
                for batch in self._batches(messages)
            ]
        self._sent += futures
        return futures

    def _batches(self, messages: Iterable[Message]) -> list[Any]:
        batches: list[Any] = []
        batch = None
        for key, value, headers in messages:
            if batch is None or batch.append(key=key, value=value, timestamp=None, headers=headers) is None:
                batch = self._producer.create_batch()
                batches.append(batch)
                batch.append(key=key, value=value, timestamp=None, headers=headers)
        for batch in batches:
            batch.close()
        return batches

    async def commit(self, changelog: str, profiles: Sequence[tuple[bytes, bytes]], next_offset: int) -> int:
        """Sends the changed profiles, waits for everything sent, commits it with the source offset.

        Returns:
            The changelog offset up to which the profiles go, -1 when none changed.

        Raises:
            Fenced, BrokerError: as for `send`; the transaction did not commit, or its end is unknown.
        """
        last_offset = -1
        written = await self.send(changelog, [(key, record, []) for key, record in profiles])
        with _translated():
            await asyncio.gather(*self._sent)
            self._sent.clear()
            if written:
                # A batch's metadata carries its first offset; the last batch's own records follow it.
                last_offset = (await written[-1]).offset
            source = TopicPartition(self._settings.transactions_topic, self.partition)
            await self._producer.send_offsets_to_transaction({source: next_offset}, self._settings.app_id)
            await self._producer.commit_transaction()
            self._is_open = False
        return last_offset

    async def stop(self) -> None:
        """Lets the producer go; an open transaction is aborted."""
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await self._producer.stop()
        except (KafkaError, TimeoutError) as error:
            log.warning("producer of partition %d did not stop in time: %r", self.partition, error)


class Producers:
    """The producers of the partitions this worker owns."""

    def __init__(self, settings: Settings, bootstrap: str) -> None:
        self._settings = settings
        self._bootstrap = bootstrap
        self._by_partition: dict[int, PartitionProducer] = {}

    def __getitem__(self, partition: int) -> PartitionProducer:
        return self._by_partition[partition]

    def owned(self) -> set[int]:
        """Partitions that this worker has fenced and may write for."""
        return set(self._by_partition)

    def partitions(self) -> tuple[int, ...]:
        """The same, in order."""
        return tuple(sorted(self._by_partition))

    async def take_over(self, partitions: set[int]) -> None:
        """Owns exactly these partitions and fences whoever wrote for them before.

        Also those that stay start anew: that waits until their last transaction is complete on every broker, so that
        the committed offsets which are read next are the last ones.

        Raises:
            Fenced, BrokerError: a producer could not be started.
        """
        gone, self._by_partition = self._by_partition, {}
        await asyncio.gather(*(producer.stop() for producer in gone.values()))
        started = await asyncio.gather(*(self._start(partition) for partition in sorted(partitions)))
        self._by_partition = {producer.partition: producer for producer in started}

    async def _start(self, partition: int) -> PartitionProducer:
        producer = aiokafka.AIOKafkaProducer(
            bootstrap_servers=self._bootstrap,
            transactional_id=f"{self._settings.app_id}-{self._settings.transactions_topic}-{partition}",
            # A transaction is open from one checkpoint to the next: the broker must not abort it in between.
            transaction_timeout_ms=TRANSACTION_TIMEOUT_MS + int(self._settings.checkpoint_interval_s * 1000),
            max_batch_size=BATCH_BYTES,
            max_request_size=2 * BATCH_BYTES,
            linger_ms=0,
            acks="all",
            **kafka_arguments(self._settings),
        )
        with _translated():
            async with asyncio.timeout(START_TIMEOUT_S):
                await producer.start()
        return PartitionProducer(partition, producer, self._settings)

    async def stop(self) -> None:
        """Lets all producers go."""
        await self.take_over(set())


def dead_letter_message(letter: DeadLetter) -> Message:
    """A dead letter as a Kafka message; one that dead-letters cannot hold is cut, its offset leads to the original."""
    value, headers = letter.value, letter.headers()
    if value is not None and len(value) > DEAD_LETTER_VALUE_BYTES:
        headers.append((CUT_HEADER, str(len(value)).encode()))
        value = value[:DEAD_LETTER_VALUE_BYTES]
    return letter.key, value, headers


class _translated:  # noqa: N801  reads as a statement
    """Turns the client's errors into ours."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ProducerFenced):
            raise Fenced("another worker has taken over a partition of this one") from error
        if isinstance(error, KafkaError | TimeoutError):
            raise BrokerError(f"expected the broker to take what was sent, got: {said(error)}") from error


def group_by_partition(items: Iterable[tuple[int, Message]]) -> Mapping[int, list[Message]]:
    """Messages by the partition they go to, in their order."""
    grouped: dict[int, list[Message]] = {}
    for partition, message in items:
        grouped.setdefault(partition, []).append(message)
    return grouped
