"""A report names what a history lacks, with counts, and refuses the rows that a live worker would refuse, no others."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudstream.errors import DataFileError, RefusedInput
from fraudstream.features.catalogue import FEATURE_NAMES
from fraudstream.state.event import hash16
from fraudstream.training.checks import DataReport, blind_features, check, read_checked
from fraudstream.training.files import FIELDS
from fraudstream.training.history import History, write
from fraudstream.training.refusals import find_refusals
from fraudstream.training.simulate import SimulationSpec, simulate
from fraudstream.training.times import read_times
from fraudstream.transaction import decode_transaction
from tests.datasets import data_set

NOON_S = 1_714_564_800
NS_PER_S = 1_000_000_000
GOOD = {
    "transaction_id": "t",
    "user_id": "u",
    "amount": 12.5,
    "merchant": "Cinema",
    "category": "fun",
    "location": "Rome",
    "latitude": 41.9,
    "longitude": 12.5,
    "device_id": "d",
    "timestamp": NOON_S * NS_PER_S,
    "currency": "EUR",
}


def table_of(rows: list[dict[str, Any]]) -> pa.Table:
    """Typed as a file is after reading."""
    columns = {}
    for name, kind in FIELDS.items():
        if name in GOOD:
            values = [row[name] for row in rows]
            plain = pa.array(values, pa.string() if pa.types.is_dictionary(kind) else None if values else kind)
            columns[name] = plain.cast(pa.int64()).cast(kind) if name == "timestamp" else plain.cast(kind)
    return pa.table(columns)


def dead_letter(row: dict[str, Any], now_s: float) -> RefusedInput | None:
    """What a worker says of the row, as a message."""
    message = {name: value for name, value in row.items() if value is not None}
    if "timestamp" in message:
        message["timestamp"] //= NS_PER_S
    try:
        decode_transaction(json.dumps(message).encode()).time_s(now_s)
    except RefusedInput as refused:
        return refused
    # A stream has the broker's time to fall back on, a file has nothing.
    return None if "timestamp" in message else RefusedInput("missing_field", "")


def file_of(path: Path, **changed: list[Any]) -> Path:
    """A small file with good values in every row but where `changed` says otherwise; None drops a column."""
    rows = max(map(len, changed.values()), default=4)
    columns: dict[str, Any] = {name: [value] * rows for name, value in GOOD.items()}
    columns["transaction_id"] = [f"t{row}" for row in range(rows)]
    columns["timestamp"] = [NOON_S + row for row in range(rows)]
    pq.write_table(pa.table({**columns, **changed}), path)
    return path


def said(report: DataReport) -> dict[str, tuple[str, str]]:
    return {what: (rows, done) for what, rows, done in report.lines()}


# Rows that are left out

ids = st.sampled_from(["t", "", None, "x" * 128, "x" * 129, "\x07", "é" * 128, "a\tb"])
texts = st.sampled_from(["food", None, "x" * 256, "x" * 257, "\x7f", "東" * 256, "a\nb"])
merchants = texts | st.just("")
floats = st.sampled_from([0.0, 12.5, -0.01, 42_949_672.95, 42_949_672.96, float("nan"), float("inf"), None])
places = st.sampled_from([(1.0, 2.0), (None, None), (90.5, 0.0), (-90.0, 180.0), (0.0, -180.5), (float("inf"), 1.0)])
moments = st.sampled_from([NOON_S, None, 0, 946_684_799, 946_684_800, NOON_S + 86_400, NOON_S + 86_401, -5])


@st.composite
def odd_rows(draw: st.DrawFn) -> dict[str, Any]:
    latitude, longitude = draw(places)
    moment = draw(moments)
    row = {
        "transaction_id": draw(ids),
        "user_id": draw(ids),
        "amount": draw(floats),
        "merchant": draw(merchants),
        "category": draw(texts),
        "location": draw(texts),
        "device_id": draw(texts),
        "latitude": latitude,
        "longitude": longitude,
        "timestamp": None if moment is None else moment * NS_PER_S,
        "currency": draw(st.sampled_from(["EUR", None, "EU", "EURO"])),
    }
    # Most rows with one or two faults: with ten, the first one hides the rest.
    kept = draw(st.sets(st.sampled_from(sorted(row)), min_size=8))
    if kept & {"latitude", "longitude"}:
        kept |= {"latitude", "longitude"}
    return {**row, **{name: GOOD[name] for name in kept}}


@given(st.lists(odd_rows(), min_size=1, max_size=12))
@settings(max_examples=150, deadline=None)
def test_the_rows_that_a_worker_would_refuse_are_left_out_for_the_same_reason(rows: list[dict[str, Any]]) -> None:
    refused, found = find_refusals(table_of(rows), NOON_S)
    expected = [dead_letter(row, NOON_S) for row in rows]
    assert refused.tolist() == [letter is not None for letter in expected]
    counted: dict[str, int] = {}
    for refusal in found:
        counted[refusal.reason] = counted.get(refusal.reason, 0) + refusal.rows
        letter = expected[refusal.first_row - 1]
        assert letter is not None
        assert refusal.reason == letter.reason
        assert refusal.detail.startswith(f"{refusal.field}: expected ")
        assert letter.detail in ("", refusal.detail)
    reasons = [letter.reason for letter in expected if letter is not None]
    assert counted == {reason: reasons.count(reason) for reason in reasons}


def test_a_table_without_rows_has_nothing_to_refuse() -> None:
    refused, found = find_refusals(table_of([]), NOON_S)
    assert (len(refused), found) == (0, ())


def test_refused_rows_are_counted_with_the_first_of_them_and_the_rest_is_kept(tmp_path: Path) -> None:
    amounts = [5.0, -1.0, float("nan"), -2.0, 7.0]
    history, report = read_checked(file_of(tmp_path / "f.parquet", amount=amounts))
    assert history.table["transaction_id"].to_pylist() == ["t0", "t4"]
    assert (report.rows, report.used, report.left_out) == (5, 2, 3)
    assert [(refusal.reason, refusal.rows, refusal.first_row) for refusal in report.refused] == [
        ("not_finite", 1, 3),
        ("out_of_range", 2, 2),
    ]
    assert said(report)["left out: out_of_range"] == (
        "2",
        "row 2: amount: expected a number from 0 to 42949672.95, got -1.0",
    )


def test_a_time_is_in_the_future_a_day_after_the_clock_of_the_reader(tmp_path: Path) -> None:
    path = file_of(tmp_path / "f.parquet", timestamp=[NOON_S, NOON_S + 86_401])
    assert [refusal.reason for refusal in read_checked(path, now_s=NOON_S)[1].refused] == ["absurd_time"]
    assert read_checked(path)[1].refused == ()


def test_a_file_with_nothing_to_use_is_refused_and_says_why(tmp_path: Path) -> None:
    with pytest.raises(DataFileError, match=r"all 2 rows are refused, 2 of them as row 1 is \(out_of_range: amount"):
        read_checked(file_of(tmp_path / "f.parquet", amount=[-1.0, -2.0]))
    with pytest.raises(DataFileError, match="a file without rows"):
        read_checked(file_of(tmp_path / "g.parquet", amount=pa.array([], pa.float64())))
    with pytest.raises(DataFileError, match=r"within --since 2031-01-01, got none: the file's are from 2024-05-01"):
        read_checked(file_of(tmp_path / "h.parquet"), since="2031-01-01")


# What is said about the others


def test_unsorted_and_naive_times_are_put_right_and_counted(tmp_path: Path) -> None:
    times = ["2024-05-01 12:00:03", "2024-05-01T12:00:01Z", "2024-05-01T12:00:02", "2024-05-01T14:00:04+02:00"]
    history, report = read_checked(file_of(tmp_path / "f.parquet", timestamp=times))
    assert history.table["transaction_id"].to_pylist() == ["t1", "t2", "t0", "t3"]
    assert (report.unsorted, report.naive_times) == (2, 2)
    assert said(report)["times without an offset"] == ("2", "taken as UTC; live messages need one")


@pytest.mark.parametrize("written", ["9999-12-31T00:00:00Z", "9999-12-31 00:00:00", 2**62, -(2**62), 1e300])
def test_a_time_beyond_every_calendar_is_one_bad_row_and_not_a_bad_file(written: Any) -> None:
    column = pa.chunked_array([[written, None]])
    moment = read_times(column).column
    assert moment.null_count == 1
    table = table_of([GOOD, GOOD]).set_column(list(FIELDS).index("timestamp"), "timestamp", moment)
    assert [refusal.reason for refusal in find_refusals(table, NOON_S)[1]] == ["missing_field", "absurd_time"]


def test_an_id_that_comes_again_is_a_duplicate_of_its_user_only(tmp_path: Path) -> None:
    names, users = ["a", "a", "a", "b", "b"], ["u", "u", "v", "w", "x"]
    report = read_checked(file_of(tmp_path / "f.parquet", transaction_id=names, user_id=users))[1]
    assert (report.duplicates, report.shared_ids) == (1, 2)


def test_absent_columns_are_told_with_the_features_that_are_blind_without_them(tmp_path: Path) -> None:
    path = tmp_path / "f.parquet"
    pq.write_table(
        pq.read_table(file_of(path, category=["", None, "fun", "fun"])).drop_columns(["device_id", "latitude"]), path
    )
    report = read_checked(path)[1]
    columns = {column.name: column for column in report.columns}
    assert "device_is_new" in columns["device_id"].blind
    assert "speed_kmh" in columns["latitude and longitude"].blind
    assert (columns["category"].rows, columns["category"].blind) == (2, ())
    assert report.empty_texts == {"category": 1}
    assert said(report)["without category"][0] == "2"
    assert "blind without it: " in said(report)["no device_id"][1]


def test_a_feature_is_blind_without_the_column_that_it_is_about() -> None:
    assert {"device_is_new", "device_visits_30d"} <= set(blind_features("device_id"))
    assert {"distance_km", "speed_kmh"} <= set(blind_features("latitude", "longitude"))
    everything = {name for columns in (("category",), ("location",)) for name in blind_features(*columns)}
    assert everything < set(FEATURE_NAMES)
    assert not {"log_amount", "merchant_is_new", "count_24h"} & everything


def test_half_a_place_and_columns_that_nothing_reads_are_told(tmp_path: Path) -> None:
    path = file_of(tmp_path / "f.parquet", latitude=[1.0, None, None], longitude=[1.0, 2.0, None], mood=["?"] * 3)
    report = read_checked(path)[1]
    assert (report.half_places, report.unread) == (1, ("mood",))


def test_labels_are_counted_where_there_are_some(tmp_path: Path) -> None:
    assert read_checked(file_of(tmp_path / "f.parquet", is_fraud=[0, 1, 0, 1]))[1].frauds == 2
    report = read_checked(file_of(tmp_path / "g.parquet"))[1]
    assert report.frauds is None
    assert said(report)["labels"] == ("none", "not needed to train")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"user_id": ["u"] * 3}, "all transactions are of one user"),
        ({"user_id": ["u", "v", "w"]}, "every user has one transaction"),
        ({"amount": [9.0] * 3}, "all amounts are the same"),
        ({"merchant": ["m"] * 3}, "with one merchant"),
        ({"timestamp": [NOON_S - 43_200 + day * 86_400 for day in (0, 1, 40)]}, "midnight"),
        ({"timestamp": [NOON_S, NOON_S + 9, NOON_S + 29 * 86_400]}, "less than 30 days"),
        ({"currency": ["EUR", "USD", None]}, "2 currencies"),
        ({"device_id": ["d", "NULL", "e"]}, "device_id says NULL, read as any other text"),
    ],
)
def test_what_is_allowed_but_seldom_meant_is_told(tmp_path: Path, changed: dict[str, list[Any]], words: str) -> None:
    ordinary: dict[str, list[Any]] = {
        "user_id": ["u", "v", "u"],
        "amount": [1.0, 2.0, 3.0],
        "merchant": ["m", "n", "m"],
        "timestamp": [NOON_S, NOON_S + 9, NOON_S + 40 * 86_400],
    }
    assert read_checked(file_of(tmp_path / "good.parquet", **ordinary))[1].odd == ()
    (sentence,) = read_checked(file_of(tmp_path / "odd.parquet", **{**ordinary, **changed}))[1].odd
    assert words in sentence


def test_categories_that_a_model_never_learnt_are_counted(tmp_path: Path) -> None:
    path = file_of(tmp_path / "f.parquet", category=["food", "toys", "toys", None, "fuel"])
    known = np.array([hash16("food")], np.uint32)
    report = read_checked(path, vocabulary=known)[1]
    assert report.unknown_categories == {"toys": 2, "fuel": 1}
    assert said(report)["unknown categories"] == (
        "3",
        "not learnt by the model, judged by what everybody pays: toys, fuel",
    )
    assert read_checked(path)[1].unknown_categories is None


def test_a_history_that_is_there_already_is_reported_and_left_as_it_is() -> None:
    history = simulate(SimulationSpec(2000, seed=8))
    report = check(history)
    assert (report.rows, report.used, report.left_out, report.odd) == (2000, 2000, 0, ())
    assert report.frauds == history.numbers("is_fraud").sum()
    assert check(history, now_s=NOON_S).left_out == 2000  # the stream begins in 2025
    assert json.loads(json.dumps(report.as_json()))["used"] == 2000


def test_borders_leave_rows_outside_and_count_them(tmp_path: Path) -> None:
    write(simulate(SimulationSpec(2000, seed=8)), tmp_path / "s.parquet")
    history, report = read_checked(tmp_path / "s.parquet", until="2025-02-01")
    assert report.used + report.outside == report.rows == 2000
    assert report.used == len(history) == len(History(history.table).between(until="2025-02-01"))
    assert report.outside > 0


def test_a_refused_row_counts_only_within_the_borders_or_where_it_has_no_time(tmp_path: Path) -> None:
    times = [NOON_S, NOON_S + 10, NOON_S + 20, None, NOON_S + 40, NOON_S + 50]
    amounts = [-1.0, 5.0, -2.0, 6.0, -3.0, 7.0]
    path = file_of(tmp_path / "f.parquet", timestamp=times, amount=amounts)
    since, until = (datetime.fromtimestamp(NOON_S + second, UTC) for second in (5, 30))
    history, report = read_checked(path, since=since, until=until)
    assert history.table["transaction_id"].to_pylist() == ["t1"]
    assert [(refusal.reason, refusal.rows, refusal.first_row) for refusal in report.refused] == [
        ("out_of_range", 1, 3),
        ("missing_field", 1, 4),
    ]
    assert (report.rows, report.used, report.left_out, report.outside) == (6, 1, 2, 3)


@pytest.mark.slow
def test_a_year_of_payments_is_checked_in_seconds() -> None:
    path = data_set("sparkov_a.parquet")
    blind_features("device_id")
    started_s = time.perf_counter()
    _, report = read_checked(path)
    assert time.perf_counter() - started_s < 15  # about 3 on a quiet machine
    assert (report.used, report.users, report.left_out, report.duplicates) == (1_864_102, 998, 0, 0)
