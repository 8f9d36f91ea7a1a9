"""Kafka's records, format 2, read out of whole batches: keys and values are copied into one buffer, without objects."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fraudstream.compiled import Int, compiled
from fraudstream.wire.numbers import Bytes, put

Ints = NDArray[np.int64]

BROKEN = -1
_ATTRIBUTES = 1
_LAST_SHIFT = 63
_MORE, _BITS = np.uint8(0x80), np.uint64(0x7F)
_SEVEN, _ONE = np.uint64(7), np.uint64(1)


@compiled
def measure(data: Bytes, bounds: Ints, counts: Ints, position: Ints, most: Int) -> tuple[Int, Int]:
    """How many records `read_records` would read from here, of `most`, and how many bytes their texts have at most.

    Args: as of `read_records`.
    """
    n, size_of_all = 0, 0
    batch, place, done = position[0], position[1], position[2]
    while batch < len(bounds):
        while done < counts[batch] and n < most:
            size, behind = _varint(data, place, bounds[batch, 1])
            if behind < 0 or size < 0:
                return BROKEN, 0
            place = behind + size
            size_of_all += size
            n += 1
            done += 1
        if done < counts[batch]:
            break
        batch += 1
        if batch < len(bounds):
            place, done = bounds[batch, 0], 0
    return n, size_of_all


@compiled
def read_records(
    data: Bytes,
    bounds: Ints,
    counts: Ints,
    first_offsets: Ints,
    first_times_ms: Ints,
    is_append_time: NDArray[np.bool_],
    least_offsets: Ints,
    position: Ints,
    most: Int,
    terminator: Int,
    blob: Bytes,
    keys: Ints,
    values: Ints,
    offsets: Ints,
    times_ms: Ints,
    batch_of: Ints,
) -> Int:
    """Reads records of some batches in their order, from where the last call ended.

    Args:
        data: the records of the batches, not compressed.
        bounds: (batches, 2) where each begins and ends.
        counts: (batches,) records of each.
        first_offsets: (batches,) what the records' offsets count from.
        first_times_ms: (batches,) what their times count from.
        is_append_time: (batches,) whether they all have that time.
        least_offsets: (batches,) records before it are passed over; is moved on.
        position: (3,) batch, byte of `data` and records of the batch that are read; is moved on.
        most: records that are read, passed over or not.
        terminator: byte that is put behind each text.
        blob: (bytes,) takes the texts; as large as `measure` says.
        keys: (n, 2) where each key is; a start of -1 for none. `values` alike.
        offsets: (n,), as `times_ms`, and `batch_of`, the batch of each record.

    Returns:
        How many records there are; BROKEN where lengths do not fit.
    """
    n, at, read = 0, 0, 0
    batch, place, done = position[0], position[1], position[2]
    while batch < len(bounds):
        end = bounds[batch, 1]
        while done < counts[batch] and read < most:
            size, place = _varint(data, place, end)
            behind = place + size
            if place < 0 or size < _ATTRIBUTES or behind > end:
                return BROKEN
            delta_ms, place = _varint(data, place + _ATTRIBUTES, behind)
            delta, place = _varint(data, place, behind)
            key_size, key = _varint(data, place, behind)
            place = key + max(key_size, 0)
            value_size, value = _varint(data, place if place <= behind else BROKEN, behind)
            if min(place, key, value) < 0 or value + max(value_size, 0) > behind:
                return BROKEN
            place = behind
            done += 1
            read += 1
            if first_offsets[batch] + delta < least_offsets[batch]:
                continue
            least_offsets[batch] = first_offsets[batch] + delta + 1
            at = _take(blob, at, data, key, key_size, terminator, keys[n])
            at = _take(blob, at, data, value, value_size, terminator, values[n])
            offsets[n] = first_offsets[batch] + delta
            times_ms[n] = first_times_ms[batch] + (0 if is_append_time[batch] else delta_ms)
            batch_of[n] = batch
            n += 1
        if done < counts[batch]:
            break
        if place != end:
            return BROKEN
        batch += 1
        if batch < len(bounds):
            place, done = bounds[batch, 0], 0
    position[0], position[1], position[2] = batch, place, done
    return n


@compiled
def _take(blob: Bytes, at: Int, data: Bytes, start: Int, size: Int, terminator: Int, span: Ints) -> Int:
    """Copies a text, tells where it is, and ends it; nothing of one that is not there."""
    span[0], span[1] = -1, -1
    if size < 0:
        return at
    span[0], span[1] = at, put(blob, at, data, start, start + size)
    blob[span[1]] = terminator
    return span[1] + 1


@compiled
def _varint(data: Bytes, at: Int, end: Int) -> tuple[Int, Int]:
    """A number and where it ends; BROKEN where it does not end in time, or begins nowhere."""
    value, shift = np.uint64(0), np.uint64(0)
    while 0 <= at < end and shift <= _LAST_SHIFT:
        byte = data[np.uintp(at)]
        at += 1
        value |= (np.uint64(byte) & _BITS) << shift
        if byte < _MORE:
            return np.int64(value >> _ONE) ^ -np.int64(value & _ONE), at
        shift += _SEVEN
    return np.int64(0), np.int64(BROKEN)
