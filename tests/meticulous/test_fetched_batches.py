"""Records that a kernel reads out of whole batches are those that the client itself gives."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import ConsumerRecord, TopicPartition
from hypothesis import event, given, settings
from hypothesis import strategies as st

from fraudstream.adapters.kafka_records import Batches
from fraudstream.agents import fetched_batches
from fraudstream.errors import FraudstreamError
from fraudstream.wire.records import BatchReader, FetchedBatch, Records, records_of
from tests.odd_records import CODECS

FIELDS = ("topic", "partition", "offset", "timestamp", "key", "value")
READ_COMMITTED = 1
FIRST_MS = 1_700_000_000_000
APPEND_TIME_AT, APPEND_TIME = 22, 0x08
LAST_DELTA_AT, MAX_TIME_AT = slice(23, 27), slice(35, 43)


class Made(NamedTuple):
    """A batch: each record's distance to the one before, its time, key, value and number of headers."""

    records: list[tuple[int, int, bytes | None, bytes | None, int]]
    codec: int = 0
    is_append_time: bool = False
    skipped_after: int = 0


texts = st.none() | st.binary(max_size=70) | st.sampled_from([b"", b"v" * 8191, b"{}"])
made = st.builds(
    Made,
    st.lists(st.tuples(st.integers(1, 3), st.integers(-5000, 2**33), texts, texts, st.integers(0, 2)), max_size=6),
    st.sampled_from(sorted(CODECS.values())),
    st.booleans(),
    st.integers(0, 2),
)


def log_of(batches: list[Made]) -> bytes:
    """What a broker's log holds of them, one behind the other."""
    log, offset = b"", 1000
    for batch in batches:
        builder = DefaultRecordBatchBuilder(
            2,
            batch.codec if batch.records else 0,
            is_transactional=0,
            producer_id=-1,
            producer_epoch=-1,
            base_sequence=-1,
            batch_size=2**20,
        )
        delta = 0
        for at, (distance, ms, key, value, headers) in enumerate(batch.records):
            delta += distance if at else 0
            builder.append(delta, FIRST_MS + ms, key, value, [("trace", b"1")] * headers)
        data = bytearray(builder.build())
        last = delta + batch.skipped_after  # a compacted log keeps the offsets of what it has dropped
        data[:8], data[LAST_DELTA_AT] = offset.to_bytes(8, "big"), last.to_bytes(4, "big")
        if batch.is_append_time:  # as a broker sets it
            data[APPEND_TIME_AT] |= APPEND_TIME
            data[MAX_TIME_AT] = (FIRST_MS + 77).to_bytes(8, "big")
        log += data
        offset += last + 1
    return log


def fetched(topic: str, reader: Any, log: bytes, first_offset: int) -> list[Any]:
    tp = TopicPartition(topic, 3)
    before = fetched_batches._whole.set("judged")
    try:
        records = fetcher.PartitionRecords(tp, reader(log), [], first_offset, None, None, False, READ_COMMITTED)
    finally:
        fetched_batches._whole.reset(before)
    return list(records)


def said(records: Any) -> list[tuple[Any, ...]]:
    return [tuple(getattr(record, name) for name in FIELDS) for record in records]


@pytest.fixture(autouse=True, scope="module")
def whole() -> Iterator[None]:
    """As in a process in which a consumer wants whole batches."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(fetcher, "PartitionRecords", fetched_batches._PartitionRecords)
        yield


@settings(deadline=None, max_examples=300)
@given(st.lists(made, max_size=4), st.integers(-2, 20), st.lists(st.integers(1, 7), min_size=1))
def test_they_are_those_that_the_client_gives(batches: list[Made], passed_over: int, most: list[int]) -> None:
    log, first_offset = log_of(batches), 1000 + passed_over
    expected = fetched("other", MemoryRecords, log, first_offset)
    assert all(isinstance(record, ConsumerRecord) for record in expected)
    found = fetched("judged", Batches, log, first_offset)
    assert all(isinstance(batch, FetchedBatch) for batch in found)
    event(f"{min(len(expected), 3)} records of {len(found)} batches")
    reader, parts = BatchReader(found), list[Records]()
    while not reader.is_at_end():
        parts.append(reader.read(most[len(parts) % len(most)]))
    read = [("judged", *rest) for _, *rest in said(expected)]
    assert [one for part in parts for one in said(part)] == read
    for part in parts:
        assert said(records_of(list(part))) == said(records_of(part)) == said(part)
        assert said(part[1:]) == said(part)[1:]
        assert not part.blob[[end for _, end in [*part.keys.tolist(), *part.values.tolist()] if end >= 0]].any()


@settings(deadline=None, max_examples=300)
@given(made.filter(lambda one: bool(one.records) and one.codec == 0), st.data())
def test_a_broken_batch_is_told_or_read_as_the_client_reads_it(one: Made, data: st.DataObject) -> None:
    log = bytearray(log_of([one]))
    at = data.draw(st.integers(61, len(log) - 1))
    log[at] = data.draw(st.integers(0, 255))
    (found,) = fetched("judged", Batches, bytes(log), 0)
    expected, read = client_reads(bytes(log)), kernel_reads(found)
    event("told" if read is None else "read")
    if read is None:
        assert expected is None
    else:  # what headers hold is passed over unread, so that a fault in them is not seen
        assert expected in (None, read)


LARGEST = b"\xfe" + b"\xff" * 8 + b"\x01"
"""2^63 - 1 as a record has it."""


@pytest.mark.parametrize("record", [LARGEST, b"\x00\x00\x00" + LARGEST, b"\x00\x00\x00\x02k" + LARGEST])
def test_lengths_that_run_over_are_told(record: bytes) -> None:
    data = bytes([2 * len(record)]) + record if record != LARGEST else record
    batch = FetchedBatch("judged", 3, 1, 1, data, 1, 1, 1, is_append_time=True, least_offset=0)
    assert kernel_reads(batch) is None


def client_reads(log: bytes) -> list[tuple[Any, ...]] | None:
    try:
        return [one[2:] for one in said(fetched("other", MemoryRecords, log, 0))]
    except (CorruptRecordException, UnicodeDecodeError, ValueError):
        return None


def kernel_reads(batch: FetchedBatch) -> list[tuple[Any, ...]] | None:
    try:
        return [one[2:] for one in said(BatchReader([batch]).read(100))]
    except FraudstreamError as error:
        return None if "whole records in the batch of judged, partition 3" in str(error) else []


def test_messages_of_an_old_format_are_read_too() -> None:
    builder = LegacyRecordBatchBuilder(1, 0, 2**16)
    for at in range(3):
        builder.append(at, timestamp=FIRST_MS + at, key=b"u", value=b"{%d}" % at)
    found = fetched("judged", Batches, bytes(builder.build()), 1)
    assert said(BatchReader(found).read(10)) == [("judged", 3, at, FIRST_MS + at, b"u", b"{%d}" % at) for at in (1, 2)]


def test_the_checksum_is_the_clients() -> None:
    log = bytearray(log_of([Made([(1, 5, b"k", b"v", 1)])] * 2))
    reader = Batches(bytes(log))
    assert [reader.next_batch().validate_crc(), reader.next_batch().validate_crc()] == [True, True]
    log[-1] ^= 1
    reader = Batches(bytes(log))
    assert [reader.next_batch().validate_crc(), reader.next_batch().validate_crc()] == [True, False]


def test_another_consumer_of_the_process_is_given_records() -> None:
    log = log_of([Made([(1, 5, b"k", b"v", 1)])])
    records = fetcher.PartitionRecords(
        TopicPartition("judged", 3), Batches(log), [], 0, None, None, False, READ_COMMITTED
    )
    (record,) = records
    assert isinstance(record, ConsumerRecord)
    assert record.headers == (("trace", b"1"),)
