"""`fraudstream evaluate` with any file: what is odd is told with counts, what cannot be used ends in one clear line."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fraudstream.cli.main import main
from fraudstream.score.artifact import DEFAULT_MODEL
from fraudstream.training.history import write
from fraudstream.training.simulate import SimulationSpec, simulate
from tests.command_line import assert_one_line

ROWS, FIRST_JUDGED = 2000, 1300

Lines = list[dict[str, str]]

pytestmark = pytest.mark.usefixtures("plain_environment")


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> Lines:
    """A good file, row by row, as text, with frauds in what is judged; do not change it."""
    path = tmp_path_factory.mktemp("good") / "good.csv"
    write(simulate(SimulationSpec(transactions=ROWS, users=20, seed=3)), path)
    with path.open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    for row in found[FIRST_JUDGED + 50 :: 100]:
        row["is_fraud"] = "1"
    return found


def evaluated(tmp_path: Path, rows: Lines, since: str) -> tuple[Result, Path]:
    source, told = tmp_path / "f.csv", tmp_path / "told.json"
    with source.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    options = ["--model", str(DEFAULT_MODEL), "--input", str(source), "--since", since, "--json", str(told)]
    return CliRunner().invoke(main, ["evaluate", *options], env={}), told


def test_what_is_odd_is_told_and_rows_that_a_worker_would_refuse_are_left_out(tmp_path: Path, lines: Lines) -> None:
    since = lines[FIRST_JUDGED]["timestamp"]
    bad = [dict(row) for row in lines]
    for at in range(1500, 1510):
        bad[at]["amount"] = "-3.5"
    for at in range(1600, 1640):
        bad[at]["category"] = "spaceships"
    bad += [dict(row) for row in lines[1700:1705]]
    ended, told = evaluated(tmp_path, bad, since)
    assert ended.exit_code == 0, ended.output
    result = json.loads(told.read_text(encoding="utf-8"))
    assert (result["rows"], result["duplicates"]) == (ROWS - FIRST_JUDGED - 10, 5)
    data = result["data"]
    assert (data["rows"], data["used"], data["duplicates"], data["unsorted"]) == (ROWS + 5, ROWS - 5, 5, 5)
    assert data["unknown_categories"]["spaceships"] == 40
    for words in ("left out: out_of_range", "row 1,501: amount: expected", "spaceships", "sorted by time"):
        assert words in ended.stdout


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda row: row | {"is_fraud": "0"}, "got no fraud in 700 judged rows"),
        (lambda row: row | {"is_fraud": "2"}, "column is_fraud: expected 0 or 1, got 2 in row 1"),
        (lambda row: {name: row[name] for name in row if name != "is_fraud"}, "expected labels in a column is_fraud"),
        (lambda row: row | {"amount": "-1"}, "all 2,000 rows are refused"),
    ],
)
def test_a_file_that_cannot_be_judged_ends_in_one_line(
    tmp_path: Path, lines: Lines, change: Callable[[dict[str, str]], dict[str, str]], says: str
) -> None:
    ended, _ = evaluated(tmp_path, [change(row) for row in lines], lines[FIRST_JUDGED]["timestamp"])
    assert_one_line(ended, 2, says)


@pytest.mark.parametrize(
    ("since", "says"), [("2199-01-01", "choose an earlier --since"), ("2000-01-01", "need a past")]
)
def test_borders_that_leave_nothing_to_judge_or_no_past_are_told(
    tmp_path: Path, lines: Lines, since: str, says: str
) -> None:
    ended, _ = evaluated(tmp_path, lines, since)
    assert_one_line(ended, 2, says)


def test_a_range_that_only_repeats_earlier_transactions_is_told(tmp_path: Path, lines: Lines) -> None:
    since = lines[FIRST_JUDGED]["timestamp"]
    past = lines[:FIRST_JUDGED]
    again = [row | {"timestamp": since, "is_fraud": str(at % 2)} for at, row in enumerate(past[-20:])]
    ended, _ = evaluated(tmp_path, past + again, since)
    assert_one_line(ended, 2, "expected frauds and others to tell apart", "got no row at all")


def test_a_past_that_repeats_one_transaction_is_told(tmp_path: Path, lines: Lines) -> None:
    same = [lines[0] | {"transaction_id": "x", "timestamp": row["timestamp"]} for row in lines[:FIRST_JUDGED]]
    ended, _ = evaluated(tmp_path, same + lines[FIRST_JUDGED:], lines[FIRST_JUDGED]["timestamp"])
    assert_one_line(ended, 2, "need a past")
