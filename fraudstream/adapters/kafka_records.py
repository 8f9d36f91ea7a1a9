"""Records whose header names are not UTF-8, which Kafka allows and aiokafka ends at: they are read like any other.

aiokafka decodes header names strictly, deep inside its compiled parser; one such record would end every consumer that
meets it, at each start again. `install` puts a reader in its place that reads such a batch once more, leniently.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, SupportsIndex, cast

from aiokafka.consumer import fetcher
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords, _MemoryRecordsPy


def install() -> None:
    """Makes every aiokafka consumer of this process read such records."""
    cast(Any, fetcher).MemoryRecords = Batches


class Batches:
    """The batches of one fetch; aiokafka asks for them one by one."""

    __slots__ = ("_data", "_records", "_taken", "has_next", "size_in_bytes")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._records = MemoryRecords(data)
        self._taken = 0
        self.has_next = self._records.has_next
        self.size_in_bytes = self._records.size_in_bytes

    def next_batch(self) -> Any:
        """The next batch, None at the end."""
        batch = self._records.next_batch()
        self._taken += 1
        return batch if batch is None else _Batch(batch, self._data, self._taken)


class _Batch:
    """A batch of aiokafka's compiled parser, with a second way to its records.

    Args:
        batch: the parser.
        data: the whole fetch.
        number: which batch of it, from 1.
    """

    __slots__ = ("_batch", "_data", "_number")

    def __init__(self, batch: Any, data: bytes, number: int) -> None:
        self._batch = batch
        self._data = data
        self._number = number

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __iter__(self) -> Iterator[Any]:
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
