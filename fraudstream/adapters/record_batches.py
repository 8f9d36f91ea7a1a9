"""Messages as whole producer batches: one future for each batch instead of one for each message."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterable
from typing import Any

import crc32c
import numpy as np
from aiokafka.record.default_records import DefaultRecordBase
from numpy.typing import NDArray

from fraudstream.emitted import Verdicts

Record = tuple[bytes | None, bytes | None, int | None, list[tuple[str, bytes]]]
"""Key, value, time in ms since 1970 (None: now) and headers."""

_LAYOUT = DefaultRecordBase
HEADER_BYTES = _LAYOUT.HEADER_STRUCT.size
_FORMAT = 2


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
        self._attributes = _LAYOUT.TRANSACTIONAL_MASK if is_transactional else 0
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
            length = len(self._data) - _LAYOUT.AFTER_LEN_OFFSET
            _LAYOUT.HEADER_STRUCT.pack_into(
                self._data, 0,
                0, length, _LAYOUT.NO_PARTITION_LEADER_EPOCH, _FORMAT, 0, self._attributes,
                self._records - 1, self._sent_ms, self._sent_ms, *self._producer, self._records,
            )  # fmt: skip
            checksum = crc32c.crc32c(self._data[_LAYOUT.ATTRIBUTES_OFFSET :])
            struct.pack_into(">I", self._data, _LAYOUT.CRC_OFFSET, checksum)
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
