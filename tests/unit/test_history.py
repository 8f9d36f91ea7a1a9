"""Files of transactions: read as they are meant, refused with a clear reason, and encoded as the wire wants them."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fraudstream.errors import DataFileError, SettingsError
from fraudstream.training.history import History, encode_chunks, encode_rows, read_history, write
from fraudstream.training.simulate import SimulationSpec, simulate
from fraudstream.transaction import decode_transaction
from tests.datasets import data_set

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
NOON_S = int(NOON.timestamp())
LABELS = ("is_fraud", "campaign", "fraud_scenario")


@pytest.fixture(scope="module")
def stream() -> History:
    return simulate(SimulationSpec(5000, seed=8, fraud_rate=0.02))


def rows_of(**columns: list[Any]) -> dict[str, Any]:
    """Columns of a small file; those not named get two good values."""
    good: dict[str, Any] = {
        "transaction_id": ["t1", "t2"],
        "user_id": ["u1", "u2"],
        "amount": [12.5, 3.0],
        "merchant": ["Corner Shop", "Cinema"],
        "timestamp": ["2024-05-01T12:00:00Z", "2024-05-01T12:00:01Z"],
    }
    return {**good, **columns}


def write_csv(path: Path, columns: dict[str, Any]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path


def write_parquet(path: Path, columns: dict[str, Any], **options: Any) -> Path:
    pq.write_table(pa.table(columns), path, **options)
    return path


# Reading and writing


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_what_is_written_is_read_back(stream: History, tmp_path: Path, suffix: str) -> None:
    write(stream, tmp_path / f"stream{suffix}")
    found = read_history(tmp_path / f"stream{suffix}")
    assert found.columns == stream.columns
    for name in stream.columns:
        assert found.table[name].to_pylist() == stream.table[name].to_pylist(), name
    assert found.frauds_by_campaign() == stream.frauds_by_campaign()


def test_parquet_keeps_the_dictionaries_of_a_stream(stream: History, tmp_path: Path) -> None:
    write(stream, tmp_path / "stream.parquet")
    assert read_history(tmp_path / "stream.parquet").table.schema == stream.table.schema


@pytest.mark.parametrize("name", ["stream.json", "stream", "stream.parquet.gz"])
def test_another_suffix_is_refused(stream: History, tmp_path: Path, name: str) -> None:
    with pytest.raises(DataFileError, match=r"\.parquet or \.csv"):
        write(stream, tmp_path / name)
    with pytest.raises(DataFileError, match=r"\.parquet or \.csv"):
        read_history(tmp_path / name)
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_a_path_that_leads_nowhere_is_named(stream: History, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "absent" / f"stream{suffix}"
    with pytest.raises(DataFileError, match="absent"):
        read_history(path)
    with pytest.raises(DataFileError, match="absent"):
        write(stream, path)


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
@pytest.mark.parametrize("content", [b"", b"\x00\xff\xfe no table at all \x9f"])
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"broken{suffix}"
    path.write_bytes(content)
    with pytest.raises(DataFileError, match="broken"):
        read_history(path)


def test_missing_columns_are_named_with_what_is_there(tmp_path: Path) -> None:
    columns = rows_of()
    columns["TransactionAmt"] = columns.pop("amount")
    del columns["merchant"]
    with pytest.raises(DataFileError) as caught:
        read_history(write_csv(tmp_path / "file.csv", columns))
    assert "missing amount, merchant" in str(caught.value)
    assert "the file has transaction_id, user_id, timestamp, TransactionAmt" in str(caught.value)
    assert "--columns" in str(caught.value)


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_other_names_are_mapped_and_one_column_may_serve_two_fields(tmp_path: Path, suffix: str) -> None:
    columns = rows_of(scenario=[0, 3])
    columns["TransactionAmt"] = columns.pop("amount")
    path = (write_csv if suffix == ".csv" else write_parquet)(tmp_path / f"file{suffix}", columns)
    history = read_history(path, {"amount": "TransactionAmt", "device_id": "user_id", "campaign": "scenario"})
    assert history.numbers("amount").tolist() == [12.5, 3.0]
    assert history.table["device_id"].to_pylist() == ["u1", "u2"]
    assert history.table["campaign"].to_pylist() == ["0", "3"]


def test_a_mapping_that_cannot_be_followed_is_refused(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "file.csv", rows_of())
    with pytest.raises(DataFileError, match=r"expected names among .*; got amuont"):
        read_history(path, {"amuont": "amount"})
    with pytest.raises(DataFileError, match=r"missing category \(as kind\)"):
        read_history(path, {"category": "kind"})


def test_identifiers_of_digits_keep_every_digit(tmp_path: Path) -> None:
    ids, users = ["007", "41657269323674361149"], ["4165726932367436114", "60416207185"]
    path = write_csv(tmp_path / "file.csv", rows_of(transaction_id=ids, user_id=users, merchant=["11", "012"]))
    history = read_history(path)
    assert history.table["transaction_id"].to_pylist() == ids
    assert history.table["user_id"].to_pylist() == users
    assert history.table["merchant"].to_pylist() == ["11", "012"]


def test_numbers_as_identifiers_become_text(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "file.parquet", rows_of(transaction_id=[1, 2], user_id=[4165726932367436114, 7]))
    assert read_history(path).table["user_id"].to_pylist() == ["4165726932367436114", "7"]


@pytest.mark.parametrize("as_text", [False, True])
@pytest.mark.parametrize(
    "written",
    [
        "2024-05-01T12:00:00Z",
        "2024-05-01 12:00:00",
        "2024-05-01T14:00:00+02:00",
        "2024-05-01 12:00:00.000000+00:00",
        NOON_S,
        NOON_S * 1000,
        float(NOON_S),
        NOON,
        NOON.replace(tzinfo=None),
    ],
    ids=str,
)
def test_every_way_to_write_a_time_means_the_same_moment(tmp_path: Path, written: Any, as_text: bool) -> None:
    columns = rows_of(timestamp=[written, written])
    path = write_csv(tmp_path / "f.csv", columns) if as_text else write_parquet(tmp_path / "f.parquet", columns)
    assert read_history(path).numbers("timestamp").tolist() == [NOON_S * 1_000_000_000] * 2


def test_rows_are_sorted_by_time_and_ties_keep_their_order(tmp_path: Path) -> None:
    seconds = np.random.default_rng(1).integers(NOON_S, NOON_S + 5, 200).tolist()
    ids = [f"t{row:03d}" for row in range(200)]
    columns = {**rows_of(), **{name: [name] * 200 for name in ("user_id", "merchant")}, "amount": [1.0] * 200}
    path = write_parquet(tmp_path / "f.parquet", {**columns, "transaction_id": ids, "timestamp": seconds})
    found = read_history(path).table["transaction_id"].to_pylist()
    assert found == [identifier for _, identifier in sorted(zip(seconds, ids, strict=True))]


def test_borders_take_their_first_moment_and_leave_their_last(tmp_path: Path) -> None:
    columns = {name: values * 3 for name, values in rows_of().items()}
    columns["timestamp"] = [NOON_S + second for second in (50, 40, 30, 20, 10, 0)]
    path = write_parquet(tmp_path / "f.parquet", columns)

    def seconds(**borders: Any) -> list[int]:
        return [int(stamp // 1_000_000_000) - NOON_S for stamp in read_history(path, **borders).numbers("timestamp")]

    assert seconds(since="2024-05-01T12:00:10Z", until="2024-05-01T12:00:40") == [10, 20, 30]
    assert seconds(since=NOON.replace(second=30, tzinfo=None)) == [30, 40, 50]
    assert seconds(since="2024-05-01T14:00:10+02:00", rows=2) == [10, 20]
    assert seconds(until="2024-05-01") == []
    assert seconds(rows=99) == [0, 10, 20, 30, 40, 50]
    with pytest.raises(SettingsError, match="expected a time"):
        seconds(since="yesterday")


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("amount", float("nan")),
        ("amount", float("inf")),
        ("amount", -1.0),
        ("amount", 5e7),
        ("amount", None),
        ("user_id", None),
        ("user_id", ""),
        ("transaction_id", None),
        ("merchant", ""),
        ("timestamp", 86_400),
        ("timestamp", None),
        ("is_fraud", 2),
        ("is_fraud", None),
        ("latitude", 90.5),
        ("longitude", -181.0),
    ],
)
def test_a_value_that_cannot_be_used_is_named_with_its_column_and_row(
    tmp_path: Path, suffix: str, name: str, bad: Any
) -> None:
    good = {"timestamp": NOON_S, "is_fraud": 1, "latitude": 50.0, "longitude": 8.0}
    columns = rows_of(**{key: [value] * 2 for key, value in good.items()})
    columns[name] = [columns[name][0], bad]
    path = (write_csv if suffix == ".csv" else write_parquet)(tmp_path / f"file{suffix}", columns)
    with pytest.raises(DataFileError, match=rf"column {name}: expected .* in row 2; 1 of 2 rows"):
        read_history(path)


@pytest.mark.parametrize(
    ("name", "bad"), [("amount", "a lot"), ("timestamp", "last Tuesday"), ("is_fraud", "maybe"), ("latitude", "north")]
)
def test_a_column_of_another_kind_is_refused_by_name(tmp_path: Path, name: str, bad: str) -> None:
    columns = rows_of(latitude=[1.0, 2.0], longitude=[1.0, 2.0], is_fraud=[0, 1])
    columns[name] = [bad, bad]
    with pytest.raises(DataFileError, match=f"column {name}: expected"):
        read_history(write_csv(tmp_path / "file.csv", columns))


def test_empty_text_and_half_a_place_are_nothing(tmp_path: Path) -> None:
    nan = float("nan")
    columns = rows_of(category=["", "food"], latitude=[50.0, nan], longitude=[None, 8.0])
    history = read_history(write_parquet(tmp_path / "f.parquet", columns))
    assert history.table["category"].to_pylist() == [None, "food"]
    assert history.codes("category").codes.tolist() == [-1, 0]
    assert np.isnan(history.numbers("latitude")).all()
    assert np.isnan(history.numbers("longitude")).all()


def test_a_name_that_means_nothing_elsewhere_is_a_name(tmp_path: Path) -> None:
    columns = rows_of(user_id=["Null", "NA"], merchant=["NULL", "n/a"], latitude=["NULL", "1.5"], longitude=["", "NA"])
    history = read_history(write_csv(tmp_path / "f.csv", columns))
    assert history.table["user_id"].to_pylist() == ["Null", "NA"]
    assert history.table["merchant"].to_pylist() == ["NULL", "n/a"]
    assert np.isnan(history.numbers("latitude")).all()


def test_codes_agree_over_row_groups_with_dictionaries_of_their_own(tmp_path: Path) -> None:
    merchants = [["a", "b", "a"], ["c", "a", "b"], ["d", "c", "c"]]
    categories = [["x", "y", "x"], ["y", "", "x"], ["", "x", "y"]]
    parts = [
        pa.table(
            {
                **{name: [name] * 3 for name in ("transaction_id", "user_id")},
                "amount": [1.0] * 3,
                "merchant": pa.array(names).dictionary_encode(),
                "category": pa.array(kinds).dictionary_encode(),
                "timestamp": [NOON_S] * 3,
            }
        )
        for names, kinds in zip(merchants, categories, strict=True)
    ]
    with pq.ParquetWriter(tmp_path / "f.parquet", parts[0].schema) as writer:
        for part in parts:
            writer.write_table(part)
    history = read_history(tmp_path / "f.parquet")
    codes, names = history.codes("merchant")
    assert [names[code] for code in codes] == [name for part in merchants for name in part]
    assert len(names) == 4
    assert history.table["category"].to_pylist() == [kind or None for part in categories for kind in part]


def test_codes_agree_over_joined_histories() -> None:
    parts = [simulate(SimulationSpec(500, seed=seed)) for seed in (1, 2)]
    codes, names = History(pa.concat_tables([part.table for part in parts])).codes("device_id")
    devices = [device for part in parts for device in part.table["device_id"].to_pylist()]
    assert [None if code < 0 else names[code] for code in codes] == devices


def test_a_column_that_is_absent_is_asked_for_by_name(tmp_path: Path) -> None:
    history = read_history(write_csv(tmp_path / "f.csv", rows_of()))
    assert "category" not in history
    assert history.frauds_by_campaign() == {}
    with pytest.raises(DataFileError, match="expected a column is_fraud"):
        history.numbers("is_fraud")
    with pytest.raises(DataFileError, match="expected a column category"):
        history.codes("category")


def test_labels_without_campaigns_count_as_one(tmp_path: Path) -> None:
    history = read_history(write_csv(tmp_path / "f.csv", rows_of(is_fraud=[1, 0])))
    assert history.frauds_by_campaign() == {"": 1}


# Encoding


def test_every_message_is_the_transaction_of_its_row(stream: History) -> None:
    messages = encode_rows(stream)
    assert len(messages) == len(stream)
    for (key, value), row in zip(messages, stream.table.to_pylist(), strict=True):
        sent = decode_transaction(value)
        assert key == row["user_id"].encode()
        assert sent.time_s(4e9) == int(row["timestamp"].timestamp())
        for name in (
            "transaction_id",
            "user_id",
            "amount",
            "merchant",
            "category",
            "location",
            "device_id",
            "currency",
        ):
            assert getattr(sent, name) == row[name]
        # Not rounded: live and offline must compute with the same number.
        assert (sent.latitude, sent.longitude) == (row["latitude"], row["longitude"])


def test_messages_carry_no_label_and_no_absent_field(stream: History) -> None:
    for (_, value), place in zip(encode_rows(stream), stream.table["location"].is_valid().to_pylist(), strict=True):
        fields = json.loads(value)
        assert not set(LABELS) & set(fields)
        assert None not in fields.values()
        assert {"location", "latitude", "longitude"} <= set(fields) or not place


def test_messages_do_not_depend_on_the_chunk(stream: History) -> None:
    whole = encode_rows(stream)
    chunks = list(encode_chunks(stream, rows=777))
    assert [len(chunk) for chunk in chunks] == [777] * 6 + [338]
    assert [message for chunk in chunks for message in chunk] == whole
    assert encode_rows(stream.head(0)) == []


def test_text_of_any_kind_and_fractions_of_a_second_survive_the_wire(tmp_path: Path) -> None:
    merchant = 'Joe\'s "Café" \\ 東京'
    times = ["2024-05-01T12:00:00.250Z", "2024-05-01T12:00:01Z"]
    history = read_history(write_csv(tmp_path / "f.csv", rows_of(merchant=[merchant] * 2, timestamp=times)))
    first, second = (json.loads(value) for _, value in encode_rows(history))
    assert first["merchant"] == merchant
    assert first["timestamp"] == "2024-05-01T12:00:00.250000Z"
    assert second == {
        **dict(zip(rows_of(), (values[1] for values in rows_of().values()), strict=True)),
        "merchant": merchant,
    }


def test_a_core_encodes_faster_than_a_worker_can_read() -> None:
    """A worker reads some 100,000 a second; the bound leaves room for a machine that is busy with other tests."""
    history = simulate(SimulationSpec(60_000, seed=1))

    def rows_per_cpu_second() -> float:
        began_s = time.process_time()
        rows = sum(len(chunk) for chunk in encode_chunks(history))
        return rows / (time.process_time() - began_s)

    assert max(rows_per_cpu_second() for _ in range(3)) > 150_000


# The labelled data sets


def test_the_largest_data_set_is_read_in_time_order_within_its_memory() -> None:
    program = (
        "import numpy as np, pathlib, re\n"
        "from fraudstream.training.history import read_history\n"
        f"history = read_history({str(data_set('sparkov_a.parquet'))!r})\n"
        "assert np.all(np.diff(history.numbers('timestamp')) >= 0)\n"
        "print(len(history), history.frauds_by_campaign()[''])\n"
        # Not ru_maxrss: a child begins with that of the process that started it.
        "status = pathlib.Path('/proc/self/status').read_text()\n"
        "print(int(re.search(r'VmHWM:\\s+(\\d+) kB', status)[1]) * 1024)\n"
    )
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root}
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, env=environment)
    rows, frauds, peak_bytes = map(int, done.stdout.split())
    assert rows == 1_864_102
    assert frauds / rows == pytest.approx(0.00525, abs=5e-5)
    assert peak_bytes < 1e9


def test_a_data_set_without_places_gives_messages_without_places() -> None:
    path = data_set("handbook.parquet")
    history = read_history(path, {"campaign": "fraud_scenario"}, since="2018-07-11", until="2018-07-12")
    assert set(history.frauds_by_campaign()) == {"1", "2", "3"}
    messages = encode_rows(history)
    assert len(messages) == len(history) > 5000
    assert set(json.loads(messages[0][1])) == {"transaction_id", "user_id", "amount", "merchant", "timestamp"}
