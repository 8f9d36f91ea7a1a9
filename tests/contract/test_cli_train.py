"""`fraudstream train` with any file: what is odd is told with counts, what cannot be used ends in one clear line."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from fraudstream.cli.main import main
from fraudstream.cli.train import first_row
from fraudstream.score.artifact import TENSOR_FILE
from fraudstream.settings import Settings
from fraudstream.training.history import write
from fraudstream.training.simulate import SimulationSpec, simulate
from fraudstream.training.unfinished import FOLDER
from tests.command_line import assert_one_line

ROWS = 900

pytestmark = pytest.mark.usefixtures("plain_environment")


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    """A good file, row by row, as text; do not change it."""
    path = tmp_path_factory.mktemp("good") / "good.csv"
    write(simulate(SimulationSpec(transactions=ROWS, users=12, seed=5)), path)
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def written(path: Path, rows: list[dict[str, str]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def run_train(source: Path, out: Path, *options: str) -> Result:
    told = out.with_name(f"{out.name}.json")
    return CliRunner().invoke(
        main, ["train", "--input", str(source), "--out", str(out), "--json", str(told), *options], env={}
    )


def data_of(ended: Result, out: Path) -> dict[str, Any]:
    assert ended.exit_code == 0, ended.output
    found: dict[str, Any] = json.loads(out.with_name(f"{out.name}.json").read_text(encoding="utf-8"))["data"]
    return found


# Files that are odd and can be used


def test_a_good_file_is_summed_up_and_nothing_is_left_out(tmp_path: Path, lines: list[dict[str, str]]) -> None:
    ended = run_train(written(tmp_path / "f.csv", lines), tmp_path / "m")
    data = data_of(ended, tmp_path / "m")
    assert (data["rows"], data["used"], data["refused"], data["duplicates"]) == (ROWS, ROWS, [], 0)
    assert f"{ROWS} " in ended.stdout
    assert "12 users" in ended.stdout
    assert "left out" not in ended.stdout


def test_unsorted_and_naive_times_are_put_right_and_make_the_same_model(
    tmp_path: Path, lines: list[dict[str, str]]
) -> None:
    naive = [{**row, "timestamp": row["timestamp"].removesuffix("Z")} for row in lines]
    assert naive != lines
    turned = [*naive[450:], *naive[:450]]
    ended = run_train(written(tmp_path / "f.csv", turned), tmp_path / "m")
    data = data_of(ended, tmp_path / "m")
    assert (data["unsorted"], data["naive_times"]) == (450, ROWS)
    assert "taken as UTC" in ended.stdout
    assert "sorted by time" in ended.stdout
    data_of(run_train(written(tmp_path / "good.csv", lines), tmp_path / "good"), tmp_path / "good")
    assert (tmp_path / "m" / TENSOR_FILE).read_bytes() == (tmp_path / "good" / TENSOR_FILE).read_bytes()


def test_duplicate_ids_are_counted_and_not_learnt(tmp_path: Path, lines: list[dict[str, str]]) -> None:
    ended = run_train(written(tmp_path / "f.csv", [*lines, *lines[-7:]]), tmp_path / "m")
    assert data_of(ended, tmp_path / "m")["duplicates"] == 7
    assert "are not learnt" in ended.stdout


def test_rows_that_a_worker_would_refuse_are_left_out_with_the_words_of_a_dead_letter(
    tmp_path: Path, lines: list[dict[str, str]]
) -> None:
    bad = [dict(row) for row in lines]
    bad[10]["amount"] = bad[20]["amount"] = "-3.5"
    bad[30]["amount"] = "nan"
    bad[40]["user_id"] = ""
    bad[50]["merchant"] = "m" * 257
    bad[60]["latitude"], bad[60]["longitude"] = "91", "0"
    bad[70]["timestamp"] = "1969-12-31T23:59:59Z"
    bad[80]["timestamp"] = "2199-01-01T00:00:00Z"
    ended = run_train(written(tmp_path / "f.csv", bad), tmp_path / "m")
    refused = data_of(ended, tmp_path / "m")["refused"]
    assert {(entry["field"], entry["reason"], entry["rows"], entry["first_row"]) for entry in refused} == {
        ("amount", "out_of_range", 2, 11),
        ("amount", "not_finite", 1, 31),
        ("user_id", "missing_field", 1, 41),
        ("merchant", "bad_length", 1, 51),
        ("latitude", "out_of_range", 1, 61),
        ("timestamp", "absurd_time", 2, 71),
    }
    assert "row 11: amount: expected a number from 0 to 42949672.95, got -3.5" in ended.stdout


def test_absent_columns_are_told_with_what_is_blind_without_them(tmp_path: Path, lines: list[dict[str, str]]) -> None:
    few = ("transaction_id", "user_id", "amount", "merchant", "timestamp")
    ended = run_train(written(tmp_path / "f.csv", [{name: row[name] for name in few} for row in lines]), tmp_path / "m")
    columns = data_of(ended, tmp_path / "m")["columns"]
    assert all(column["rows"] == 0 and column["blind"] for column in columns)
    assert "device_is_new" in ended.stdout


def test_one_user_only_is_told(tmp_path: Path, lines: list[dict[str, str]]) -> None:
    ended = run_train(written(tmp_path / "f.csv", [{**row, "user_id": "u"} for row in lines]), tmp_path / "m")
    assert data_of(ended, tmp_path / "m")["users"] == 1
    assert "is user_id the right column?" in ended.stdout


def test_other_column_names_are_mapped(tmp_path: Path, lines: list[dict[str, str]]) -> None:
    renamed = [{"Amt" if name == "amount" else name: value for name, value in row.items()} for row in lines]
    source = written(tmp_path / "f.csv", renamed)
    assert_one_line(run_train(source, tmp_path / "m"), 2, "missing amount", "Amt", "--columns amount=COLUMN")
    assert data_of(run_train(source, tmp_path / "m", "--columns", "amount=Amt"), tmp_path / "m")["used"] == ROWS


def test_rows_of_categories_too_rare_to_be_learnt_are_told(tmp_path: Path, lines: list[dict[str, str]]) -> None:
    rows = [{**row, "category": f"rare {at % 2}" if at % 60 == 59 else "common"} for at, row in enumerate(lines)]
    ended = run_train(written(tmp_path / "f.csv", rows), tmp_path / "m", "--since", "2000-01-01")
    assert data_of(ended, tmp_path / "m")["unknown_categories"] == {"rare 1": 15}
    assert "15 rows of 1 categories too rare to be learnt (rare 1), judged by what everybody pays" in ended.stderr


@pytest.mark.parametrize("told", ["a-directory/told.json", "/proc/told.json"])
def test_a_result_that_cannot_be_written_is_told_in_one_line(
    tmp_path: Path, lines: list[dict[str, str]], told: str
) -> None:
    source = written(tmp_path / "f.csv", lines)
    (tmp_path / "a-directory" / "told.json").mkdir(parents=True)
    ended = run_train(source, tmp_path / "m", "--json", str(tmp_path / told))
    assert_one_line(ended, 2, "told.json")


def test_a_column_that_is_mapped_twice_is_refused(tmp_path: Path, lines: list[dict[str, str]]) -> None:
    source = written(tmp_path / "f.csv", lines)
    ended = run_train(source, tmp_path / "m", "--columns", "amount=amount,amount=latitude")
    assert_one_line(ended, 2, "expected each of our names once, got amount twice")


# Files that cannot be used


def test_a_missing_column_is_named(tmp_path: Path, lines: list[dict[str, str]]) -> None:
    rows = [{name: row[name] for name in row if name not in ("merchant", "user_id")} for row in lines]
    ended = run_train(written(tmp_path / "f.csv", rows), tmp_path / "m")
    assert_one_line(ended, 2, "missing user_id, merchant", "--columns")


@pytest.mark.parametrize("options", [[], ["--since", "2000-01-01"]])
def test_too_few_rows_are_refused_before_anything_is_written(
    tmp_path: Path, lines: list[dict[str, str]], options: list[str]
) -> None:
    ended = run_train(written(tmp_path / "f.csv", lines[:400]), tmp_path / "m", *options)
    assert_one_line(ended, 2, "expected at least 500 transactions", "use a longer file")
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("f.csv", b"", "expected columns"),
        ("f.parquet", b"", "readable parquet"),
        ("f.csv", b"transaction_id,user_id,amount,merchant,timestamp\n", "without rows"),
        ("f.csv", b"transaction_id,user_id,amount,merchant,timestamp\nt,u,1,Caf\xe9,2024-05-01\n", "utf-8"),
        (
            "f.csv",
            b"transaction_id,user_id,amount,merchant,timestamp\n" + b"t,u,1,Cafe,2024-05-01\n" * 9999 + b"\xe9",
            "columns",
        ),
        ("f.csv", b"transaction_id,user_id,amount,merchant,timestamp\nt,u,1\n", "columns"),
        ("f.csv", b"transaction_id,user_id,amount,merchant,timestamp\nt,u,a lot,m,2024-05-01\n", "column amount"),
        ("f.csv", b"transaction_id,user_id,amount,merchant,timestamp\nt,u,1,m,last week\n", "column timestamp"),
        ("f.csv", b"transaction_id,user_id,amount,merchant,timestamp\nt,u,-1,m,2024-05-01\n", "out_of_range"),
        ("f.parquet", b"PAR1 but no table PAR1", "readable parquet"),
        ("f.json", b"[]", ".parquet or .csv"),
    ],
)
def test_a_file_that_cannot_be_used_ends_in_one_line(tmp_path: Path, name: str, content: bytes, word: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert_one_line(run_train(path, tmp_path / "m"), 2, str(path), word)
    assert not (tmp_path / "m").exists()


def test_no_file_and_a_directory_are_told_apart(tmp_path: Path) -> None:
    assert_one_line(run_train(tmp_path / "no.csv", tmp_path / "m"), 2, "no.csv", "No such file")
    (tmp_path / "folder.csv").mkdir()
    assert_one_line(run_train(tmp_path / "folder.csv", tmp_path / "m"), 2, "folder.csv", "Is a directory")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--since", "2025-02-01", "--until", "2025-01-15"], ["expected --until after --since"]),
        (["--since", "soon"], ["expected a time such as", "soon"]),
        (["--until", "2001-01-01"], ["within --until 2001-01-01", "2025-01-06"]),
        (["--since", "2031-01-01"], ["got 0 of 900 from 2031-01-01 on"]),
        (["--columns", "amuont=Amt"], ["got amuont"]),
        (["--seed", "-1"], ["--seed"]),
    ],
)
def test_options_that_fit_no_file_are_wrong_use(
    tmp_path: Path, lines: list[dict[str, str]], options: list[str], words: list[str]
) -> None:
    ended = run_train(written(tmp_path / "f.csv", lines), tmp_path / "m", *options)
    assert_one_line(ended, 2, *words)


def test_a_place_that_cannot_be_written_to_is_wrong_use(tmp_path: Path, lines: list[dict[str, str]]) -> None:
    source = written(tmp_path / "f.csv", lines)
    told = ["--json", str(tmp_path / "t.json")]
    for out in (source, source / "below"):
        ended = CliRunner().invoke(main, ["train", "--input", str(source), "--out", str(out), *told], env={})
        assert_one_line(ended, 2, str(out))


# Stopped


def started(source: Path, out: Path) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if name.lower() not in Settings.model_fields}
    command = [sys.executable, "-m", "fraudstream.cli.main", "train", "--input", str(source), "--out", str(out)]
    return subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hear_ctrl_c,  # noqa: PLW1509  no threads here
    )


def hear_ctrl_c() -> None:
    """A shell's background jobs ignore it, and so would what they start."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    for _ in range(60_000):
        if path.exists():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.002)
    raise AssertionError(f"{path} never came")


@pytest.mark.slow
def test_a_training_that_is_killed_again_and_again_gives_the_same_bytes(tmp_path: Path) -> None:
    source, out, told = tmp_path / "s.parquet", tmp_path / "m", tmp_path / "m.json"
    write(simulate(SimulationSpec(transactions=8000, users=80, seed=5)), source)
    work = out / FOLDER
    for step in ("lock", "replay", "autoencoder.safetensors"):
        process = started(source, out)
        wait_for(work / step, process)
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert not (out / TENSOR_FILE).exists()
    ended = run_train(source, out)
    assert ended.exit_code == 0, ended.output
    assert json.loads(told.read_text(encoding="utf-8"))["resumed"][:3] == ["reference", "replay", "forest"]
    assert not work.exists()
    assert run_train(source, tmp_path / "undisturbed").exit_code == 0
    assert (out / TENSOR_FILE).read_bytes() == (tmp_path / "undisturbed" / TENSOR_FILE).read_bytes()


@pytest.mark.slow
def test_ctrl_c_ends_in_one_line_that_says_how_to_go_on(tmp_path: Path) -> None:
    source, out = tmp_path / "s.parquet", tmp_path / "m"
    write(simulate(SimulationSpec(transactions=8000, users=80, seed=5)), source)
    process = started(source, out)
    wait_for(out / FOLDER / "forest.safetensors", process)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Traceback" not in error
    assert error.splitlines()[-1].startswith("fraudstream: stopped; the same command goes on after reference, replay")
    ended = run_train(source, out)
    assert ended.exit_code == 0
    assert "from an earlier run: reference, replay, forest" in ended.stderr


HALF_MADE = """
from fraudstream.cli.train import interrupt

class Compiling:
    def __init__(self):
        interrupt(2, None)
        self.pointer = 1

    def __del__(self):
        self.pointer

try:
    Compiling()
except KeyboardInterrupt:
    print("stopped")
"""


def test_ctrl_c_says_nothing_of_what_it_leaves_half_made() -> None:
    ran = subprocess.run([sys.executable, "-c", HALF_MADE], capture_output=True, text=True, check=True)
    assert (ran.stdout, ran.stderr) == ("stopped\n", "")


def test_the_first_row_to_learn_from_can_be_asked_for_here() -> None:
    history = simulate(SimulationSpec(transactions=ROWS, users=12, seed=5))
    assert first_row(history, "2025-01-20") == len(history.between(until="2025-01-20"))
