"""Messages of a topic as whole batches: to make an object of each record costs the client as much as reading it."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, cast

from aiokafka.consumer import fetcher
from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder

from fraudstream.adapters.kafka_records import Batch, Batches
from fraudstream.agents.paced_fetches import PacedFetcher
from fraudstream.wire.records import FetchedBatch

_OFFSET_BYTES = 8

_whole: ContextVar[str | None] = ContextVar("_whole", default=None)
"""The topic whose batches stay whole, while a consumer that wants it makes something of a fetch."""


class _Fetcher(PacedFetcher):
    """The paced fetcher of a consumer that wants whole batches of a topic."""

    whole_topic: str

    async def _proc_fetch_request(self, *arguments: Any) -> Any:
        before = _whole.set(self.whole_topic)
        try:
            return await super()._proc_fetch_request(*arguments)
        finally:
            _whole.reset(before)


class _PartitionRecords(fetcher.PartitionRecords):  # type: ignore[misc]
    """What was fetched of a partition; what was aborted, and what only the broker reads, is left out by the client."""

    def __init__(self, tp: Any, records: Any, *rest: Any, **named: Any) -> None:
        super().__init__(tp, records, *rest, **named)
        self._is_whole = tp.topic == _whole.get()
        if self._is_whole:
            records.are_whole = True

    def _consumer_record(self, tp: Any, record: Any) -> Any:
        if not self._is_whole:
            return super()._consumer_record(tp, record)
        batch = record if isinstance(record, Batch) else _alone(record)
        return fetched(tp.topic, tp.partition, batch, self.next_fetch_offset)


def fetched(topic: str, partition: int, batch: Batch, least_offset: int) -> FetchedBatch:
    """A batch of a partition, of which records before `least_offset` were given already."""
    return FetchedBatch(
        topic=topic,
        partition=partition,
        offset=batch.offset,
        timestamp=batch.max_timestamp,
        data=batch.records_data(),
        count=batch.count,
        first_offset=batch.base_offset,
        first_time_ms=batch.max_timestamp if batch.is_append_time else batch.first_timestamp,
        is_append_time=batch.is_append_time,
        least_offset=least_offset,
    )


def batch_at(offset: int, built: bytes) -> Batch:
    """A batch as a producer builds it, with its first record at this offset of a log."""
    return cast(Batch, Batches(offset.to_bytes(_OFFSET_BYTES, "big") + built[_OFFSET_BYTES:]).next_batch())


def _alone(record: Any) -> Batch:
    """A record of a log from before Kafka 0.11, as a batch of today."""
    batch = DefaultRecordBatchBuilder(
        2, DefaultRecordBatch.CODEC_NONE,
        is_transactional=0, producer_id=-1, producer_epoch=-1, base_sequence=-1, batch_size=0,
    )  # fmt: skip
    batch.append(0, record.timestamp, record.key, record.value, [])
    return batch_at(record.offset, bytes(batch.build()))


def fetch_whole(client: Any, topic: str) -> None:
    """From now on this consumer gives a `FetchedBatch` of this topic where others give its records.

    Args:
        client: an AIOKafkaConsumer that is started and has fetched nothing yet.
    """
    fetcher.PartitionRecords = _PartitionRecords
    client._fetcher.__class__ = _Fetcher
    client._fetcher.whole_topic = topic
