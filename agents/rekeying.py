"""Re-keying (KEYING=payload): transactions move, whatever their key, to the topic on which the user_id is the key.

One transactional producer per source partition, whose id names it, so a new owner fences the old one; what was written
and the source offset are committed together. A worker re-keys the source partitions whose numbers it owns: a partition
changes hands here when it does for the judging.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiokafka
from aiokafka.errors import IllegalOperation, KafkaError, ProducerFenced
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.structs import TopicPartition

from fraudstream.adapters.kafka_client import kafka_arguments
from fraudstream.adapters.record_batches import Record, record_batches
from fraudstream.agents.producers import (
    DEAD_LETTER_VALUE_BYTES,
    dead_letter_message,
    refusal_behind,
    transactional_producer,
)
from fraudstream.dead_letter import DeadLetter
from fraudstream.errors import BrokerError, Fenced, RefusedInput, said
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


@dataclass(slots=True)
class _Owned:
    """What re-keys the partitions of one assignment."""

    consumer: Any
    producers: dict[int, Any] = field(default_factory=dict)


class Rekeying:
    """Moves transactions of the owned partitions for as long as the worker owns them.

    Attributes:
        moved: messages that are committed on the other topic or as dead letters, since the start.
    """

    def __init__(
        self,
        settings: Settings,
        bootstrap: str,
        give_up: Callable[[Exception], None],
        count: Callable[[int, Sequence[str]], None],
    ) -> None:
        """
        Args:
            give_up: called with a fault that does not pass; ends the process.
            count: told how many messages were moved, and why others were refused.
        """
        self._settings = settings
        self._bootstrap = bootstrap
        self._give_up = give_up
        self._count = count
        self._owned: _Owned | None = None
        self._task: asyncio.Task[None] | None = None
        self._ending = asyncio.Event()
        self._homes: dict[str, int] = {}
        self.moved = 0

    async def take_over(self, partitions: set[int]) -> None:
        """Re-keys exactly these source partitions, and fences whoever did before.

        Raises:
            Fenced, BrokerError: a client could not be started.
        """
        await self._end()
        if not partitions:
            return
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                self._owned = owned = _Owned(self._consumer())
                started = await asyncio.gather(*(self._start(partition) for partition in sorted(partitions)))
                owned.producers = dict(zip(sorted(partitions), started, strict=True))
                # Only now: what an earlier owner left open is committed or aborted, so its offsets are the last ones.
                await owned.consumer.start()
                await self._seek(owned.consumer, partitions)
        except (KafkaError, OSError, TimeoutError) as error:
            raise _ours(error) from error
        self._ending.clear()
        self._task = asyncio.ensure_future(self._run(owned))

    async def stop(self) -> None:
        """Commits what is under way and lets the clients go."""
        await self.take_over(set())

    def waiting(self, partition: int) -> int:
        """Messages of an owned source partition that are not moved yet, as of the last fetch."""
        subscription = None if self._owned is None else self._owned.consumer._subscription.subscription
        tp = TopicPartition(self._settings.transactions_topic, partition)
        if subscription is None or tp not in subscription.assignment.tps:  # it is being taken over
            return 0
        state = subscription.assignment.state_value(tp)
        if state.highwater is None or not state.has_valid_position:
            return 0
        return max(int(state.highwater) - int(state.position), 0)

    def _consumer(self) -> Any:
        return aiokafka.AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap,
            group_id=rekeying_group(self._settings),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            fetch_max_wait_ms=FETCH_WAIT_MS,
            **kafka_arguments(self._settings),
        )

    async def _start(self, partition: int) -> Any:
        transactional_id = f"{self._settings.app_id}-rekeying-{self._settings.transactions_topic}-{partition}"
        producer = transactional_producer(self._settings, self._bootstrap, transactional_id)
        await producer.start()
        return producer

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

    async def _end(self) -> None:
        if self._task is not None:
            self._ending.set()
            _, unfinished = await asyncio.wait([self._task], timeout=STOP_TIMEOUT_S)
            for task in unfinished:  # what it left open is aborted by the next owner, and read again
                task.cancel()
            self._task = None
        if self._owned is not None:
            owned, self._owned = self._owned, None
            clients = [owned.consumer, *owned.producers.values()]
            ended = await asyncio.gather(*(_stop(client) for client in clients), return_exceptions=True)
            for fault in filter(None, ended):
                log.warning("a client of the re-keying did not stop in time: %r", fault)

    async def _run(self, owned: _Owned) -> None:
        try:
            while not self._ending.is_set():
                fetched = await owned.consumer.getmany(timeout_ms=POLL_MS)
                await asyncio.gather(
                    *(self._move(owned.producers[tp.partition], tp, records) for tp, records in fetched.items())
                )
        except Exception as error:
            self._give_up(_ours(error) if isinstance(error, KafkaError | OSError | TimeoutError) else error)

    async def _move(self, producer: Any, source: TopicPartition, records: list[Any]) -> None:
        """One transaction: what follows from some records of a source partition, and the offset after them."""
        placed: _Placed = {}
        refused: list[str] = []
        for at in range(0, len(records), SLICE_RECORDS):
            for record in records[at : at + SLICE_RECORDS]:
                self._place(record, placed, refused)
            await asyncio.sleep(0)
        try:
            await self._commit(producer, placed, {source: records[-1].offset + 1})
        except IllegalOperation as error:
            raise refusal_behind(error, producer) from error
        self.moved += len(records)
        self._count(len(records) - len(refused), refused)

    async def _commit(self, producer: Any, placed: _Placed, offsets: dict[TopicPartition, int]) -> None:
        await producer.begin_transaction()
        sent = [
            await producer.send_batch(batch, topic, partition=partition)
            for (topic, partition), messages in placed.items()
            for batch in record_batches(producer, messages)
        ]
        await asyncio.gather(*sent)
        await producer.send_offsets_to_transaction(offsets, rekeying_group(self._settings))
        await producer.commit_transaction()

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


def _ours(error: BaseException) -> Exception:
    if isinstance(error, ProducerFenced):
        return Fenced("another worker re-keys a partition of this one")
    return BrokerError(f"expected the broker to take what was re-keyed, got: {said(error)}")


async def _stop(client: Any) -> None:
    async with asyncio.timeout(STOP_TIMEOUT_S):
        await client.stop()
