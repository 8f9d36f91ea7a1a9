"""Kafka's records, format 2, written one behind the other as they stand in a batch; the batch's header is not here."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fraudstream.compiled import Int, compiled
from fraudstream.wire.numbers import Bytes, put, put_whole
from fraudstream.wire.texts import KEY, SOURCE

Ints = NDArray[np.int64]

RECORD_BYTES = 96
"""What a record needs at most beside its key, its value and what its headers hold."""

_MORE = 0x80
"""Set in every byte of a number but its last."""
_SMALLEST = 3
"""Attributes and the time's difference to the batch's, both none, and the number of headers: one byte each."""


@compiled
def write_batches(
    blob: Bytes,
    spans: Ints,
    values: Bytes,
    value_spans: Ints,
    features: Bytes,
    names: tuple[Bytes, Bytes],
    rows: Ints,
    partitions: Ints,
    limit: Int,
    header: Int,
    out: Bytes,
    batches: Ints,
) -> Int:
    """Writes the records of some rows; rows that follow on each other and go to one partition share a batch.

    Args:
        blob: with `spans` (n, columns, 2) as in `Texts`: the keys, and what evidence keeps of the transactions.
        values: with `value_spans` (n, 2).
        features: (n, bytes) of each row; with no bytes the records have no headers.
        names: of the headers that hold the transaction and the features.
        rows: those that are written.
        partitions: (n,)
        limit: bytes of a batch, unless one record alone is larger.
        header: bytes that are left free at the beginning of each batch.
        out: (bytes,) large enough.
        batches: (len(rows), 4) is told partition, records, first byte and the byte behind the last of each batch.

    Returns:
        How many batches there are.
    """
    count, at, start, first = 0, 0, 0, 0
    for place in range(len(rows)):
        row = rows[place]
        size = _size(spans, value_spans, features.shape[1], names, row, place - first)
        is_other = place > 0 and partitions[row] != partitions[rows[place - 1]]
        if place == 0 or is_other or at + _varint_size(size) + size - start > limit:
            if place > 0:
                batches[count, 1], batches[count, 3] = place - first, at
                count += 1
            start, first = at, place
            batches[count, 0], batches[count, 2] = partitions[row], start
            at += header
            size = _size(spans, value_spans, features.shape[1], names, row, 0)
        at = _put_varint(out, at, size)
        out[at], out[at + 1] = 0, 0
        at = _put_varint(out, at + 2, place - first)
        at = _put_sized(out, at, blob, spans[row, KEY])
        at = _put_sized(out, at, values, value_spans[row])
        if features.shape[1] == 0:
            at = _put_varint(out, at, 0)
            continue
        at = _put_varint(out, at, 2)
        at = _put_whole(out, at, names[0])
        at = _put_sized(out, at, blob, spans[row, SOURCE])
        at = _put_whole(out, at, names[1])
        at = _put_whole(out, at, features[row])
    if len(rows):
        batches[count, 1], batches[count, 3] = len(rows) - first, at
        count += 1
    return count


@compiled
def _size(spans: Ints, value_spans: Ints, features: Int, names: tuple[Bytes, Bytes], row: Int, offset: Int) -> Int:
    """Bytes of a record without its own length."""
    size = _SMALLEST + _varint_size(offset) + _sized(spans[row, KEY]) + _sized(value_spans[row])
    if features == 0:
        return size
    size += _varint_size(len(names[0])) + len(names[0]) + _varint_size(len(names[1])) + len(names[1])
    return size + _sized(spans[row, SOURCE]) + _varint_size(features) + features


@compiled
def _sized(span: Ints) -> Int:
    return _varint_size(span[1] - span[0]) + span[1] - span[0]


@compiled
def _put_whole(out: Bytes, at: Int, source: Bytes) -> Int:
    return put_whole(out, _put_varint(out, at, len(source)), source)


@compiled
def _put_sized(out: Bytes, at: Int, source: Bytes, span: Ints) -> Int:
    at = _put_varint(out, at, span[1] - span[0])
    return put(out, at, source, span[0], span[1])


@compiled
def _varint_size(value: Int) -> Int:
    """Of a number that is not negative; zigzag doubles it."""
    size = 1
    rest = value >> 6
    while rest:
        size += 1
        rest >>= 7
    return size


@compiled
def _put_varint(out: Bytes, at: Int, value: Int) -> Int:
    rest = value << 1
    while rest >= _MORE:
        out[np.uintp(at)] = np.uint8(rest % _MORE + _MORE)
        at += 1
        rest >>= 7
    out[np.uintp(at)] = np.uint8(rest)
    return at + 1
