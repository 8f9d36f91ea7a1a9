"""Messages column by column, as they come out of fetched batches; one is made an object only for who looks at it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, overload

import msgspec
import numpy as np
from numpy.typing import NDArray

from fraudstream.errors import FraudstreamError
from fraudstream.wire.record_reader import BROKEN, measure, read_records
from fraudstream.wire.texts import PADDING, TERMINATOR


class Record(msgspec.Struct, gc=False):
    """A message as the pipeline reads it; `timestamp` is the broker's time in ms."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None


class SourceRecord(Protocol):
    """A message as Kafka clients hand it over; `timestamp` is the broker's time in ms."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...


class FetchedBatch(msgspec.Struct, gc=False):
    """A batch as it was fetched, of which nothing is read yet; stands where a client's record would.

    Attributes:
        offset: of its last record.
        timestamp: the broker's time of its last record in ms.
        data: its records, not compressed.
        count: how many.
        first_offset: what the records' offsets count from, as their times count from `first_time_ms`.
        is_append_time: whether they all have that time.
        least_offset: records before it were asked for and given already.
    """

    topic: str
    partition: int
    offset: int
    timestamp: int
    data: bytes | memoryview
    count: int
    first_offset: int
    first_time_ms: int
    is_append_time: bool
    least_offset: int


@dataclass(frozen=True, slots=True, eq=False)
class Records(Sequence[Record]):
    """n messages of one topic.

    Attributes:
        blob: (bytes,) keys and values, a TERMINATOR behind each and PADDING behind the last.
        keys: (n, 2) where each is, a start of -1 for none; `values` alike.
        partitions: (n,)
        offsets: (n,)
        times_ms: (n,) the broker's times.
    """

    topic: str
    blob: NDArray[np.uint8]
    keys: NDArray[np.int64]
    values: NDArray[np.int64]
    partitions: NDArray[np.int64]
    offsets: NDArray[np.int64]
    times_ms: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets)

    @overload
    def __getitem__(self, at: int) -> Record: ...
    @overload
    def __getitem__(self, at: slice) -> Records: ...
    def __getitem__(self, at: int | slice) -> Record | Records:
        if isinstance(at, slice):
            rows = (self.keys[at], self.values[at], self.partitions[at], self.offsets[at], self.times_ms[at])
            return Records(self.topic, self.blob, *rows)
        return Record(
            self.topic,
            int(self.partitions[at]),
            int(self.offsets[at]),
            int(self.times_ms[at]),
            self._text(self.keys[at]),
            self._text(self.values[at]),
        )

    def some(self, rows: NDArray[np.int64]) -> Records:
        """Those of some rows."""
        columns = (self.keys[rows], self.values[rows], self.partitions[rows], self.offsets[rows], self.times_ms[rows])
        return Records(self.topic, self.blob, *columns)

    def _text(self, span: NDArray[np.int64]) -> bytes | None:
        return None if span[0] < 0 else self.blob[span[0] : span[1]].tobytes()


class BatchReader:
    """Reads the records of fetched batches of one topic, in their order, some at a time."""

    def __init__(self, batches: Sequence[FetchedBatch]) -> None:
        self._batches = batches
        sizes = np.array([len(batch.data) for batch in batches], np.int64)
        ends = np.cumsum(sizes)
        self._partitions = np.array([batch.partition for batch in batches], np.int64)
        self._where = (
            np.frombuffer(b"".join([batch.data for batch in batches]), np.uint8),
            np.stack((ends - sizes, ends), axis=1),
            np.array([batch.count for batch in batches], np.int64),
        )
        self._first_offsets = np.array([batch.first_offset for batch in batches], np.int64)
        self._first_times_ms = np.array([batch.first_time_ms for batch in batches], np.int64)
        self._is_append_time = np.array([batch.is_append_time for batch in batches], np.bool_)
        self._least_offsets = np.array([batch.least_offset for batch in batches], np.int64)
        self._position = np.zeros(3, np.int64)

    def is_at_end(self) -> bool:
        """Whether all of them are read."""
        return bool(self._position[0] == len(self._batches))

    def read(self, most: int) -> Records:
        """The next records, up to so many; fewer, or none, where some were given already.

        Raises:
            FraudstreamError: a batch is broken, though its checksum is right.
        """
        n, size = measure(*self._where, self._position, most)
        if n == BROKEN:
            raise self._broken()
        blob = np.zeros(size + len(PADDING), np.uint8)  # also where no text is, a kernel that reads must meet an end
        keys, values = np.empty((n, 2), np.int64), np.empty((n, 2), np.int64)
        offsets, times_ms, batch_of = (np.empty(n, np.int64) for _ in range(3))
        n = read_records(
            *self._where, self._first_offsets, self._first_times_ms, self._is_append_time, self._least_offsets,
            self._position, most,
            TERMINATOR[0], blob, keys, values, offsets, times_ms, batch_of,
        )  # fmt: skip
        if n == BROKEN:
            raise self._broken()
        blob.flags.writeable = False  # as where it is made of bytes: to a kernel the other is of another type
        columns = (keys[:n], values[:n], self._partitions[batch_of[:n]], offsets[:n], times_ms[:n])
        return Records(self._batches[0].topic, blob, *columns)

    def _broken(self) -> FraudstreamError:
        batch = self._batches[int(self._position[0])]
        return FraudstreamError(
            f"expected whole records in the batch of {batch.topic}, partition {batch.partition}, that ends at offset "
            f"{batch.offset}; got lengths that do not fit, though its checksum is right"
        )


def records_of(records: Sequence[SourceRecord]) -> Records:
    """The same of records that are at hand as objects."""
    if isinstance(records, Records):
        return records
    texts = [text for record in records for text in (record.key, record.value)]
    sizes = np.array([0 if text is None else len(text) for text in texts], np.int64)
    ends = np.cumsum(sizes + 1) - 1
    spans = np.stack((ends - sizes, ends), axis=1)
    spans[[at for at, text in enumerate(texts) if text is None], 0] = -1
    blob = TERMINATOR.join([*(text or b"" for text in texts), PADDING])
    return Records(
        records[0].topic if records else "",
        np.frombuffer(blob, np.uint8),
        spans[0::2],
        spans[1::2],
        np.array([record.partition for record in records], np.int64),
        np.array([record.offset for record in records], np.int64),
        np.array([record.timestamp for record in records], np.int64),
    )
