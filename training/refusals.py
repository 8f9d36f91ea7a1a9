"""Rows of a file that a live worker would send to dead-letters, found at once for a whole table.

What a row is refused for is decided here by columns; the words come from the wire's own decoder, which gets the first
row of each kind, so that a file and a stream are told the same. Nothing here reads a file or drops a row.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fraudstream.columns import REQUIRED
from fraudstream.errors import RefusedInput
from fraudstream.training.times import NS_PER_S
from fraudstream.transaction import (
    EARLIEST_S,
    FUTURE_TOLERANCE_S,
    LAST_S,
    MAX_AMOUNT,
    MAX_ID_CHARS,
    MAX_TEXT_CHARS,
    decode_transaction,
)

Mask = NDArray[np.bool_]

_CHARS = {
    "transaction_id": (1, MAX_ID_CHARS),
    "user_id": (1, MAX_ID_CHARS),
    "merchant": (1, MAX_TEXT_CHARS),
    "category": (1, MAX_TEXT_CHARS),
    "location": (1, MAX_TEXT_CHARS),
    "device_id": (1, MAX_TEXT_CHARS),
    "currency": (3, 3),
}
_NUMBERS = {"amount": (0.0, MAX_AMOUNT), "latitude": (-90.0, 90.0), "longitude": (-180.0, 180.0)}
_ON_THE_WIRE = (
    *("transaction_id", "user_id", "amount", "merchant"),
    *("category", "location", "device_id", "latitude", "longitude", "currency"),
)
"""The order in which the decoder meets the fields: of two faults in a row it tells the first."""
_CONTROL_CHARACTERS = r"[\x00-\x1f\x7f]"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Rows that are refused for the same reason.

    Attributes:
        field: what is wrong with them.
        reason: a code of `fraudstream.dead_letter.REASONS`.
        rows: how many there are.
        first_row: the first of them, counted from 1.
        detail: the sentence of that row's dead letter.
    """

    field: str
    reason: str
    rows: int
    first_row: int
    detail: str


def find_refusals(table: pa.Table, now_s: float, counted: Mask | None = None) -> tuple[Mask, tuple[Refusal, ...]]:
    """Which rows are refused, and why; a row with several faults counts under the one that the decoder meets first.

    Args:
        table: columns typed as `files.FIELDS`; optional ones may be absent.
        now_s: seconds since 1970 that stand for the broker's time; a day after it the future begins.
        counted: rows that are asked for; others that are refused are in the mask but not told. Default: all.
    """
    refused = np.zeros(table.num_rows, bool)
    found = []
    for field, reason, wrong in _faults(table, now_s):
        new = wrong & ~refused
        told = new if counted is None else new & counted
        rows = int(np.count_nonzero(told))
        if rows:
            first = int(np.argmax(told))
            detail = _as_a_dead_letter(table.slice(first, 1), now_s).detail
            found.append(Refusal(field, reason, rows, first + 1, detail))
        refused |= new
    return refused, tuple(found)


def _faults(table: pa.Table, now_s: float) -> Iterator[tuple[str, str, Mask]]:
    """Field, reason and rows of each fault, in the order in which the decoder looks for them."""
    names = [name for name in _ON_THE_WIRE if name in table.column_names]
    numbers = {name: _numbers(table[name]) for name in names if name in _NUMBERS}
    for name in REQUIRED:
        if name in names:
            yield name, "missing_field", _mask(table[name].is_null())
    for name, values in numbers.items():
        there = _mask(table[name].is_valid())
        yield name, "not_finite", there & ~np.isfinite(values)
    for name in names:
        if name in _NUMBERS:
            low, high = _NUMBERS[name]
            yield name, "out_of_range", (numbers[name] < low) | (numbers[name] > high)
        else:
            fewest, most = _CHARS[name]
            yield name, "bad_length", _where_text(table[name], lambda texts: _outside(texts, fewest, most))  # noqa: B023
    for name in names:
        if name not in _NUMBERS:
            yield name, "control_character", _where_text(table[name], _has_control_character)
    yield "timestamp", "missing_field", _mask(table["timestamp"].is_null())
    times_s = table["timestamp"].cast(pa.int64()).fill_null(0).to_numpy() // NS_PER_S
    yield "timestamp", "absurd_time", (times_s < EARLIEST_S) | (times_s > min(now_s + FUTURE_TOLERANCE_S, LAST_S))


def _numbers(column: pa.ChunkedArray) -> NDArray[np.float64]:
    """Nothing is 0 here, which no limit refuses."""
    return np.asarray(column.cast(pa.float64()).fill_null(0.0).to_numpy())


def _where_text(column: pa.ChunkedArray, is_wrong: Callable[[Any], Any]) -> Mask:
    """Rows whose text is wrong; of a dictionary each text is looked at once."""
    if not pa.types.is_dictionary(column.type):
        return _mask(is_wrong(column).fill_null(False))
    parts = [np.empty(0, bool)]
    for chunk in column.chunks:
        # One more for "nothing", whose code is -1.
        wrong = np.append(_mask(is_wrong(chunk.dictionary).fill_null(False)), False)
        parts.append(wrong[chunk.indices.fill_null(-1).to_numpy(zero_copy_only=False)])
    return np.concatenate(parts)


def _outside(texts: Any, fewest: int, most: int) -> Any:
    chars = pc.utf8_length(texts)
    return pc.or_(pc.less(chars, fewest), pc.greater(chars, most))


def _has_control_character(texts: Any) -> Any:
    return pc.match_substring_regex(texts, _CONTROL_CHARACTERS)


def _mask(values: Any) -> Mask:
    return np.asarray(values.to_numpy(zero_copy_only=False) if isinstance(values, pa.Array) else values.to_numpy())


def _as_a_dead_letter(row: pa.Table, now_s: float) -> RefusedInput:
    """What the decoder says of a row that is refused."""
    fields = row.select([name for name in _ON_THE_WIRE if name in row.column_names]).to_pylist()[0]
    message = {name: value for name, value in fields.items() if value is not None}
    time_ns = row["timestamp"].cast(pa.int64())[0].as_py()
    if time_ns is not None:
        message["timestamp"] = time_ns // NS_PER_S
    try:
        decode_transaction(json.dumps(message, ensure_ascii=False).encode()).time_s(now_s)
    except RefusedInput as refused:
        return refused
    return RefusedInput("missing_field", "timestamp: expected a time, the field is missing")
