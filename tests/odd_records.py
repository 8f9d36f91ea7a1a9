"""Batches that Kafka takes and few clients make: names of headers that are not UTF-8, in any compression."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy

CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
NOT_UTF8 = b"tr\xffce"

Row = tuple[bytes, bytes]


class _RawName(str):
    """A header name that is encoded as these bytes."""

    raw: bytes

    def __new__(cls, raw: bytes) -> _RawName:
        name = super().__new__(cls, repr(raw))
        name.raw = raw
        return name

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        return self.raw


def odd_batch(rows: Iterable[Row], codec: str, name: bytes = NOT_UTF8) -> BatchBuilder:
    """A batch in which every second record, beginning with the first, has a header of this name."""
    batch = BatchBuilder(2**20, 0)
    batch._builder = _DefaultRecordBatchBuilderPy(2, CODECS[codec], 0, -1, -1, -1, 2**20)
    for number, (key, value) in enumerate(rows):
        headers = [(_RawName(name), b"1")] if number % 2 == 0 else [("good", b"2")]
        batch.append(timestamp=None, key=key, value=value, headers=headers)
    return batch


def batch_bytes(batch: BatchBuilder) -> bytes:
    """The batch as it lies in a log."""
    return bytes(batch._build())


async def send_batch(producer: AIOKafkaProducer, topic: str, partition: int, batch: BatchBuilder) -> Any:
    """Sends it whole and waits until the broker has it; the producer must not be idempotent."""
    return await (await producer.send_batch(batch, topic, partition=partition))
