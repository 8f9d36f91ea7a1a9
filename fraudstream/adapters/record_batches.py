"""Messages as whole producer batches: one future for each batch instead of one for each message."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Record = tuple[bytes | None, bytes | None, int | None, list[tuple[str, bytes]]]
"""Key, value, time in ms since 1970 (None: now) and headers."""


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
