"""Messages as a consumer of the judged topic is given them: whole batches, as they lie in a log."""

from __future__ import annotations

from collections.abc import Sequence

from aiokafka.record.default_records import DefaultRecordBatchBuilder

from fraudstream.adapters.kafka_records import Batches
from fraudstream.wire.records import FetchedBatch, SourceRecord


def fetched_batch(records: Sequence[SourceRecord]) -> FetchedBatch:
    """One batch of messages of one partition, in the order of their offsets."""
    first, last = records[0], records[-1]
    builder = DefaultRecordBatchBuilder(
        2, 0, is_transactional=0, producer_id=-1, producer_epoch=-1, base_sequence=-1, batch_size=2**30
    )
    for record in records:
        builder.append(record.offset - first.offset, record.timestamp, record.key, record.value, [])
    batch = Batches(bytes(builder.build())).next_batch()
    return FetchedBatch(
        topic=first.topic,
        partition=first.partition,
        offset=last.offset,
        timestamp=last.timestamp,
        data=batch.records_data(),
        count=len(records),
        first_offset=first.offset,
        first_time_ms=batch.first_timestamp,
        is_append_time=False,
        least_offset=first.offset,
    )
