"""What cannot be read is found in its row and told in words, in a file of any length."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudstream.errors import DataFileError
from fraudstream.training.history import read_history
from fraudstream.training.unreadable import first_unreadable

HEADER = "transaction_id,user_id,amount,merchant,timestamp"
GOOD = "t{},u1,12.5,Shop,2025-01-06T00:00:00Z"
ROWS = 30


def csv_with(path: Path, row: int, line: str, header: str = HEADER) -> Path:
    """A file of good rows but this one, counted from 1."""
    lines = [GOOD.format(at) for at in range(ROWS)]
    lines[row - 1] = line
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


@settings(max_examples=60, deadline=None)
@given(
    chunks=st.lists(st.lists(st.sampled_from(["1", "2.5", "", "x", "12,50"]), max_size=9), max_size=5),
)
def test_the_first_value_that_cannot_be_read_is_found(chunks: list[list[str]]) -> None:
    column = pa.chunked_array(chunks, pa.string())
    values = [value for chunk in chunks for value in chunk]
    bad = [at for at, value in enumerate(values) if value in ("", "x", "12,50")]
    told = first_unreadable(column, lambda part: part.cast(pa.float64()))
    assert told == (f"{values[bad[0]]!r} in row {bad[0] + 1}" if bad else "")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("t,u1,$12.50,Shop,2025-01-06T00:00:00Z", r"column amount: .*, got '\$12.50' in row 17; correct or remove it"),
        ("t,u1,12.5,Shop,yesterday", r"column timestamp: .*, got 'yesterday' in row 17; correct or remove it"),
        ("t,u1,12.5,Shop,Ltd,2025-01-06T00:00:00Z", "row 17 with 6 columns where the header has 5; put a text"),
        ("t,u1,12.5", "row 17 with 3 columns where the header has 5"),
    ],
)
def test_a_row_that_cannot_be_read_is_named(tmp_path: Path, line: str, says: str) -> None:
    with pytest.raises(DataFileError, match=says):
        read_history(csv_with(tmp_path / "f.csv", 17, line))


def test_a_text_column_in_the_place_of_numbers_is_named_by_its_first_value(tmp_path: Path) -> None:
    with pytest.raises(DataFileError, match=r"column merchant: expected numbers .* got 'Shop' in row 1"):
        read_history(csv_with(tmp_path / "f.csv", 1, GOOD), {"amount": "merchant"})


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_column_that_is_there_twice_is_refused(tmp_path: Path, suffix: str) -> None:
    path = csv_with(tmp_path / "f.csv", 1, GOOD + ",3", header=HEADER + ",amount")
    path.write_text(path.read_text().replace("Z\n", "Z,4\n"), encoding="utf-8")
    if suffix == ".parquet":
        arrays = [pa.array(["t"]), pa.array(["u"]), pa.array([1.0]), pa.array(["m"]), pa.array([1.7e9])]
        path = path.with_suffix(suffix)
        pq.write_table(pa.Table.from_arrays([*arrays, pa.array([2.0])], names=[*HEADER.split(","), "amount"]), path)
    with pytest.raises(DataFileError, match="expected each column once, got amount more than once"):
        read_history(path)


@pytest.mark.parametrize(("separator", "words"), [(";", "semicolons"), ("\t", "tabs")])
def test_another_separator_is_recognised(tmp_path: Path, separator: str, words: str) -> None:
    path = csv_with(tmp_path / "f.csv", 1, GOOD)
    path.write_text(path.read_text().replace(",", separator), encoding="utf-8")
    with pytest.raises(DataFileError, match=f"separated by {words}; write it with commas"):
        read_history(path)


def test_another_encoding_is_recognised(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_bytes(csv_with(path, 1, GOOD).read_text().replace("Shop", "Café").encode("latin-1"))
    with pytest.raises(DataFileError, match="save it as UTF-8"):
        read_history(path)
