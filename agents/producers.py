"""One transactional producer per source partition: its id names the partition, so a new owner fences the old one."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiokafka
from aiokafka.errors import IllegalOperation, InvalidTimestampError, KafkaError, KafkaTimeoutError, ProducerFenced
from aiokafka.structs import TopicPartition

from fraudstream.adapters.kafka_client import kafka_arguments
from fraudstream.adapters.record_batches import PackedBatch, Record, record_batches
from fraudstream.dead_letter import CUT_HEADER, DeadLetter
from fraudstream.errors import BrokerError, Fenced, said
from fraudstream.settings import Settings
from fraudstream.topics import DEAD_LETTER_MAX_BYTES, judged_topic

log = logging.getLogger(__name__)

BATCH_BYTES = 1024 * 1024
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 5.0
TRANSACTION_TIMEOUT_S = 30.0
"""The broker aborts a transaction of a worker that died with it open; until then read_committed readers wait."""

LEADERLESS_FOR_S = 600.0
"""So long a batch waits for a leader of its partition; the client's own 40 s are shorter than an outage may be."""

DEAD_LETTER_VALUE_BYTES = DEAD_LETTER_MAX_BYTES - 64 * 1024
"""What fits beside the key, the headers and the framing."""

Header = tuple[str, bytes]
Message = tuple[bytes | None, bytes | None, list[Header]]


@dataclass(frozen=True, slots=True)
class Source:
    """Where things follow from.

    Attributes:
        topic: that is read.
        group: the consumer group whose offsets say how far.
    """

    topic: str
    group: str

    @classmethod
    def judged(cls, settings: Settings) -> Source:
        """What is judged."""
        return cls(judged_topic(settings), settings.app_id)

    def transactional_id(self, partition: int) -> str:
        """Of the producer of one of its partitions."""
        return f"{self.group}-{self.topic}-{partition}"


class PartitionProducer:
    """Sends what follows from one source partition, inside one open transaction at a time."""

    def __init__(
        self, partition: int, producer: aiokafka.AIOKafkaProducer, settings: Settings, source: Source | None = None
    ) -> None:
        self.partition = partition
        self._producer = producer
        self._settings = settings
        self._source = source or Source.judged(settings)
        self._sent: list[asyncio.Future[Any]] = []
        self._written: set[TopicPartition] = set()
        self._opened_s: float | None = None
        self._asked_s: float | None = None
        self._patience: asyncio.Timeout | None = None

    def waiting_s(self) -> float:
        """For how long the broker has not answered; 0 where nothing is asked of it."""
        return 0.0 if self._asked_s is None else time.monotonic() - self._asked_s

    def is_too_old(self) -> bool:
        """Whether what is asked of the broker belongs to a transaction that it will end, or has ended, for its age."""
        return self._asked_s is not None and self._open_s() > transaction_timeout_s(self._settings)

    def wait_no_longer(self) -> None:
        """Ends what is asked of the broker with a BrokerError."""
        if self._patience is not None:
            self._patience.reschedule(asyncio.get_running_loop().time())

    def _open_s(self) -> float:
        return 0.0 if self._opened_s is None else time.monotonic() - self._opened_s

    async def send(self, topic: str, messages: Iterable[Message]) -> list[asyncio.Future[Any]]:
        """Sends whole batches to this partition's number; they are awaited by `commit`.

        Raises:
            Fenced, BrokerError: as for `send_to`.
        """
        records = ((key, value, None, headers) for key, value, headers in messages)
        return await self.send_to(topic, self.partition, records)

    async def send_batch(self, topic: str, batch: PackedBatch) -> None:
        """Sends a batch to this partition's number; it is awaited by `commit`.

        Raises:
            Fenced, BrokerError: as for `send_to`.
        """
        await self._send_batches(topic, self.partition, (batch,))

    async def send_to(self, topic: str, partition: int, records: Iterable[Record]) -> list[asyncio.Future[Any]]:
        """The same to any partition, with times.

        Raises:
            Fenced: another worker owns the source partition.
            BrokerError: the broker refuses, or has ended the transaction.
        """
        return await self._send_batches(topic, partition, record_batches(self._producer, records))

    async def _send_batches(self, topic: str, partition: int, batches: Sequence[Any]) -> list[asyncio.Future[Any]]:
        async with self._asking():
            if self._opened_s is None:
                await self._producer.begin_transaction()
                self._opened_s = time.monotonic()
                # Where the last transaction wrote joins in the request of the first: most likely this one does too.
                for likely in self._written:
                    self._producer._txn_manager.maybe_add_partition_to_txn(likely)
                self._written.clear()
            self._written.add(TopicPartition(topic, partition))
            futures = [await self._sent_batch(batch, topic, partition) for batch in batches]
        self._sent += futures
        return futures

    async def _sent_batch(self, batch: Any, topic: str, partition: int) -> asyncio.Future[Any]:
        while True:
            try:
                future: asyncio.Future[Any] = await self._producer.send_batch(batch, topic, partition=partition)
                return future
            except KafkaTimeoutError:  # no broker has taken the one before it yet, and this one was not accepted
                log.debug("partition %d of %s takes nothing", partition, topic)

    async def commit(self, changelog: str, profiles: Sequence[tuple[bytes, bytes]], next_offset: int) -> int:
        """Sends the changed profiles, waits for everything sent, commits it with the source offset.

        Returns:
            The changelog offset up to which the profiles go, -1 when none changed.

        Raises:
            Fenced, BrokerError: as for `send`; the transaction did not commit, or its end is unknown.
        """
        batches = record_batches(self._producer, ((key, record, None, []) for key, record in profiles))
        written = await self._send_batches(changelog, self.partition, batches)
        await self.commit_offset(next_offset)
        # A batch's metadata carries its first offset.
        return int((await written[-1]).offset) + int(batches[-1].record_count()) - 1 if written else -1

    async def commit_offset(self, next_offset: int) -> None:
        """Waits for everything sent and commits it with the source offset.

        Raises:
            Fenced, BrokerError: as for `commit`.
        """
        async with self._asking():
            source = TopicPartition(self._source.topic, self.partition)
            # One after the other: beside the last writes the client's offsets made verdicts wait up to 0.3 s.
            await asyncio.gather(*self._sent)
            self._sent.clear()
            await self._producer.send_offsets_to_transaction({source: next_offset}, self._source.group)
            await self._producer.commit_transaction()
            self._opened_s = None

    @asynccontextmanager
    async def _asking(self) -> AsyncIterator[None]:
        """Notes how long the broker takes, and turns the client's errors into ours."""
        self._asked_s = time.monotonic()
        try:
            async with asyncio.timeout(None) as self._patience:
                yield
        except (KafkaError, IllegalOperation, TimeoutError) as error:
            raise self._ours(error) from error
        finally:
            self._asked_s = self._patience = None

    def _ours(self, error: Exception) -> Fenced | BrokerError:
        error = refusal_behind(error, self._producer)
        hint = ""
        if isinstance(error, ProducerFenced | TimeoutError):
            # The broker answers both with the same word; but it ends no transaction before its time.
            open_s, granted_s = self._open_s(), transaction_timeout_s(self._settings)
            if open_s > granted_s:
                return BrokerError(
                    f"the broker ends a transaction of partition {self.partition} of {self._source.topic} that was "
                    f"open for {open_s:.0f} s, longer than the {granted_s:.0f} s that it grants"
                )
            if isinstance(error, ProducerFenced):
                return Fenced("another worker has taken over a partition of this one")
        elif isinstance(error, InvalidTimestampError):
            hint = "; this machine's clock and the broker's differ, see `fraudstream topics check`"
        return BrokerError(f"expected the broker to take what was sent, got: {said(error)}{hint}")

    async def stop(self) -> None:
        """Lets the producer go; an open transaction is aborted."""
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await self._producer.stop()
        except (KafkaError, TimeoutError) as error:
            log.warning("producer of partition %d did not stop in time: %r", self.partition, error)


class Producers:
    """The producers of the partitions this worker owns.

    Args:
        source: whose partitions they are; what is judged where None.
    """

    def __init__(self, settings: Settings, bootstrap: str, source: Source | None = None) -> None:
        self._settings = settings
        self._bootstrap = bootstrap
        self._source = source or Source.judged(settings)
        self._by_partition: dict[int, PartitionProducer] = {}

    def __getitem__(self, partition: int) -> PartitionProducer:
        return self._by_partition[partition]

    def owned(self) -> set[int]:
        """Partitions that this worker has fenced and may write for."""
        return set(self._by_partition)

    def partitions(self) -> tuple[int, ...]:
        """The same, in order."""
        return tuple(sorted(self._by_partition))

    def waiting_s(self) -> float:
        """For how long the broker has not answered any of them; 0 where nothing is asked of it."""
        return max((producer.waiting_s() for producer in self._by_partition.values()), default=0.0)

    def is_too_old(self) -> bool:
        """Whether one of them waits with a transaction that the broker will end, or has ended, for its age."""
        return any(producer.is_too_old() for producer in self._by_partition.values())

    def wait_no_longer(self) -> None:
        """Ends, with a BrokerError, what those ask that wait in vain."""
        for producer in self._by_partition.values():
            if producer.is_too_old():
                producer.wait_no_longer()

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
        producer = transactional_producer(self._settings, self._bootstrap, self._source.transactional_id(partition))
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await producer.start()
        except (KafkaError, TimeoutError) as error:
            raise BrokerError(
                f"expected the broker to begin transactions for partition {partition}, got: {said(error)}"
            ) from error
        return PartitionProducer(partition, producer, self._settings, self._source)

    async def stop(self) -> None:
        """Lets all producers go."""
        await self.take_over(set())


def transactional_producer(settings: Settings, bootstrap: str, transactional_id: str) -> Any:
    """A client, not started yet, that waits through outages and whose start fences the one before of the same id."""
    producer: Any = aiokafka.AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        transactional_id=transactional_id,
        transaction_timeout_ms=int(transaction_timeout_s(settings) * 1000),
        max_batch_size=BATCH_BYTES,
        max_request_size=2 * BATCH_BYTES,
        linger_ms=0,
        acks="all",
        **kafka_arguments(settings),
    )
    producer._message_accumulator._batch_ttl = LEADERLESS_FOR_S
    return producer


def refusal_behind(error: Exception, producer: Any) -> Exception:
    """The broker's refusal, where it is all that the client says that its transaction is no more.

    aiokafka tells a refusal once, to whoever waits then; to others it says IllegalOperation.
    """
    if not isinstance(error, IllegalOperation):
        return error
    ended: asyncio.Future[None] | None = producer._txn_manager._transaction_waiter
    refusal = ended.exception() if ended is not None and ended.done() and not ended.cancelled() else None
    return refusal if isinstance(refusal, Exception) else error


def transaction_timeout_s(settings: Settings) -> float:
    """How long the broker leaves a transaction open; one is open from a checkpoint to the next."""
    return TRANSACTION_TIMEOUT_S + settings.checkpoint_interval_s


def dead_letter_message(letter: DeadLetter) -> Message:
    """A dead letter as a Kafka message; one that dead-letters cannot hold is cut, its offset leads to the original."""
    value, headers = letter.value, letter.headers()
    if value is not None and len(value) > DEAD_LETTER_VALUE_BYTES:
        headers.append((CUT_HEADER, str(len(value)).encode()))
        value = value[:DEAD_LETTER_VALUE_BYTES]
    return letter.key, value, headers


def group_by_partition(items: Iterable[tuple[int, Message]]) -> Mapping[int, list[Message]]:
    """Messages by the partition they go to, in their order."""
    grouped: dict[int, list[Message]] = {}
    for partition, message in items:
        grouped.setdefault(partition, []).append(message)
    return grouped
