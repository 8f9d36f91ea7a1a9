"""Parquet and CSV files of transactions: which columns they need, how they become typed ones, how they are written."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from fraudstream.errors import DataFileError
from fraudstream.transaction import EARLIEST_S, MAX_AMOUNT, MILLISECONDS_FROM

TIME = pa.timestamp("ns", "UTC")
_LABEL = pa.dictionary(pa.int32(), pa.string())

FIELDS: dict[str, pa.DataType] = {
    "transaction_id": pa.string(),
    "user_id": pa.string(),
    "amount": pa.float64(),
    "merchant": _LABEL,
    "category": _LABEL,
    "location": _LABEL,
    "latitude": pa.float32(),
    "longitude": pa.float32(),
    "device_id": _LABEL,
    "timestamp": TIME,
    "currency": _LABEL,
    "is_fraud": pa.int8(),
    "campaign": _LABEL,
}
"""Every column that a history may have, in its order; dictionaries may have narrower indices."""

REQUIRED = ("transaction_id", "user_id", "amount", "merchant", "timestamp")
_NEVER_EMPTY = ("transaction_id", "user_id", "merchant", "category", "location", "device_id", "currency")
_NS_PER_S = 1_000_000_000
_NS_PER_MS = 1_000_000


def read_table(path: Path, columns_map: Mapping[str, str]) -> pa.Table:
    """Reads the file's known columns, typed as FIELDS says, in the file's order of rows.

    Raises:
        DataFileError: the file, its columns or its values are not what they should be.
    """
    _check_suffix(path)
    try:
        in_file = _names_in(path)
        sources = _sources(path, in_file, columns_map)
        raw = _read_csv(path, sources) if path.suffix == ".csv" else pq.read_table(path, columns=_once(sources))
    except (OSError, pa.ArrowException, csv.Error, UnicodeDecodeError) as error:
        raise DataFileError(f"{path}: expected a readable {path.suffix[1:]} file, got {_first_line(error)}") from None
    columns = {name: _typed(path, name, source, raw[source]) for name, source in sources.items()}
    if {"latitude", "longitude"} <= columns.keys():
        both = pc.and_(columns["latitude"].is_valid(), columns["longitude"].is_valid())
        for name in ("latitude", "longitude"):
            columns[name] = pc.if_else(both, columns[name], pa.scalar(None, pa.float32()))
    table = pa.table(columns)
    _check_values(path, table, sources)
    return table


def write_table(table: pa.Table, path: Path) -> None:
    """Writes the table by the suffix of the path.

    Raises:
        DataFileError: the suffix is neither .parquet nor .csv, or the file cannot be written.
    """
    _check_suffix(path)
    try:
        if path.suffix == ".parquet":
            pq.write_table(table, path, compression="zstd")
        else:
            pa_csv.write_csv(_plain(table), path, pa_csv.WriteOptions(quoting_style="needed"))
    except OSError as error:
        raise DataFileError(f"{path}: expected a place to write to, got {_first_line(error)}") from None


def _check_suffix(path: Path) -> None:
    if path.suffix not in {".parquet", ".csv"}:
        came = path.suffix or "no suffix"
        raise DataFileError(f"{path}: expected a file name that ends in .parquet or .csv, got {came}")


def _names_in(path: Path) -> list[str]:
    if path.suffix == ".parquet":
        return list(pq.read_schema(path).names)
    with path.open(encoding="utf-8-sig", newline="") as lines:
        return next(csv.reader(lines), [])


def _sources(path: Path, in_file: list[str], columns_map: Mapping[str, str]) -> dict[str, str]:
    """Which column of the file each of our fields comes from."""
    unknown = sorted(columns_map.keys() - FIELDS.keys())
    if unknown:
        raise DataFileError(f"--columns: expected names among {', '.join(FIELDS)}; got {', '.join(unknown)}")
    sources = {name: columns_map.get(name, name) for name in FIELDS}
    missing = [
        f"{name} (as {source})" if source != name else name
        for name, source in sources.items()
        if source not in in_file and (name in REQUIRED or name in columns_map)
    ]
    if missing:
        raise DataFileError(
            f"{path}: expected columns {', '.join(REQUIRED)}; missing {', '.join(missing)}; "
            f"the file has {', '.join(in_file) or 'none'}. Name other columns with --columns amount=COLUMN,..."
        )
    if ("latitude" in columns_map) != ("longitude" in columns_map) and not {"latitude", "longitude"} <= set(in_file):
        raise DataFileError(f"{path}: expected latitude and longitude together; name both with --columns")
    return {name: source for name, source in sources.items() if source in in_file}


def _once(sources: Mapping[str, str]) -> list[str]:
    return list(dict.fromkeys(sources.values()))


def _read_csv(path: Path, sources: Mapping[str, str]) -> pa.Table:
    # Text is read as text: an identifier of digits must not become a number and lose its end.
    types = {
        source: FIELDS[name]
        for name, source in sources.items()
        if name != "timestamp" and (pa.types.is_string(FIELDS[name]) or pa.types.is_dictionary(FIELDS[name]))
    }
    options = pa_csv.ConvertOptions(
        include_columns=_once(sources), column_types=types, strings_can_be_null=True, quoted_strings_can_be_null=False
    )
    return pa_csv.read_csv(path, convert_options=options)


def _typed(path: Path, name: str, source: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    wanted = FIELDS[name]
    try:
        if name == "timestamp":
            return _times(column)
        if pa.types.is_dictionary(wanted):
            return _labels(column, empty_is_null=name in _NEVER_EMPTY)
        if wanted == pa.float32():
            # NaN is how other tools write "none" in a column of numbers.
            numbers = column.cast(pa.float64())
            return pc.if_else(pc.is_nan(numbers), pa.scalar(None, pa.float64()), numbers).cast(wanted, safe=False)
        return column.cast(wanted)
    except pa.ArrowException as error:
        raise DataFileError(
            f"{path}: column {source}: expected {_described(name)}, got {column.type} ({_first_line(error)})"
        ) from None


def _labels(column: pa.ChunkedArray, empty_is_null: bool) -> pa.ChunkedArray:
    if not (pa.types.is_dictionary(column.type) and column.type.value_type == pa.string()):
        column = column.cast(pa.string()).dictionary_encode()
    column = column.unify_dictionaries()
    if empty_is_null and column.num_chunks and "" in column.chunk(0).dictionary.to_pylist():
        texts = column.cast(pa.string())
        column = pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.string()), texts).dictionary_encode()
    return column


def _times(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Any way to write a time as nanoseconds in UTC."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(pa.string())
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        try:
            return column.cast(TIME)
        except pa.ArrowInvalid:  # text without an offset counts as UTC
            return column.cast(pa.timestamp("ns")).cast(TIME)
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        numbers = column.cast(pa.float64()) if pa.types.is_floating(column.type) else column.cast(pa.int64())
        unit_ns = pc.if_else(pc.greater_equal(numbers, MILLISECONDS_FROM), _NS_PER_MS, _NS_PER_S)
        return pc.multiply_checked(numbers, unit_ns.cast(numbers.type)).cast(pa.int64(), safe=False).cast(TIME)
    if pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("s"))
    return column.cast(TIME)


def _check_values(path: Path, table: pa.Table, sources: Mapping[str, str]) -> None:
    for name in sources:
        column = table[name]
        good = np.ones(len(column), bool)
        if name in REQUIRED or name == "is_fraud":
            good &= column.is_valid().to_numpy()
        if name in ("transaction_id", "user_id"):
            good &= pc.not_equal(column, "").fill_null(False).to_numpy()
        elif name == "timestamp":
            good &= column.cast(pa.int64()).fill_null(0).to_numpy() >= EARLIEST_S * _NS_PER_S
        elif name in _RANGES:
            low, high = _RANGES[name]
            numbers = column.fill_null(low).to_numpy()
            good &= (numbers >= low) & (numbers <= high)
        if not good.all():
            row = int(np.argmin(good))
            came = "nothing" if not table[name][row].is_valid else str(table[name][row])
            raise DataFileError(
                f"{path}: column {sources[name]}: expected {_described(name)}, got {came or 'empty text'} in row "
                f"{row + 1}; {len(good) - int(good.sum()):,} of {len(good):,} rows are so. Correct or remove them."
            )


_RANGES = {
    "amount": (0.0, MAX_AMOUNT),
    "latitude": (-90.0, 90.0),
    "longitude": (-180.0, 180.0),
    "is_fraud": (0, 1),
}


def _described(name: str) -> str:
    if name == "timestamp":
        return "times from 2000-01-01 on (ISO 8601, or epoch seconds or milliseconds)"
    if name in _RANGES:
        low, high = _RANGES[name]
        return f"numbers from {low:g} to {high:.10g}" if name != "is_fraud" else "0 or 1"
    return "text, never empty" if name in REQUIRED else "text"


def _plain(table: pa.Table) -> pa.Table:
    """CSV knows no dictionaries, and whole seconds read better without nine zeros."""
    columns = {}
    for name in table.column_names:
        column = table[name]
        if pa.types.is_dictionary(column.type):
            column = column.cast(pa.string())
        elif name == "timestamp" and not np.any(column.cast(pa.int64()).to_numpy() % _NS_PER_S):
            column = column.cast(pa.timestamp("s", "UTC"))
        columns[name] = column
    return pa.table(columns)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
