"""Parquet and CSV files of transactions: which columns they need, how they become typed ones, how they are written."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from fraudstream.columns import REQUIRED, missing_columns
from fraudstream.errors import DataFileError
from fraudstream.training.times import NS_PER_S, TIME, read_times
from fraudstream.training.unreadable import UNREADABLE, first_line, first_unreadable, other_names, why_unreadable
from fraudstream.transaction import EARLIEST_S, MAX_AMOUNT

__all__ = [
    "FIELDS",
    "OPTIONAL_TEXTS",
    "TIME",
    "Loaded",
    "load_table",
    "read_table",
    "sorted_by_time",
    "write_table",
]

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

_REQUIRED_TEXTS = ("transaction_id", "user_id", "merchant")
NULL_WORDS = ("NULL", "null", "None", "NA", "N/A", "n/a", "\\N")
"""How other tools write "nothing" in text; in a column of numbers or times it is nothing, in one of text it is text."""

OPTIONAL_TEXTS = ("category", "location", "device_id", "currency")


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """A file as it is, its columns typed but its values not judged yet.

    Attributes:
        table: columns typed as FIELDS says, in the file's order of rows.
        sources: our name -> the file's, for each column of the table.
        unread: columns of the file that no field reads.
        naive_rows: times without an offset, taken as UTC.
        empty_texts: optional field -> rows with an empty text, taken as absent.
        half_places: rows with only one coordinate, taken as rows without a place.
    """

    table: pa.Table
    sources: dict[str, str]
    unread: tuple[str, ...]
    naive_rows: int
    empty_texts: dict[str, int]
    half_places: int


def read_table(path: Path, columns_map: Mapping[str, str]) -> pa.Table:
    """Reads the file's known columns, typed as FIELDS says, in the file's order of rows.

    Raises:
        DataFileError: the file, its columns or its values are not what they should be.
    """
    loaded = load_table(path, columns_map)
    _check_values(path, loaded.table, loaded.sources, tuple(loaded.sources))
    return loaded.table


def load_table(path: Path, columns_map: Mapping[str, str]) -> Loaded:
    """Reads the file's known columns; what their values say is left to whoever asks, but labels are 0 or 1.

    Raises:
        DataFileError: the file or its columns are not what they should be, or a column cannot be read as its type.
    """
    _check_suffix(path)
    try:
        in_file = _names_in(path)
        sources = _sources(path, in_file, columns_map)
        raw = _read_csv(path, sources) if path.suffix == ".csv" else pq.read_table(path, columns=_once(sources))
    except (OSError, pa.ArrowException, csv.Error, UnicodeDecodeError) as error:
        raise DataFileError(why_unreadable(path, error)) from None
    columns: dict[str, pa.ChunkedArray] = {}
    empty_texts: dict[str, int] = {}
    naive_rows = half_places = 0
    for name, source in sources.items():
        with _naming(path, name, source, raw[source]):
            if name == "timestamp":
                columns[name], naive_rows = read_times(_without_null_words(raw[source]))
            elif name in OPTIONAL_TEXTS:
                columns[name], empty = _without_empty(_typed(name, raw[source]))
                empty_texts |= {name: empty} if empty else {}
            else:
                columns[name] = _typed(name, raw[source])
    if {"latitude", "longitude"} <= columns.keys():
        there = [columns[name].is_valid() for name in ("latitude", "longitude")]
        half_places = int(pc.sum(pc.xor(*there)).as_py() or 0)
        for name in ("latitude", "longitude"):
            columns[name] = pc.if_else(pc.and_(*there), columns[name], pa.scalar(None, pa.float32()))
    table = pa.table(columns)
    _check_values(path, table, sources, _ALWAYS_STRICT)
    unread = tuple(name for name in in_file if name not in sources.values())
    return Loaded(table, sources, unread, naive_rows, empty_texts, half_places)


def sorted_by_time(table: pa.Table) -> pa.Table:
    """The same rows in the order of their time; equal times keep their order."""
    times_ns = table["timestamp"].cast(pa.int64()).to_numpy()
    if np.any(times_ns[1:] < times_ns[:-1]):
        return table.take(pa.array(np.argsort(times_ns, kind="stable")))
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
        raise DataFileError(f"{path}: expected a place to write to, got {first_line(error)}") from None


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
    twice = sorted({source for source in sources.values() if in_file.count(source) > 1})
    if twice:
        raise DataFileError(
            f"{path}: expected each column once, got {', '.join(twice)} more than once; rename or remove the others"
        )
    if missing := missing_columns(sources, columns_map, in_file):
        raise DataFileError(
            f"{path}: expected columns {', '.join(REQUIRED)}; missing {', '.join(missing)}; "
            f"the file has {', '.join(in_file) or 'none'}. {other_names(in_file)}"
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
        include_columns=_once(sources),
        column_types=types,
        null_values=[""],  # somebody's name may be Null, and a merchant's NA
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    return pa_csv.read_csv(path, convert_options=options)


@contextmanager
def _naming(path: Path, name: str, source: str, column: pa.ChunkedArray) -> Iterator[None]:
    """Gives what goes wrong with a column the column's name."""
    try:
        yield
    except UNREADABLE as error:
        found = first_unreadable(column, lambda part: _read(name, part))
        came = f"{found}; correct or remove it" if found else f"{column.type} ({first_line(error)})"
        raise DataFileError(f"{path}: column {source}: expected {_described(name)}, got {came}") from None


def _read(name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    return read_times(_without_null_words(column)).column if name == "timestamp" else _typed(name, column)


def _typed(name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    wanted = FIELDS[name]
    if pa.types.is_dictionary(wanted):
        return _labels(column)
    if wanted != pa.string():
        column = _without_null_words(column)
    if wanted == pa.float32():
        # NaN is how other tools write "none" in a column of numbers.
        numbers = column.cast(pa.float64())
        return pc.if_else(pc.is_nan(numbers), pa.scalar(None, pa.float64()), numbers).cast(wanted, safe=False)
    typed = column.cast(wanted)
    if wanted == pa.string():
        typed.validate(full=True)  # a parquet file may claim to hold UTF-8
    return typed


def _without_null_words(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Nothing where text stands for it, in a column that should hold no text."""
    if not pa.types.is_string(column.type):
        return column
    return pc.if_else(pc.is_in(column, pa.array(NULL_WORDS)), pa.scalar(None, pa.string()), column)


def _labels(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if not (pa.types.is_dictionary(column.type) and column.type.value_type == pa.string()):
        column = column.cast(pa.string()).dictionary_encode()
    column = column.unify_dictionaries()
    if column.num_chunks:
        column.chunk(0).dictionary.validate(full=True)
    return column


def _without_empty(column: pa.ChunkedArray) -> tuple[pa.ChunkedArray, int]:
    """The column with nothing where it holds an empty text, and how often it did."""
    if not column.num_chunks or "" not in column.chunk(0).dictionary.to_pylist():
        return column, 0
    texts = column.cast(pa.string())
    empty = pc.equal(texts, "")
    return pc.if_else(empty, pa.scalar(None, pa.string()), texts).dictionary_encode(), int(pc.sum(empty).as_py())


def _check_values(path: Path, table: pa.Table, sources: Mapping[str, str], names: Sequence[str]) -> None:
    """Refuses the whole file for one bad value; `names` are the columns that are looked at."""
    for name in (name for name in names if name in sources):
        column = table[name]
        good = np.ones(len(column), bool)
        if name in REQUIRED or name == "is_fraud":
            good &= column.is_valid().to_numpy()
        if name in _REQUIRED_TEXTS:
            texts = column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column
            good &= pc.not_equal(texts, "").fill_null(False).to_numpy()
        elif name == "timestamp":
            good &= column.cast(pa.int64()).fill_null(0).to_numpy() >= EARLIEST_S * NS_PER_S
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


_ALWAYS_STRICT = ("is_fraud",)
"""Nobody sends a label with a payment, so no dead letter stands for a bad one: it refuses the file."""

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
        elif name == "timestamp" and not np.any(column.cast(pa.int64()).to_numpy() % NS_PER_S):
            column = column.cast(pa.timestamp("s", "UTC"))
        columns[name] = column
    return pa.table(columns)
