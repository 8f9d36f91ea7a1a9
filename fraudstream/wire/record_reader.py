"""Kafka's records, format 2, read out of whole batches: keys and values are copied into one buffer, without objects."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fraudstream.compiled import Int, compiled, inlined
from fraudstream.wire.numbers import Bytes, put

Ints = NDArray[np.int64]

START, END, COUNT, PARTITION, FIRST_OFFSET, FIRST_TIME_MS, IS_APPEND_TIME, LEAST_OFFSET = range(8)
"""What is known of a batch: where its records begin and end in the data, how many there are, their partition, what
their offsets and times count from, whether they all have that time, and before which offset they are passed over."""

_ATTRIBUTES = 1
_BROKEN = -1
_LAST_SHIFT = 63
_MORE, _BITS = np.uint8(0x80), np.uint64(0x7F)
_SEVEN, _ONE = np.uint64(7), np.uint64(1)


class ReadRecords(NamedTuple):
    """Records that were read.

    Attributes:
        is_whole: the lengths fit; the rest means nothing where they do not.
        blob: (bytes,) their texts, and zeros behind them.
        keys: (n, 2) where each key is; a start of -1 for none. `values` alike.
        partitions: (n,), as `offsets` and `times_ms`.
    """

    is_whole: bool
    blob: Bytes
    keys: Ints
    values: Ints
    partitions: Ints
    offsets: Ints
    times_ms: Ints


@compiled
def read_records(data: Bytes, batches: Ints, position: Ints, most: Int, terminator: Int, padding: Int) -> ReadRecords:
    """Reads records of some batches in their order, from where the last call ended.

    Args:
        data: the records of the batches, not compressed.
        batches: (batches, 8) what is known of each; its least offset is moved on.
        position: (3,) batch, byte of `data` and records of the batch that are read; is moved on.
        most: records that are read, passed over or not.
        terminator: byte that is put behind each text.
        padding: zeros behind the last text.
    """
    count, size = _measure(data, batches, position, most)
    n, is_whole = max(count, 0), count != _BROKEN
    blob = np.zeros(size + padding, np.uint8)
    keys, values = np.empty((n, 2), np.int64), np.empty((n, 2), np.int64)
    partitions, offsets, times_ms = np.empty(n, np.int64), np.empty(n, np.int64), np.empty(n, np.int64)
    n, at, read = 0, 0, 0
    batch, place, done = position[0], position[1], position[2]
    while is_whole and batch < len(batches):
        while done < batches[batch, COUNT] and read < count:
            size, place = _varint(data, place, batches[batch, END])
            behind = place + size
            delta_ms, place = _varint(data, place + _ATTRIBUTES, behind)
            delta, place = _varint(data, place, behind)
            key_size, key = _varint(data, place, behind)
            place = key + max(key_size, 0)
            value_size, value = _varint(data, place if place <= behind else _BROKEN, behind)
            if min(place, key, value) < 0 or value_size > behind - value:
                is_whole = False
                break
            place = behind
            done += 1
            read += 1
            offset = batches[batch, FIRST_OFFSET] + delta
            if offset < batches[batch, LEAST_OFFSET]:
                continue
            batches[batch, LEAST_OFFSET] = offset + 1
            at = _take(blob, at, data, key, key_size, terminator, keys[n])
            at = _take(blob, at, data, value, value_size, terminator, values[n])
            partitions[n], offsets[n] = batches[batch, PARTITION], offset
            times_ms[n] = batches[batch, FIRST_TIME_MS] + (0 if batches[batch, IS_APPEND_TIME] else delta_ms)
            n += 1
        if not is_whole or done < batches[batch, COUNT]:
            break
        is_whole = place == batches[batch, END]
        batch += 1
        if batch < len(batches):
            place, done = batches[batch, START], 0
    position[0], position[1], position[2] = batch, place, done
    return ReadRecords(is_whole, blob, keys[:n], values[:n], partitions[:n], offsets[:n], times_ms[:n])


@inlined
def _measure(data: Bytes, batches: Ints, position: Ints, most: Int) -> tuple[Int, Int]:
    """How many records there are from here on, of `most`, and how many bytes their texts and ends take at most."""
    n, size_of_all = 0, 0
    batch, place, done = position[0], position[1], position[2]
    while batch < len(batches):
        while done < batches[batch, COUNT] and n < most:
            size, behind = _varint(data, place, batches[batch, END])
            # Written so that no sum runs over.
            if behind < 0 or size < _ATTRIBUTES or size > batches[batch, END] - behind:
                return _BROKEN, 0
            place = behind + size
            size_of_all += size
            n += 1
            done += 1
        if done < batches[batch, COUNT]:
            break
        batch += 1
        if batch < len(batches):
            place, done = batches[batch, START], 0
    return n, size_of_all


@inlined
def _take(blob: Bytes, at: Int, data: Bytes, start: Int, size: Int, terminator: Int, span: Ints) -> Int:
    """Copies a text, tells where it is, and ends it; nothing of one that is not there."""
    span[0], span[1] = -1, -1
    if size < 0:
        return at
    span[0], span[1] = at, put(blob, at, data, start, start + size)
    blob[span[1]] = terminator
    return span[1] + 1


@inlined
def _varint(data: Bytes, at: Int, end: Int) -> tuple[Int, Int]:
    """A number and where it ends; _BROKEN where it does not end in time, or begins nowhere."""
    value, shift = np.uint64(0), np.uint64(0)
    while 0 <= at < end and shift <= _LAST_SHIFT:
        byte = data[np.uintp(at)]
        at += 1
        value |= (np.uint64(byte) & _BITS) << shift
        if byte < _MORE:
            return np.int64(value >> _ONE) ^ -np.int64(value & _ONE), at
        shift += _SEVEN
    return np.int64(0), np.int64(_BROKEN)
