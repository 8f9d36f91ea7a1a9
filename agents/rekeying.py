"""Re-keying (KEYING=payload): transactions move, whatever their key, to the topic on which the user_id is the key.

One transactional producer per source partition, whose id names it, so a new owner fences the old one; what was written
and the source offset are committed together. A worker re-keys the source partitions whose numbers it owns: a partition
changes hands here when it does for the judging. What Kafka's absence costs is the same for both (`agents.outage`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import aiokafka
from aiokafka.errors import KafkaError
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.structs import TopicPartition

from fraudstream.adapters.kafka_client import kafka_arguments
from fraudstream.adapters.record_batches import Record
from fraudstream.agents.producers import DEAD_LETTER_VALUE_BYTES, Producers, Source, dead_letter_message
from fraudstream.agents.scoring import give_up
from fraudstream.dead_letter import DeadLetter
from fraudstream.errors import BrokerError, RefusedInput, said
from fraudstream.settings import Settings
from fraudstream.topics import rekeyed_topic, rekeying_group
from fraudstream.transaction import decode_transaction

log = logging.getLogger(__name__)

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 5.0
POLL_MS = 100
FETCH_WAIT_MS = 50
SLICE_RECORDS = 256
"""The event loop is let go after so many: it serves the judging and /predict as well."""
KEYS_KEPT = 100_000

_choose = DefaultPartitioner()
_Placed = dict[tuple[str, int], list[Record]]


class Rekeying:
    """Moves transactions of the owned partitions for as long as the worker owns them.

    Attributes:
        producers: that move them, by source partition.
        moved: messages that are committed on the other topic or as dead letters, since the start.
        is_lost: what was not committed is dropped, and nothing moves until partitions are taken over again.
        on_fault: is told of a fault after which nothing was committed.
    """

    def __init__(self, settings: Settings, bootstrap: str, count: Callable[[int, Sequence[str]], None]) -> None:
        """
        Args:
            count: told how many messages were moved, and why others were refused.
        """
        self._settings = settings
        self._bootstrap = bootstrap
        self._count = count
        self._consumer: Any = None
        self._task: asyncio.Task[None] | None = None
        self._ending = asyncio.Event()
        self._homes: dict[str, int] = {}
        self.producers = Producers(settings, bootstrap, Source(settings.transactions_topic, rekeying_group(settings)))
        self.moved = 0
        self.is_lost = False
        self.on_fault: Callable[[Exception], None] = give_up

    async def take_over(self, partitions: set[int]) -> None:
        """Re-keys exactly these source partitions, and fences whoever did before.

        Raises:
            Fenced, BrokerError: a client could not be started.
        """
        await self._end_task()
        # The consumer only afterwards: what an earlier owner left open is committed or aborted then, so its offsets
        # are the last ones.
        await asyncio.gather(self._stop_consumer(), self.producers.take_over(partitions))
        if partitions:
            try:
                async with asyncio.timeout(START_TIMEOUT_S):
                    await self._start_consumer(partitions)
            except (KafkaError, OSError, TimeoutError) as error:
                raise _unread(error) from error
            self._ending.clear()
            self._task = asyncio.ensure_future(self._run(self._consumer))
        self.is_lost = False

    async def stop(self) -> None:
        """Commits what is under way and lets the clients go."""
        await self.take_over(set())

    def misses_source(self) -> bool:
        """Whether the broker no longer tells of the topic that is re-keyed."""
        topic = self._settings.transactions_topic
        return self._consumer is not None and not self._consumer.partitions_for_topic(topic)

    def waiting(self, partition: int) -> int:
        """Messages of an owned source partition that are not moved yet, as of the last fetch."""
        subscription = None if self._consumer is None else self._consumer._subscription.subscription
        tp = TopicPartition(self._settings.transactions_topic, partition)
        if subscription is None or tp not in subscription.assignment.tps:  # it is being taken over
            return 0
        state = subscription.assignment.state_value(tp)
        if state.highwater is None or not state.has_valid_position:
            return 0
        return max(int(state.highwater) - int(state.position), 0)

    async def _start_consumer(self, partitions: set[int]) -> None:
        self._consumer = aiokafka.AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap,
            group_id=rekeying_group(self._settings),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            fetch_max_wait_ms=FETCH_WAIT_MS,
            **kafka_arguments(self._settings),
        )
        await self._consumer.start()
        await self._seek(self._consumer, partitions)

    async def _stop_consumer(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is None:
            return
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await consumer.stop()
        except (KafkaError, TimeoutError) as error:
            log.warning("the consumer of the re-keying did not stop in time: %r", error)

    async def _seek(self, consumer: Any, partitions: set[int]) -> None:
        tps = [TopicPartition(self._settings.transactions_topic, number) for number in sorted(partitions)]
        consumer.assign(tps)
        firsts = await consumer.beginning_offsets(tps)
        for tp in tps:
            committed = await consumer.committed(tp)
            if committed is not None and committed < firsts[tp]:
                log.error(
                    "%d messages of %s partition %d were deleted before they were re-keyed: the topic keeps them for "
                    "a shorter time than this worker was away",
                    firsts[tp] - committed, tp.topic, tp.partition,
                )  # fmt: skip
            consumer.seek(tp, firsts[tp] if committed is None else max(committed, firsts[tp]))

    async def _end_task(self) -> None:
        self._ending.set()
        if self._task is not None:
            _, unfinished = await asyncio.wait([self._task], timeout=STOP_TIMEOUT_S)
            for task in unfinished:  # what it left open is aborted by the next owner, and read again
                task.cancel()
            self._task = None

    async def _run(self, consumer: Any) -> None:
        try:
            while not self._ending.is_set():
                await self._move_all(await _fetch(consumer))
        except Exception as error:
            if self._ending.is_set():
                log.info("what was re-keyed last is not committed, its next owner reads it again: %s", error)
                return
            self.is_lost = True
            self.on_fault(error)

    async def _move_all(self, fetched: Mapping[TopicPartition, list[Any]]) -> None:
        moves = [asyncio.ensure_future(self._move(tp, records)) for tp, records in fetched.items()]
        try:
            await asyncio.gather(*moves)
        finally:
            for move in moves:  # one that failed takes the others with it: all go on from what is committed
                move.cancel()

    async def _move(self, source: TopicPartition, records: list[Any]) -> None:
        """One transaction: what follows from some records of a source partition, and the offset after them."""
        placed: _Placed = {}
        refused: list[str] = []
        for at in range(0, len(records), SLICE_RECORDS):
            for record in records[at : at + SLICE_RECORDS]:
                self._place(record, placed, refused)
            await asyncio.sleep(0)
        producer = self.producers[source.partition]
        for (topic, partition), messages in placed.items():
            await producer.send_to(topic, partition, messages)
        await producer.commit_offset(records[-1].offset + 1)
        self.moved += len(records)
        self._count(len(records) - len(refused), refused)

    def _place(self, record: Any, placed: _Placed, refused: list[str]) -> None:
        """Where a record goes: to its user's partition of the other topic, or to the dead letters."""
        try:
            user_id = _user_of(record)
        except RefusedInput as why:
            refused.append(why.reason)
            letter = DeadLetter.of(record.topic, record.partition, record.offset, record.key, record.value, why)
            key, value, headers = dead_letter_message(letter)
            to = (self._settings.dead_letters_topic, record.partition)
            placed.setdefault(to, []).append((key, value, None, headers))
            return
        to = (rekeyed_topic(self._settings), self._home(user_id))
        message = (user_id.encode(), record.value, record.timestamp, list(record.headers))
        placed.setdefault(to, []).append(message)

    def _home(self, user_id: str) -> int:
        home = self._homes.get(user_id)
        if home is None:
            partitions = list(range(self._settings.topic_partitions))
            if len(self._homes) >= KEYS_KEPT:
                self._homes.clear()
            home = self._homes[user_id] = int(_choose(user_id.encode(), partitions, partitions))
        return home


def _user_of(record: Any) -> str:
    """Whose transaction it is.

    Raises:
        RefusedInput: it cannot be judged, so it need not move; or it is too large for the other topic.
    """
    transaction = decode_transaction(record.value)
    transaction.time_s(record.timestamp / 1000)
    size = len(record.value) + sum(len(name) + len(content or b"") for name, content in record.headers)
    if size > DEAD_LETTER_VALUE_BYTES:
        raise RefusedInput(
            "bad_length", f"message: expected at most {DEAD_LETTER_VALUE_BYTES:,} bytes with its headers, got {size:,}"
        )
    return transaction.user_id


async def _fetch(consumer: Any) -> Mapping[TopicPartition, list[Any]]:
    try:
        fetched: Mapping[TopicPartition, list[Any]] = await consumer.getmany(timeout_ms=POLL_MS)
    except (KafkaError, OSError, TimeoutError) as error:
        raise _unread(error) from error
    return fetched


def _unread(error: Exception) -> BrokerError:
    return BrokerError(f"expected the broker to give what is to be re-keyed, got: {said(error)}")
