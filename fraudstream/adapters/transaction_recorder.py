"""Produces transactions that came over HTTP to the transactions topic, keyed by user; decides nothing about them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

import aiokafka
from aiokafka.errors import KafkaError

from fraudstream.adapters.kafka_client import kafka_arguments
from fraudstream.settings import Settings

STOP_WITHIN_S = 5.0


class Message(Protocol):
    """What is produced."""

    @property
    def key(self) -> bytes: ...
    @property
    def value(self) -> bytes: ...
    @property
    def timestamp_ms(self) -> int: ...


class TransactionRecorder:
    """A producer that is started when the first transaction comes; a broker that is away keeps nobody from starting.

    Not idempotent in Kafka's sense, because such a producer tries for ever: what was given up could still arrive. If
    an answer of the broker is lost, the record may come twice, which changes nothing: the stream counts each
    transaction_id once.
    """

    def __init__(self, settings: Settings, bootstrap: str) -> None:
        self._settings = settings
        self._bootstrap = bootstrap
        self._producer: aiokafka.AIOKafkaProducer | None = None
        self._lock = asyncio.Lock()

    async def record(self, records: Sequence[Message]) -> list[str | None]:
        """Produces and waits until all replicas in sync have it, at most RECORD_TIMEOUT_S.

        Returns:
            For each record None, or why it is not in the topic; it is not tried again then.
        """
        try:
            producer = await self._started()
            sent = await asyncio.gather(*(self._send(producer, one) for one in records), return_exceptions=True)
            ends = [one if isinstance(one, BaseException) else await _end(one) for one in sent]
        except (KafkaError, TimeoutError, OSError) as error:
            ends = [error] * len(records)
        return [None if end is None else str(end) or type(end).__name__ for end in ends]

    async def stop(self) -> None:
        """Lets the producer go, after what was sent is there."""
        if self._producer is not None:
            async with asyncio.timeout(STOP_WITHIN_S):
                await self._producer.stop()
            self._producer = None

    async def _send(self, producer: aiokafka.AIOKafkaProducer, one: Message) -> asyncio.Future[Any]:
        sent: asyncio.Future[Any] = await producer.send(
            self._settings.transactions_topic, one.value, one.key, timestamp_ms=one.timestamp_ms
        )
        return sent

    async def _started(self) -> aiokafka.AIOKafkaProducer:
        async with self._lock:
            if self._producer is None:
                timeout_s = self._settings.record_timeout_s
                producer = aiokafka.AIOKafkaProducer(
                    bootstrap_servers=self._bootstrap,
                    acks="all",
                    linger_ms=0,
                    request_timeout_ms=int(timeout_s * 1000),
                    **kafka_arguments(self._settings),
                )
                try:
                    async with asyncio.timeout(timeout_s):
                        await producer.start()
                except BaseException:
                    await producer.stop()
                    raise
                self._producer = producer
            return self._producer


async def _end(sent: asyncio.Future[Any]) -> BaseException | None:
    try:
        await sent
    except (KafkaError, TimeoutError, OSError) as error:
        return error
    return None
