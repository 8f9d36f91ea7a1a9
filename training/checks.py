"""Says what a history lacks and what is odd about it, with counts, before hours are spent on it.

Rows that a live worker would send to dead-letters are left out here as well, and counted with the same reasons.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fraudstream.errors import DataFileError
from fraudstream.features.catalogue import FEATURE_NAMES
from fraudstream.state.event import hash16
from fraudstream.training import files
from fraudstream.training.history import History, Moment, moment_ns
from fraudstream.training.reference import fit_reference
from fraudstream.training.refusals import Refusal, find_refusals
from fraudstream.training.replay import replay_features
from fraudstream.training.simulate import SimulationSpec, simulate
from fraudstream.training.times import NS_PER_S

_DAY_NS = 86_400 * NS_PER_S
_LONGEST_WINDOW_DAYS = 30

_OPTIONAL = (("category",), ("location",), ("device_id",), ("latitude", "longitude"))
"""Optional columns that features read; coordinates come together."""
_PROBE = SimulationSpec(transactions=600, users=8, seed=3)
"""A stream with every column, to see which features stand still without one."""

REPORT_COLUMNS = ("data", "rows", "")
"""Headings of `DataReport.lines`."""


@dataclass(frozen=True, slots=True)
class Column:
    """An optional column.

    Attributes:
        name: of the column, or of both coordinates.
        rows: that have a value.
        blind: features that are the same for every transaction without it; named where no row has a value.
    """

    name: str
    rows: int
    blind: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DataReport:
    """What is in a history, and what became of the rest of its file.

    Attributes:
        rows: in the file.
        used: rows that are left; what follows is about them, unless it says otherwise.
        outside: rows before `since` or from `until` on, usable or not.
        refused: rows within these borders, or without a time, that a live worker would refuse, by reason.
        unsorted: rows of the file that came after a later one; they were put in their place.
        naive_times: rows of the file without an offset, taken as UTC.
        empty_texts: optional column -> rows of the file with an empty text, taken as absent.
        half_places: rows of the file with one coordinate only, taken as without a place.
        unread: columns of the file that nothing reads.
        duplicates: rows whose transaction_id the same user had before.
        shared_ids: rows whose transaction_id only another user had before.
        users: how many.
        merchants: how many.
        first_event_time: None without rows.
        last_event_time: the same.
        columns: the optional ones that features read.
        frauds: labelled ones; None without labels.
        unknown_categories: category -> rows, of those that a model never learnt; None where no model was asked.
        odd: sentences about what is allowed but seldom meant.
    """

    rows: int
    used: int
    outside: int
    refused: tuple[Refusal, ...]
    unsorted: int
    naive_times: int
    empty_texts: dict[str, int]
    half_places: int
    unread: tuple[str, ...]
    duplicates: int
    shared_ids: int
    users: int
    merchants: int
    first_event_time: datetime | None
    last_event_time: datetime | None
    columns: tuple[Column, ...]
    frauds: int | None
    unknown_categories: dict[str, int] | None
    odd: tuple[str, ...]

    @property
    def left_out(self) -> int:
        """Rows that are refused, of all reasons."""
        return sum(refusal.rows for refusal in self.refused)

    def as_json(self) -> dict[str, Any]:
        """The same for machines."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        return found

    def lines(self) -> Iterator[tuple[str, str, str]]:
        """What a person should know, under REPORT_COLUMNS: what, how many rows, and what is done about it."""
        yield "used", f"{self.used:,}", self._span()
        for refusal in self.refused:
            yield f"left out: {refusal.reason}", f"{refusal.rows:,}", f"row {refusal.first_row:,}: {refusal.detail}"
        told = (
            ("outside --since/--until", self.outside, "not read"),
            ("out of order", self.unsorted, "sorted by time"),
            ("times without an offset", self.naive_times, "taken as UTC; live messages need one"),
            *((f"empty {name}", rows, "taken as absent") for name, rows in self.empty_texts.items()),
            ("one coordinate only", self.half_places, "taken as no place"),
            ("duplicates", self.duplicates, "same user and transaction_id: count once in profiles, are not learnt"),
            ("shared ids", self.shared_ids, "transaction_id of another user's payment: taken as different payments"),
        )
        yield from ((what, f"{rows:,}", done) for what, rows, done in told if rows)
        for column in self.columns:
            if column.rows == 0:
                yield f"no {column.name}", f"{self.used:,}", f"blind without it: {', '.join(column.blind)}"
            elif column.rows < self.used:
                yield f"without {column.name}", f"{self.used - column.rows:,}", "absent in these rows"
        yield "labels", *self._labels()
        if self.unknown_categories:
            names = ", ".join(list(self.unknown_categories)[:5])
            yield (
                "unknown categories",
                f"{sum(self.unknown_categories.values()):,}",
                f"not learnt by the model, judged by what everybody pays: {names}",
            )
        if self.unread:
            yield "other columns", "", f"not read: {', '.join(self.unread)}; name them with --columns OURS=THEIRS"
        yield from (("odd", "", sentence) for sentence in self.odd)

    def _span(self) -> str:
        if self.first_event_time is None or self.last_event_time is None:
            return f"of {self.rows:,}"
        days = (self.last_event_time - self.first_event_time).days
        return (
            f"of {self.rows:,}; {self.users:,} users, {self.merchants:,} merchants, "
            f"{self.first_event_time:%Y-%m-%d} to {self.last_event_time:%Y-%m-%d} ({days:,} days)"
        )

    def _labels(self) -> tuple[str, str]:
        if self.frauds is None:
            return "none", "not needed to train"
        return f"{self.frauds:,}", f"frauds, {self.frauds / max(self.used, 1):.3%}; never read in training"


def read_checked(
    path: Path | str,
    columns_map: Mapping[str, str] | None = None,
    *,
    since: Moment = None,
    until: Moment = None,
    vocabulary: NDArray[np.uint32] | None = None,
    now_s: float | None = None,
) -> tuple[History, DataReport]:
    """Reads a file as `read_history` does, but leaves out the rows that a live worker would refuse, and reports.

    Args:
        path: a .parquet or .csv file.
        columns_map: our name -> the file's, for files that use others.
        since: first moment that is kept.
        until: first moment that is not.
        vocabulary: category hashes that a model knows, to report what it does not.
        now_s: seconds since 1970; times more than a day after it are refused. Default: the clock's.

    Raises:
        DataFileError: the file cannot be read, lacks columns, or has no row that can be used.
        SettingsError: `since` or `until` is no time.
    """
    loaded = files.load_table(Path(path), columns_map or {})
    now_s = time.time() if now_s is None else now_s
    refused, refusals = find_refusals(loaded.table, now_s, _within(loaded.table, since, until))
    table = loaded.table.filter(pa.array(~refused)) if refused.any() else loaded.table
    if table.num_rows == 0:
        _, refusals = find_refusals(loaded.table, now_s)
        raise DataFileError(f"{path}: expected transactions, got {_nothing_but(loaded.table.num_rows, refusals)}")
    whole, unsorted = _in_order(table)
    history = whole.between(since, until)
    if len(history) == 0:
        first, last = whole.numbers("timestamp")[[0, -1]]
        borders = " ".join(f"{name} {moment}" for name, moment in (("--since", since), ("--until", until)) if moment)
        raise DataFileError(
            f"{path}: expected transactions within {borders}, got none: the file's are from {_moment(first)} to "
            f"{_moment(last)}; choose other borders"
        )
    report = dataclasses.replace(
        _report(history, vocabulary),
        rows=loaded.table.num_rows,
        outside=loaded.table.num_rows - len(history) - sum(refusal.rows for refusal in refusals),
        refused=refusals,
        unsorted=unsorted,
        naive_times=loaded.naive_rows,
        empty_texts=loaded.empty_texts,
        half_places=loaded.half_places,
        unread=loaded.unread,
    )
    return history, report


def check(history: History, vocabulary: NDArray[np.uint32] | None = None, *, now_s: float | None = None) -> DataReport:
    """Reports on a history that is there already; rows that a live worker would refuse are counted and stay in it.

    Args:
        history: any.
        vocabulary: category hashes that a model knows, to report what it does not.
        now_s: seconds since 1970; times more than a day after it are refused. Default: the clock's.
    """
    _, refusals = find_refusals(history.table, time.time() if now_s is None else now_s)
    return dataclasses.replace(_report(history, vocabulary), refused=refusals)


def blind_features(*columns: str) -> tuple[str, ...]:
    """Features that tell nothing without these columns: on a probe they vary with them and stand still without."""
    return _blind(columns)


@cache
def _blind(columns: tuple[str, ...]) -> tuple[str, ...]:
    probe = simulate(_PROBE)
    lateness_s = 0  # the probe is in order, so any will do
    with_them, without = (
        replay_features(history, lateness_s, fit_reference(history)).features
        for history in (probe, History(probe.table.drop_columns(list(columns))))
    )
    stands_still = (without == without[:1]).all(axis=0) & ~(with_them == with_them[:1]).all(axis=0)
    return tuple(name for name, still in zip(FEATURE_NAMES, stands_still, strict=True) if still)


def _report(history: History, vocabulary: NDArray[np.uint32] | None) -> DataReport:
    duplicates, shared_ids = _repeated_ids(history)
    times_ns = history.numbers("timestamp")
    return DataReport(
        rows=len(history),
        used=len(history),
        outside=0,
        refused=(),
        unsorted=0,
        naive_times=0,
        empty_texts={},
        half_places=0,
        unread=(),
        duplicates=duplicates,
        shared_ids=shared_ids,
        users=_distinct(history, "user_id"),
        merchants=_distinct(history, "merchant"),
        first_event_time=_moment(times_ns[0]) if len(times_ns) else None,
        last_event_time=_moment(times_ns[-1]) if len(times_ns) else None,
        columns=tuple(_column(history, names) for names in _OPTIONAL),
        frauds=int(history.numbers("is_fraud").sum()) if "is_fraud" in history else None,
        unknown_categories=None if vocabulary is None else unknown_categories(history, vocabulary),
        odd=tuple(_odd(history, times_ns)),
    )


def _column(history: History, names: tuple[str, ...]) -> Column:
    there = all(name in history for name in names)
    rows = len(history) - history.table[names[0]].null_count if there else 0
    return Column(" and ".join(names), rows, blind_features(*names) if rows == 0 else ())


def _repeated_ids(history: History) -> tuple[int, int]:
    """Rows whose id the same user had before, and rows whose id only another user had."""
    repeated = len(history) - _distinct(history, "transaction_id")
    if repeated == 0:
        return 0, 0
    pairs = history.table.select(["user_id", "transaction_id"]).group_by(["user_id", "transaction_id"]).aggregate([])
    of_one_user = len(history) - pairs.num_rows
    return of_one_user, repeated - of_one_user


def unknown_categories(history: History, vocabulary: NDArray[np.uint32]) -> dict[str, int]:
    """Categories that are not among these hashes -> rows, most frequent first: judged by what everybody pays."""
    if "category" not in history:
        return {}
    codes, names = history.codes("category")
    known = set(vocabulary.tolist())
    rows = np.bincount(codes[codes >= 0], minlength=len(names))
    unknown = {name: int(rows[at]) for at, name in enumerate(names) if rows[at] and hash16(name) not in known}
    return dict(sorted(unknown.items(), key=lambda entry: -entry[1]))


def _odd(history: History, times_ns: NDArray[np.int64]) -> Iterator[str]:
    rows = len(history)
    if rows <= 1:
        return
    users = _distinct(history, "user_id")
    if users == 1:
        yield "all transactions are of one user: is user_id the right column?"
    elif users == rows:
        yield "every user has one transaction, so no profile ever fills: is user_id the right column?"
    if _distinct(history, "amount") == 1:
        yield "all amounts are the same: is amount the right column?"
    if _distinct(history, "merchant") == 1:
        yield "all transactions are with one merchant: is merchant the right column?"
    if not np.any(times_ns % _DAY_NS):
        yield "all times are at midnight: dates without a time of day hide the order of a day and its hours"
    if times_ns[-1] - times_ns[0] < _LONGEST_WINDOW_DAYS * _DAY_NS:
        yield f"the transactions span less than {_LONGEST_WINDOW_DAYS} days, so the longest window never fills"
    for name in filter(history.__contains__, files.OPTIONAL_TEXTS):
        codes, texts = history.codes(name)
        words = [word for word in files.NULL_WORDS if word in texts and np.any(codes == texts.index(word))]
        if words:
            yield f"{name} says {' and '.join(words)}, read as any other text: leave it empty where there is none"
    if "currency" in history and _distinct(history, "currency") > 1:
        yield f"{_distinct(history, 'currency')} currencies: amounts are compared as they are, nothing is converted"


def _distinct(history: History, name: str) -> int:
    column = history.table[name]
    if pa.types.is_dictionary(column.type):
        codes, _ = history.codes(name)
        return int(np.count_nonzero(np.bincount(codes[codes >= 0])))
    return int(pc.count_distinct(column).as_py())


def _in_order(table: pa.Table) -> tuple[History, int]:
    """The table sorted by time, and how many of its rows came after a later one."""
    times_ns = table["timestamp"].cast(pa.int64()).to_numpy()
    unsorted = int(np.count_nonzero(times_ns < np.maximum.accumulate(times_ns)))
    return History(files.sorted_by_time(table)), unsorted


def _within(table: pa.Table, since: Moment, until: Moment) -> NDArray[np.bool_] | None:
    """Rows within the borders or without a time; None where there is no border."""
    if since is None and until is None:
        return None
    times = table["timestamp"]
    times_ns = times.cast(pa.int64()).fill_null(0).to_numpy()
    is_outside = np.zeros(len(times_ns), np.bool_)
    if since is not None:
        is_outside |= times_ns < moment_ns(since)
    if until is not None:
        is_outside |= times_ns >= moment_ns(until)
    inside: NDArray[np.bool_] = ~is_outside | times.is_null().to_numpy()
    return inside


def _nothing_but(rows: int, refusals: tuple[Refusal, ...]) -> str:
    if rows == 0:
        return "a file without rows"
    most = max(refusals, key=lambda refusal: refusal.rows)
    return (
        f"none that can be used: all {rows:,} rows are refused, {most.rows:,} of them as row {most.first_row:,} is "
        f"({most.reason}: {most.detail})"
    )


def _moment(time_ns: np.int64) -> datetime:
    return datetime.fromtimestamp(int(time_ns) // NS_PER_S, UTC)
