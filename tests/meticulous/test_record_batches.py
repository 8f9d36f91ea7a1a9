"""Batches that a kernel writes are, byte for byte, those that the client makes of the same messages."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import numpy as np
import pytest
from aiokafka.producer.message_accumulator import BatchBuilder
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from fraudstream.adapters import record_batches
from fraudstream.adapters.record_batches import PackedBatch, packed_batches
from fraudstream.emitted import Emitted
from tests.emitted import verdicts_of_emitted

SENT_MS = 1_790_000_000_123
PRODUCER = (2**40 + 5, 17, 2**20 + 3)

sizes = st.integers(0, 200) | st.sampled_from([63, 64, 8191, 8192])
emitted = st.builds(
    lambda partition, key, value, source, flagged: Emitted(
        partition, b"k" * key, b"v" * value, flagged, b"s" * source, bytes(range(12))
    ),
    st.integers(0, 2) | st.just(2**31 - 1),
    sizes,
    sizes,
    sizes,
    st.booleans(),
)


class Client:
    """Makes batches as a transactional producer does."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes

    def create_batch(self) -> BatchBuilder:
        return BatchBuilder(self._limit_bytes, 0, is_transactional=True)


def by_client(found: list[Emitted], limit_bytes: int, *, with_evidence: bool) -> list[tuple[int, int, bytes]]:
    batches = []
    for partition, messages in groupby(found, lambda each: each.partition):
        records = [(each.key, each.value, SENT_MS, each.headers if with_evidence else []) for each in messages]
        for batch in record_batches.record_batches(Client(limit_bytes), records):
            batch._set_producer_state(*PRODUCER)
            batches.append((partition, batch.record_count(), bytes(batch._build())))
    return batches


def built(batch: Any) -> tuple[int, int, bytes]:
    batch._set_producer_state(*PRODUCER)
    size = batch.size()
    data = bytes(batch._build())
    assert bytes(batch._build()) == data, "a batch that is sent again is the same"
    assert size == len(data)
    assert batch.closed()
    return batch.partition, batch.record_count(), data


@settings(deadline=None, max_examples=200)
@given(
    st.lists(emitted, max_size=9),
    st.integers(61, 3000) | st.just(2**20),
    st.booleans(),
    st.data(),
)
@example([Emitted(0, b"k", b"v", True, b"s", b"f")] * 70, 2**20, True, None)
def test_the_bytes_are_the_clients(found: list[Emitted], limit_bytes: int, with_evidence: bool, data: Any) -> None:
    rows = list(range(len(found)))
    if data is not None:
        rows = [row for row in rows if data.draw(st.booleans())]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("time.time", lambda: SENT_MS / 1000)
        packed = packed_batches(
            verdicts_of_emitted(found),
            np.array(rows, np.int64),
            limit_bytes,
            with_evidence=with_evidence,
            is_transactional=True,
        )
    expected = by_client([found[row] for row in rows], limit_bytes, with_evidence=with_evidence)
    event(f"{min(len(expected), 4)} batches")
    assert [built(batch) for batch in packed] == expected


def test_a_batch_without_transactions_says_so() -> None:
    (packed,) = packed_batches(
        verdicts_of_emitted([Emitted(0, b"k", b"v", False, b"s", b"")]),
        np.array([0]),
        1000,
        with_evidence=False,
        is_transactional=False,
    )
    assert isinstance(packed, PackedBatch)
    attributes = int.from_bytes(bytes(packed._build())[21:23], "big")
    assert attributes == 0
