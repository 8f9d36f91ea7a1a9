"""Messages of a topic as whole batches: to make an object of each record costs the client as much as reading it."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, cast

from aiokafka.consumer import fetcher
from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder

from fraudstream.adapters.kafka_records import Batch, Batches
from fraudstream.wire.records import FetchedBatch

OFFSET_BYTES = 8


_whole: ContextVar[str | None] = ContextVar("_whole", default=None)
"""The topic whose batches stay whole, while a consumer that wants it makes something of a fetch."""


class _Fetcher(fetcher.Fetcher):  # type: ignore[misc]
    """The fetcher of a consumer that wants whole batches of a topic."""

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
        if not isinstance(record, Batch):
            record = _alone(record)
        return FetchedBatch(
            topic=tp.topic,
            partition=tp.partition,
            offset=record.offset,
            timestamp=record.max_timestamp,
            data=record.records_data(),
            count=record.count,
            first_offset=record.base_offset,
            first_time_ms=record.max_timestamp if record.is_append_time else record.first_timestamp,
            is_append_time=record.is_append_time,
            least_offset=self.next_fetch_offset,
        )


def _alone(record: Any) -> Batch:
    """A record of a log from before Kafka 0.11, as a batch of today."""
    batch = DefaultRecordBatchBuilder(
        2, DefaultRecordBatch.CODEC_NONE,
        is_transactional=0, producer_id=-1, producer_epoch=-1, base_sequence=-1, batch_size=0,
    )  # fmt: skip
    batch.append(0, record.timestamp, record.key, record.value, [])
    data = bytearray(batch.build())
    data[:OFFSET_BYTES] = record.offset.to_bytes(OFFSET_BYTES, "big")
    return cast(Batch, Batches(bytes(data)).next_batch())


def fetch_whole(client: Any, topic: str) -> None:
    """From now on this consumer gives a `FetchedBatch` of this topic where others give its records.

    Args:
        client: an AIOKafkaConsumer that is started and has fetched nothing yet.
    """
    fetcher.PartitionRecords = _PartitionRecords
    client._fetcher.__class__ = _Fetcher
    client._fetcher.whole_topic = topic
