"""A table of past transactions, one type for files and for the simulator; nothing here knows a broker or a model.

The columns are those of the wire, plus two that must never leave by it: `is_fraud` and `campaign`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fraudstream.errors import DataFileError, SettingsError
from fraudstream.training import files
from fraudstream.training.messages import encode_chunks, encode_rows

__all__ = ["Codes", "History", "Moment", "encode_chunks", "encode_rows", "moment_ns", "read_history", "write"]

Moment = datetime | str | None
"""A border in time; one without an offset counts as UTC, None is no border."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Codes(NamedTuple):
    """A text column as numbers: row i holds `names[codes[i]]`, or nothing where the code is -1."""

    codes: NDArray[np.int32]
    names: list[str]


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """Transactions in the order of their time; equal times keep the order in which they came.

    Args:
        table: columns of `files.FIELDS`, in that order; optional ones may be absent.
    """

    table: pa.Table

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __contains__(self, name: str) -> bool:
        return name in self.table.column_names

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns that are there."""
        return tuple(self.table.column_names)

    def numbers(self, name: str) -> NDArray[Any]:
        """A number column: amount float64, coordinates float32 (NaN: none), is_fraud int8, timestamp int64 in ns.

        Raises:
            DataFileError: the history has no such column.
        """
        column = self._column(name)
        return np.asarray((column.cast(pa.int64()) if name == "timestamp" else column).to_numpy())

    def codes(self, name: str) -> Codes:
        """A text column as numbers, cheap to compare and to count.

        Raises:
            DataFileError: the history has no such column.
        """
        column = self._column(name)
        column = column.unify_dictionaries() if pa.types.is_dictionary(column.type) else column.dictionary_encode()
        if column.num_chunks == 0:
            return Codes(np.empty(0, np.int32), [])
        indices = [chunk.indices.fill_null(-1).to_numpy(zero_copy_only=False) for chunk in column.chunks]
        return Codes(np.concatenate(indices).astype(np.int32), column.chunk(0).dictionary.to_pylist())

    def between(self, since: Moment = None, until: Moment = None) -> History:
        """The transactions with since <= timestamp < until, without copying them."""
        times_ns = self.numbers("timestamp")
        first = 0 if since is None else int(np.searchsorted(times_ns, moment_ns(since)))
        last = len(times_ns) if until is None else int(np.searchsorted(times_ns, moment_ns(until)))
        return History(self.table.slice(first, max(last - first, 0)))

    def head(self, rows: int) -> History:
        """The earliest `rows` transactions."""
        return History(self.table.slice(0, rows))

    def frauds_by_campaign(self) -> dict[str, int]:
        """How many labelled frauds each campaign has; without a campaign column all of them count under ''."""
        if "is_fraud" not in self:
            return {}
        frauds = self.table.filter(pc.equal(self.table["is_fraud"], 1))
        if "campaign" not in self:
            return {"": frauds.num_rows} if frauds.num_rows else {}
        counts = frauds["campaign"].cast(pa.string()).value_counts().to_pylist()
        return dict(sorted((entry["values"] or "", entry["counts"]) for entry in counts))

    def _column(self, name: str) -> pa.ChunkedArray:
        if name not in self:
            raise DataFileError(f"expected a column {name}, this history has {', '.join(self.columns)}")
        return self.table[name]


def read_history(
    path: Path | str,
    columns_map: Mapping[str, str] | None = None,
    *,
    rows: int | None = None,
    since: Moment = None,
    until: Moment = None,
) -> History:
    """Reads a .parquet or .csv file of transactions, sorted by time (stable); one bad value refuses the file.

    `fraudstream.training.checks.read_checked` leaves bad rows out instead, and reports them.

    Args:
        path: file with at least transaction_id, user_id, amount, merchant and timestamp (text with or without offset,
            a date type, or epoch seconds or milliseconds); what has no offset counts as UTC.
        columns_map: our name -> the file's name, for files that use others.
        rows: keep only the earliest so many, counted after `since` and `until`.
        since: first moment that is kept.
        until: first moment that is not.

    Raises:
        DataFileError: no such file, columns are missing, or values cannot be read as what they should be.
        SettingsError: `since` or `until` is no time.
    """
    table = files.sorted_by_time(files.read_table(Path(path), columns_map or {}))
    history = History(table).between(since, until)
    return history if rows is None else history.head(rows)


def write(history: History, path: Path | str) -> None:
    """Writes the history as .parquet or .csv, by the suffix; `read_history` gives the same history back.

    Raises:
        DataFileError: another suffix, or the file cannot be written.
    """
    files.write_table(history.table, Path(path))


def moment_ns(moment: datetime | str) -> int:
    """Nanoseconds since 1970.

    Raises:
        SettingsError: the text is no time.
    """
    try:
        moment = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    except ValueError:
        raise SettingsError(f"expected a time such as 2013-06-21 or 2013-06-21T12:13:37Z, got {moment!r}") from None
    since_epoch = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH
    return ((since_epoch.days * 86_400 + since_epoch.seconds) * 1_000_000 + since_epoch.microseconds) * 1_000
