"""Reads what users hold transactions in, row by row, into the bytes that a worker would get; judges nothing itself."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path
from typing import Any

import msgspec

from fraudstream.columns import REQUIRED, missing_columns
from fraudstream.errors import DataFileError, RefusedInput
from fraudstream.transaction import Transaction, decode_transaction

FIELDS = Transaction.__struct_fields__
SHOWN_CHARS = 60

LATEST_S = 4_102_358_400.0
"""2099-12-31, in the place of the broker's clock: profiles count seconds in 32 bits, which end in 2106."""


@dataclass(slots=True)
class Row:
    """One row as a message, or why it is none.

    Attributes:
        key: the user_id.
        value: the transaction as JSON.
        timestamp: its own time in ms, in the place of the broker's.
        refused: why it cannot be scored.
        transaction_id: where the row has one that can be read.
        offset: its place among all rows that its profiles have seen.
    """

    key: bytes | None
    value: bytes | None
    timestamp: int
    refused: RefusedInput | None = None
    transaction_id: str | None = None
    offset: int = 0
    topic: str = "rows"
    partition: int = 0


def rows_of(transactions: Any, columns: Mapping[str, str]) -> Iterator[Row]:
    """Every row of an iterable, a frame or a file.

    Raises:
        DataFileError: a column is missing, or the file cannot be read.
        TypeError: it is none of these.
    """
    unknown = sorted(columns.keys() - set(FIELDS))
    if unknown:
        raise DataFileError(f"columns: expected names among {', '.join(FIELDS)}; got {', '.join(unknown)}")
    if isinstance(transactions, str | PathLike):
        return _of_file(Path(transactions), columns)
    library = type(transactions).__module__.partition(".")[0]
    if library in {"pandas", "polars", "pyarrow"}:
        return _of_frame(transactions, library, columns)
    if isinstance(transactions, Mapping | Transaction | bytes) or not isinstance(transactions, Iterable):
        raise TypeError(
            "transactions: expected an iterable of dicts or Transactions, a DataFrame, a pyarrow Table, or a path; "
            f"got {type(transactions).__name__}; put a single transaction into a list"
        )
    return (_row(item, columns) for item in transactions)


def _of_file(path: Path, columns: Mapping[str, str]) -> Iterator[Row]:
    from fraudstream.training.history import encode_chunks, read_history

    history = read_history(path, dict(columns))
    return (_judged(value) for chunk in encode_chunks(history) for _, value in chunk)


def _of_frame(frame: Any, library: str, columns: Mapping[str, str]) -> Iterator[Row]:
    names = list(getattr(frame, "column_names" if library == "pyarrow" else "columns", ()))
    sources = {name: columns.get(name, name) for name in FIELDS}
    if missing := missing_columns(sources, columns, names):
        raise DataFileError(
            f"frame: expected columns {', '.join(REQUIRED)}; missing {', '.join(missing)}; "
            f"it has {', '.join(map(str, names)) or 'none'}"
        )
    read = {"pandas": "tolist", "polars": "to_list", "pyarrow": "to_pylist"}[library]
    lists = {name: getattr(frame[source], read)() for name, source in sources.items() if source in names}
    return (_of_columns(tuple(lists), values) for values in zip(*lists.values(), strict=True))


def _of_columns(names: tuple[str, ...], values: tuple[Any, ...]) -> Row:
    """A frame's row: what is missing is absent, and a time without an offset is UTC, as in files."""
    row = {}
    for name, value in zip(names, values, strict=True):
        if not _is_missing(value):
            row[name] = _in_utc(value) if isinstance(value, datetime) else value
        elif name == "amount" and value is not None:
            row[name] = value  # NaN: refused as such, not as a field that is not there
    return _row(row, {})


def _is_missing(value: Any) -> bool:
    return (
        value is None
        or type(value).__name__ in {"NAType", "NaTType"}
        or (isinstance(value, float) and math.isnan(value))
    )


def _in_utc(moment: datetime) -> datetime:
    return datetime(
        *(moment.year, moment.month, moment.day, moment.hour, moment.minute, moment.second, moment.microsecond),
        tzinfo=moment.tzinfo or UTC,
    )


def _row(item: Any, columns: Mapping[str, str]) -> Row:
    if isinstance(item, Mapping):
        item = {name: item.get(columns.get(name, name)) for name in FIELDS}
        amount = item["amount"]
        if isinstance(amount, float) and amount - amount != 0.0:  # JSON has no word for it
            refused = RefusedInput("not_finite", f"amount: expected a finite number, got {amount}")
            return Row(None, None, 0, refused, _text(item.get("transaction_id")))
        item = {name: value for name, value in item.items() if value is not None}
    elif not isinstance(item, Transaction):
        shown = repr(item)[:SHOWN_CHARS]
        return Row(None, None, 0, RefusedInput("wrong_type", f"row: expected a dict or a Transaction, got {shown}"))
    found = _text(item.get("transaction_id") if isinstance(item, dict) else item.transaction_id)
    try:
        row = _judged(_encode(item))
    except (TypeError, ValueError, OverflowError) as error:
        return Row(None, None, 0, RefusedInput("wrong_type", f"row: expected values of JSON ({error})"), found)
    row.transaction_id = found
    return row


def _judged(value: bytes) -> Row:
    """The message of a row, or why a worker would refuse it."""
    try:
        transaction = decode_transaction(value)
        if transaction.timestamp is None:
            raise RefusedInput(
                "missing_field", "timestamp: expected a time (offline no broker gives one), it is missing"
            )
        second = transaction.time_s(LATEST_S)
    except RefusedInput as refused:
        return Row(None, value, 0, refused)
    return Row(transaction.user_id.encode(), value, second * 1000)


def _plain(value: Any) -> Any:
    """numpy's scalars, and whatever else has an `item()`, as Python's own."""
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"got {type(value).__name__}")


_encode = msgspec.json.Encoder(enc_hook=_plain, decimal_format="number").encode


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
