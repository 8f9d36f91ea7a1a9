"""Messages as a consumer of the judged topic is given them: whole batches, as they lie in a log."""

from __future__ import annotations

from collections.abc import Sequence

from aiokafka.record.default_records import DefaultRecordBatchBuilder

from fraudstream.agents.fetched_batches import batch_at, fetched
from fraudstream.wire.records import FetchedBatch, SourceRecord


def fetched_batch(records: Sequence[SourceRecord]) -> FetchedBatch:
    """One batch of messages of one partition, in the order of their offsets."""
    first = records[0]
    builder = DefaultRecordBatchBuilder(
        2, 0, is_transactional=0, producer_id=-1, producer_epoch=-1, base_sequence=-1, batch_size=2**30
    )
    for record in records:
        builder.append(record.offset - first.offset, record.timestamp, record.key, record.value, [])
    return fetched(first.topic, first.partition, batch_at(first.offset, bytes(builder.build())), first.offset)
