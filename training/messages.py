"""Transactions of a history as the bytes that travel, key and JSON value; labels have no field here, so none leak."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

if TYPE_CHECKING:
    from fraudstream.training.history import History

CHUNK_ROWS = 16_384
"""Rows encoded at a time: enough to spread the cost of a chunk, small enough to stay a few megabytes."""

_NS_PER_S = 1_000_000_000
_TEXT_WITH_FEW_VALUES = ("merchant", "category", "location", "device_id", "currency")


class _Message(msgspec.Struct, omit_defaults=True, gc=False):
    transaction_id: str
    user_id: str
    amount: float
    merchant: str
    timestamp: str
    category: str | None = None
    location: str | None = None
    device_id: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    currency: str | None = None


def encode_rows(history: History) -> list[tuple[bytes, bytes]]:
    """Key (user_id) and JSON value of every transaction, in the history's order; absent fields are left out."""
    return [message for chunk in encode_chunks(history) for message in chunk]


def encode_chunks(history: History, rows: int = CHUNK_ROWS) -> Iterator[list[tuple[bytes, bytes]]]:
    """The same as `encode_rows`, at most `rows` transactions at a time, for histories that should not be held twice."""
    few = {name: _values_and_codes(history, name) for name in _TEXT_WITH_FEW_VALUES if name in history}
    for start in range(0, len(history), rows):
        table = history.table.slice(start, rows)
        absent = [None] * table.num_rows
        texts = {name: values[codes[start : start + rows]].tolist() for name, (values, codes) in few.items()}
        places = _places(table) if {"latitude", "longitude"} <= set(table.column_names) else (absent, absent)
        users = table["user_id"].to_pylist()
        messages = map(
            _Message,
            table["transaction_id"].to_pylist(),
            users,
            table["amount"].to_pylist(),
            texts["merchant"],
            _rfc3339(table["timestamp"].cast(pa.int64()).to_numpy()),
            texts.get("category", absent),
            texts.get("location", absent),
            texts.get("device_id", absent),
            *places,
            texts.get("currency", absent),
        )
        encode = msgspec.json.Encoder().encode
        yield [(user.encode(), encode(message)) for user, message in zip(users, messages, strict=True)]


def _values_and_codes(history: History, name: str) -> tuple[NDArray[Any], NDArray[np.int32]]:
    codes, names = history.codes(name)
    return np.array([*names, None], object), codes  # code -1 takes the last value, None


def _places(table: pa.Table) -> tuple[list[float | None], list[float | None]]:
    """Coordinates as the float64 that equals the stored float32: live and offline must compute with the same number."""
    latitude, longitude = (table[name].cast(pa.float64()).to_pylist() for name in ("latitude", "longitude"))
    return latitude, longitude


def _rfc3339(times_ns: NDArray[np.int64]) -> list[str]:
    """Times in UTC, in whole seconds where they are whole, else in microseconds (finer parts are cut off)."""
    stamps = times_ns.view("datetime64[ns]")
    texts: list[str] = np.datetime_as_string(stamps.astype("datetime64[s]"), timezone="UTC").tolist()
    for row in np.flatnonzero(times_ns % _NS_PER_S):
        texts[row] = str(np.datetime_as_string(stamps[row].astype("datetime64[us]"), timezone="UTC"))
    return texts
