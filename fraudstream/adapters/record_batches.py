"""Messages as whole producer batches: one future for each batch instead of one for each message."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterable
from typing import Any

import crc32c
import numpy as np
from numpy.typing import NDArray

from fraudstream.emitted import Verdicts

Record = tuple[bytes | None, bytes | None, int | None, list[tuple[str, bytes]]]
"""Key, value, time in ms since 1970 (None: now) and headers."""

_HEADER = struct.Struct(">qiibIhiqqqhii")
"""Base offset, length, leader epoch, format, checksum, attributes, last offset, first and last time, producer id and
epoch, first sequence number, records."""
HEADER_BYTES = _HEADER.size
_AFTER_LENGTH, _CHECKED_FROM, _CHECKSUM_AT = 12, 21, 17
_FORMAT, _UNKNOWN_EPOCH, _TRANSACTIONAL = 2, -1, 0x10


class PackedBatch:
    """A batch whose records are written already; stands where a client's `BatchBuilder` would.

    Args:
        partition: that it goes to.
        records: how many.
        data: HEADER_BYTES that are free, then the records.
    """

    def __init__(self, partition: int, records: int, data: memoryview, *, is_transactional: bool) -> None:
        self.partition = partition
        self._records = records
        self._data = data
        self._attributes = _TRANSACTIONAL if is_transactional else 0
        self._sent_ms = int(time.time() * 1000)
        self._producer = (-1, -1, 0)
        self._is_built = False

    def append(self, **_message: Any) -> None:
        """Takes nothing more, and says so as a full batch does."""

    def close(self) -> None:
        """It always is."""

    def closed(self) -> bool:
        """Nothing can be added."""
        return True

    def record_count(self) -> int:
        """As it says."""
        return self._records

    def size(self) -> int:
        """In bytes."""
        return len(self._data)

    def _set_producer_state(self, producer_id: int, producer_epoch: int, base_sequence: int) -> None:
        self._producer = (producer_id, producer_epoch, base_sequence)

    def _build(self) -> memoryview:
        if not self._is_built:
            before, times = (0, len(self._data) - _AFTER_LENGTH, _UNKNOWN_EPOCH, _FORMAT), (self._sent_ms,) * 2
            after = (self._attributes, self._records - 1, *times, *self._producer, self._records)
            _HEADER.pack_into(self._data, 0, *before, 0, *after)
            struct.pack_into(">I", self._data, _CHECKSUM_AT, crc32c.crc32c(self._data[_CHECKED_FROM:]))
            self._is_built = True
        return self._data


def packed_batches(
    verdicts: Verdicts, rows: NDArray[np.int64], limit_bytes: int, *, with_evidence: bool, is_transactional: bool
) -> list[PackedBatch]:
    """Verdicts as batches, in the order of the rows; rows that follow on each other and go to one partition share one.

    Args:
        rows: which of the verdicts.
        limit_bytes: of a batch, unless one verdict alone is larger.
        with_evidence: with the headers that hold the transaction and its features.
        is_transactional: of the producer that sends them.
    """
    return [
        PackedBatch(partition, records, data, is_transactional=is_transactional)
        for partition, records, data in verdicts.batches(rows, HEADER_BYTES, limit_bytes, with_evidence=with_evidence)
    ]


def record_batches(producer: Any, records: Iterable[Record]) -> list[Any]:
    """Closed batches of an aiokafka producer, with the records in their order; for `send_batch`."""
    batches: list[Any] = []
    batch = None
    for key, value, timestamp, headers in records:
        if batch is None or batch.append(key=key, value=value, timestamp=timestamp, headers=headers) is None:
            batch = producer.create_batch()
            batches.append(batch)
            batch.append(key=key, value=value, timestamp=timestamp, headers=headers)
    for batch in batches:
        batch.close()
    return batches
