"""Messages column by column, as they come out of fetched batches; one is made an object only for who looks at it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, overload

import msgspec
import numpy as np
from numpy.typing import NDArray

from fraudstream.errors import FraudstreamError
from fraudstream.wire.record_reader import LEAST_OFFSET, read_records
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
            return self.some(at)
        return Record(
            self.topic,
            int(self.partitions[at]),
            int(self.offsets[at]),
            int(self.times_ms[at]),
            self._text(self.keys[at]),
            self._text(self.values[at]),
        )

    def some(self, rows: NDArray[np.int64] | slice) -> Records:
        """Those of some rows."""
        columns = (self.keys[rows], self.values[rows], self.partitions[rows], self.offsets[rows], self.times_ms[rows])
        return Records(self.topic, self.blob, *columns)

    def _text(self, span: NDArray[np.int64]) -> bytes | None:
        return None if span[0] < 0 else self.blob[span[0] : span[1]].tobytes()


class BatchReader:
    """Reads the records of fetched batches of one topic, in their order, some at a time."""

    def __init__(self, batches: Sequence[FetchedBatch]) -> None:
        self._batches = batches
        known, at = [], 0
        for batch in batches:
            start, at = at, at + len(batch.data)
            known.append(
                (
                    start, at, batch.count, batch.partition,
                    batch.first_offset, batch.first_time_ms, batch.is_append_time, batch.least_offset,
                )
            )  # fmt: skip
        self._known = np.array(known, np.int64).reshape(len(known), LEAST_OFFSET + 1)
        data = batches[0].data if len(batches) == 1 else b"".join([batch.data for batch in batches])
        self._data = np.frombuffer(data, np.uint8)
        self._data.flags.writeable = False  # to a kernel, one that can be written is of another type
        self._position = np.zeros(3, np.int64)

    def is_at_end(self) -> bool:
        """Whether all of them are read."""
        return bool(self._position[0] == len(self._batches))

    def read(self, most: int) -> Records:
        """The next records, up to so many; fewer, or none, where some were given already.

        Raises:
            FraudstreamError: a batch is broken, though its checksum is right.
        """
        batch = self._batches[int(self._position[0])]
        read = read_records(self._data, self._known, self._position, most, TERMINATOR[0], len(PADDING))
        if not read.is_whole:
            raise FraudstreamError(
                f"expected whole records in the batch of {batch.topic}, partition {batch.partition}, that ends at "
                f"offset {batch.offset}, or in one behind it; got lengths that do not fit, though its checksum is right"
            )
        read.blob.flags.writeable = False  # as where it is made of bytes
        return Records(batch.topic, *read[1:])


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
