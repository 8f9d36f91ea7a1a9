"""Any way to write a time as nanoseconds since 1970 in UTC, and how many rows left their offset unsaid."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fraudstream.transaction import MILLISECONDS_FROM

TIME = pa.timestamp("ns", "UTC")

NS_PER_S = 1_000_000_000
_NS_PER_MS = 1_000_000
_NS_PER_US = 1_000
_MOST_NS = np.iinfo(np.int64).max - NS_PER_S
"""In 2262. A time beyond it, such as the year 9999 of some databases, is held at it: absurd it is either way."""

_WITH_OFFSET = r"\d{2}:\d{2}.*(Z|[+-]\d{2}(:?\d{2})?)$"


class Times(NamedTuple):
    """A column of type TIME, and how many of its rows had no offset and were taken as UTC."""

    column: pa.ChunkedArray
    naive_rows: int


def read_times(column: pa.ChunkedArray) -> Times:
    """Reads ISO 8601 text, dates, timestamps, epoch seconds or epoch milliseconds.

    Raises:
        pyarrow.ArrowException: a value is no time.
    """
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    there = len(column) - column.null_count
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return _from_text(column)
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        return Times(_from_epoch(column), 0)
    if pa.types.is_date(column.type):
        return Times(_cast(column.cast(pa.timestamp("s"))), there)
    return Times(_cast(column), there if pa.types.is_timestamp(column.type) and column.type.tz is None else 0)


def _from_text(column: pa.ChunkedArray) -> Times:
    with_offset = pc.match_substring_regex(column, _WITH_OFFSET)
    naive_rows = int(pc.sum(pc.invert(with_offset)).as_py() or 0)
    if naive_rows == 0:
        return Times(_cast(column), 0)
    nothing = pa.scalar(None, column.type)
    aware = _cast(pc.if_else(with_offset, column, nothing))
    naive = _cast(pc.if_else(with_offset, nothing, column), in_file=pa.timestamp("ns"))
    return Times(pc.coalesce(aware, naive), naive_rows)


def _from_epoch(column: pa.ChunkedArray) -> pa.ChunkedArray:
    numbers = column.cast(pa.float64() if pa.types.is_floating(column.type) else pa.int64())
    if pa.types.is_floating(numbers.type):
        numbers = pc.if_else(pc.is_nan(numbers), pa.scalar(None, pa.float64()), numbers)
    unit_ns = pc.if_else(pc.greater_equal(numbers, MILLISECONDS_FROM), _NS_PER_MS, NS_PER_S).cast(numbers.type)
    most = pc.divide(pa.scalar(_MOST_NS, pa.int64()).cast(numbers.type, safe=False), unit_ns)
    held = pc.max_element_wise(pc.min_element_wise(numbers, most), pc.negate(most), skip_nulls=False)
    held = pc.if_else(numbers.is_valid(), held, pa.scalar(None, numbers.type))
    return pc.multiply(held, unit_ns).cast(pa.int64(), safe=False).cast(TIME)


def _cast(column: pa.ChunkedArray, in_file: pa.DataType = TIME) -> pa.ChunkedArray:
    """To TIME by way of the type that the file means."""
    try:
        return column.cast(in_file).cast(TIME)
    except pa.ArrowInvalid:  # a time that nanoseconds cannot hold, or no time at all
        microseconds = column.cast(pa.timestamp("us", in_file.tz)).cast(pa.int64())
        most = _MOST_NS // _NS_PER_US
        held = pc.max_element_wise(pc.min_element_wise(microseconds, most), -most, skip_nulls=False)
        held = pc.if_else(microseconds.is_valid(), held, pa.scalar(None, pa.int64()))
        return pc.multiply(held, _NS_PER_US).cast(TIME)
