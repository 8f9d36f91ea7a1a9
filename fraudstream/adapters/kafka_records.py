"""What consumers of this process read out of a fetch, beside aiokafka's compiled parser.

- Records whose header names are not UTF-8, which Kafka allows: aiokafka decodes those names strictly, deep inside its
  parser, and one such record would end every consumer that meets it, at each start again. Such a batch is read once
  more, leniently.
- Whole batches, for who reads their records without an object for each.
- Checksums by the processor's own instruction, which the client does not use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, SupportsIndex, cast

import crc32c
from aiokafka import codec
from aiokafka.consumer import fetcher
from aiokafka.record.default_records import DefaultRecordBatch, _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords, _MemoryRecordsPy

_HEADER = _DefaultRecordBatchPy.HEADER_STRUCT
_LENGTH_AT, _AFTER_LENGTH = 8, 12
_CHECKED_FROM = _DefaultRecordBatchPy.ATTRIBUTES_OFFSET
_COUNT_AT = _HEADER.size - 4

_PLAIN: dict[int, Callable[[memoryview], bytes | memoryview]] = {
    DefaultRecordBatch.CODEC_NONE: lambda data: data,
    DefaultRecordBatch.CODEC_GZIP: codec.gzip_decode,
    DefaultRecordBatch.CODEC_SNAPPY: lambda data: codec.snappy_decode(data.tobytes()),
    DefaultRecordBatch.CODEC_LZ4: lambda data: codec.lz4_decode(data.tobytes()),
    DefaultRecordBatch.CODEC_ZSTD: lambda data: codec.zstd_decode(data.tobytes()),
}


def install() -> None:
    """Makes every aiokafka consumer of this process read so."""
    cast(Any, fetcher).MemoryRecords = Batches


class Batches:
    """The batches of one fetch; aiokafka asks for them one by one.

    Attributes:
        are_whole: each batch gives itself in the place of its records.
    """

    __slots__ = ("_data", "_records", "_start", "_taken", "are_whole", "has_next", "size_in_bytes")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._records = MemoryRecords(data)
        self._taken = self._start = 0
        self.are_whole = False
        self.has_next = self._records.has_next
        self.size_in_bytes = self._records.size_in_bytes

    def next_batch(self) -> Any:
        """The next batch, None at the end."""
        batch = self._records.next_batch()
        if batch is None:
            return None
        start, length_at = self._start, self._start + _LENGTH_AT
        self._start += _AFTER_LENGTH + int.from_bytes(self._data[length_at : start + _AFTER_LENGTH], "big")
        self._taken += 1
        if not isinstance(batch, DefaultRecordBatch):
            return batch  # of a format from before Kafka 0.11: no headers, and not many of them are left
        return Batch(batch, self._data, slice(start, self._start), self._taken, is_whole=self.are_whole)


class Batch:
    """A batch of aiokafka's compiled parser, with other ways to its records.

    Args:
        batch: the parser.
        data: the whole fetch.
        part: of it that is this batch.
        number: which batch of it, from 1.
        is_whole: it gives itself in the place of its records.
    """

    __slots__ = ("_batch", "_data", "_is_whole", "_number", "_part")

    def __init__(self, batch: Any, data: bytes, part: slice, number: int, *, is_whole: bool) -> None:
        self._batch = batch
        self._data = data
        self._part = part
        self._number = number
        self._is_whole = is_whole

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def validate_crc(self) -> bool:
        """Whether the checksum is right."""
        checked = memoryview(self._data)[self._part.start + _CHECKED_FROM : self._part.stop]
        return bool(self._batch.crc == crc32c.crc32c(checked))

    @property
    def offset(self) -> int:
        """Of its last record."""
        return int(self._batch.base_offset + self._batch.last_offset_delta)

    @property
    def count(self) -> int:
        """How many records there are; fewer than offsets, where a log was compacted."""
        at = self._part.start + _COUNT_AT
        return int.from_bytes(self._data[at : self._part.start + _HEADER.size], "big")

    @property
    def is_append_time(self) -> bool:
        """Whether all records have the batch's time."""
        return bool(self._batch.attributes & _DefaultRecordBatchPy.TIMESTAMP_TYPE_MASK)

    def records_data(self) -> bytes | memoryview:
        """Its records as they lie one behind the other, not compressed.

        Raises:
            UnsupportedCodecError: the library of its codec is missing.
        """
        kind = self._batch.compression_type
        data = memoryview(self._data)[self._part.start + _HEADER.size : self._part.stop]
        if kind != DefaultRecordBatch.CODEC_NONE:
            _DefaultRecordBatchPy._assert_has_codec(self._batch, kind)
        return _PLAIN[kind](data)

    def __iter__(self) -> Iterator[Any]:
        if self._is_whole:
            return iter((self,) if self.count else ())
        return self._records()

    def _records(self) -> Iterator[Any]:
        read = 0
        try:
            for record in self._batch:
                yield record
                read += 1
        except UnicodeDecodeError:
            yield from islice(self._read_again(), read, None)

    def __next__(self) -> Any:
        return next(self._batch)

    def _read_again(self) -> Iterator[Any]:
        batches = _MemoryRecordsPy(self._data)
        for _ in range(self._number - 1):
            batches.next_batch()
        return iter(_LenientBatch(cast(memoryview, batches._next_slice)))


class _LenientBatch(_DefaultRecordBatchPy):  # type: ignore[misc]
    """aiokafka's parser in Python, on a buffer that decodes whatever it holds."""

    def _maybe_uncompress(self) -> None:
        super()._maybe_uncompress()
        self._buffer: bytearray = _Buffer(self._buffer)


class _Buffer(bytearray):
    """Bytes whose parts, as text, show what is not UTF-8 as `\\xff`."""

    def __getitem__(self, at: SupportsIndex | slice) -> Any:
        part = super().__getitem__(at)
        return _Buffer(part) if isinstance(part, bytearray) else part

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return super().decode(encoding, "backslashreplace")
