"""The command line keeps its contract: names, options, JSON keys, exit codes, one line for an error, no secret told."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from fraudstream.cli.main import COMMANDS, main
from fraudstream.score.artifact import save
from fraudstream.training.default_model import training_facts
from fraudstream.training.history import write
from fraudstream.training.simulate import SimulationSpec, simulate
from tests.datasets import data_set
from tests.fitted import small_ensemble, small_stream

NOBODY = "127.0.0.1:1"

pytestmark = pytest.mark.usefixtures("plain_environment")


@pytest.fixture
def stream(tmp_path: Path) -> Path:
    """2,000 simulated transactions in a file."""
    path = tmp_path / "stream.parquet"
    write(simulate(SimulationSpec(transactions=2000, users=30, seed=5)), path)
    return path


def run(*arguments: object, **environment: str) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], env=environment)


def result_of(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_that_is_listed_explains_itself(command: str) -> None:
    shown = run(command, "--help")
    assert shown.exit_code == 0, shown.output
    assert shown.output.startswith("Usage:")
    assert command in run("--help").output


def test_the_list_of_commands_loads_no_heavy_library() -> None:
    code = (
        "import sys; from fraudstream.cli.main import main; main(['--help'], standalone_mode=False); "
        "sys.exit(' '.join({'torch', 'numpy', 'faust', 'rich', 'pydantic', 'aiokafka'} & set(sys.modules)) or 0)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


def test_a_missing_optional_library_is_told_with_the_extra_that_brings_it() -> None:
    code = "import sys; sys.modules['pyarrow'] = None; from fraudstream.cli.main import main; main()"
    ended = subprocess.run(
        [sys.executable, "-c", code, "simulate", "--out", os.devnull], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
    assert "pip install 'fraudstream[train]'" in ended.stderr


def test_simulate_writes_the_rows_and_counts_the_frauds_by_campaign(tmp_path: Path) -> None:
    out, told = tmp_path / "s.csv", tmp_path / "s.json"
    options = ["--transactions", 3000, "--users", 40, "--days", 90, "--seed", 3]
    ended = run("simulate", *options, "--out", out, "--json", told)
    assert ended.exit_code == 0, ended.output
    result = result_of(told)
    assert result["rows"] == 3000 == len(out.read_text().splitlines()) - 1
    with out.open(encoding="utf-8", newline="") as file:
        times = [datetime.fromisoformat(row["timestamp"]) for row in csv.DictReader(file)]
    assert 85 < (times[-1] - times[0]).days < 90
    assert sum(result["frauds"].values()) == 21


def test_train_writes_a_model_that_replay_judges_with(tmp_path: Path, stream: Path) -> None:
    model, told = tmp_path / "model", tmp_path / "train.json"
    ended = run("train", "--input", stream, "--out", model, "--json", told)
    assert ended.exit_code == 0, ended.output
    trained = result_of(told)
    assert 500 <= trained["rows"] < 2000
    assert {"read", "reference", "replay", "forest", "autoencoder", "lstm", "calibration"} == set(trained["seconds"])
    out, told = tmp_path / "verdicts.jsonl", tmp_path / "replay.json"
    ended = run(
        "replay", "--input", stream, "--model", model, "--out", out, "--rows", 300, "--features", "--json", told
    )
    assert ended.exit_code == 0, ended.output
    replayed = result_of(told)
    assert replayed["rows"] == 300
    assert replayed["rows_per_second"] > 0
    lines = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert len({line["transaction_id"] for line in lines}) == 300
    assert {line["model_version"] for line in lines} == {trained["model_version"]}
    assert all(len(line["features"]) > 25 for line in lines)


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_replay_writes_a_table_with_one_row_for_each_verdict(tmp_path: Path, stream: Path, suffix: str) -> None:
    import pyarrow.csv
    import pyarrow.parquet

    model, out = tmp_path / "model", tmp_path / f"verdicts{suffix}"
    facts = training_facts(small_stream(), 0, 1, "test", SimulationSpec().start)
    version = save(model, small_ensemble(), small_stream().reference, facts).model_version
    ended = run("replay", "--input", stream, "--model", model, "--out", out, "--features")
    assert ended.exit_code == 0, ended.output
    table = pyarrow.csv.read_csv(out) if suffix == ".csv" else pyarrow.parquet.read_table(out)
    assert table.num_rows == 2000
    assert set(table["model_version"].to_pylist()) == {version}
    assert {"anomaly_score", "flagged", "log_amount", "speed_kmh"} <= set(table.column_names)


@pytest.mark.parametrize(
    ("arguments", "environment", "code", "said"),
    [
        (["replay", "--input", "no.parquet", "--out", "o.csv"], {}, 2, "no.parquet"),
        (["replay", "--input", "no.parquet", "--out", "o.csv", "--model", "no-model"], {}, 2, "no-model"),
        (["topics", "create"], {}, 2, "KAFKA_SERVERS"),
        (["topics", "check"], {"KAFKA_SERVERS": NOBODY}, 1, NOBODY),
        (["dead-letters", "list"], {"KAFKA_SERVERS": NOBODY}, 1, NOBODY),
        (["worker"], {"CONTAMINATION": "7"}, 2, "CONTAMINATION"),
    ],
)
def test_an_error_is_one_line_with_its_exit_code(
    arguments: list[str], environment: dict[str, str], code: int, said: str
) -> None:
    ended = run(*arguments, **environment)
    assert ended.exit_code == code
    assert ended.stderr.startswith("fraudstream: ")
    assert ended.stderr.count("\n") == 1
    assert said in ended.stderr


def test_wrong_use_exits_with_2(tmp_path: Path) -> None:
    for arguments in (
        ["no-such-command"],
        ["simulate"],
        ["replay", "--input", "a.csv", "--out", "b.csv", "--columns", "amount"],
        ["simulate", "--out", "s.csv", "--json", str(tmp_path / "missing" / "s.json")],
    ):
        assert run(*arguments).exit_code == 2, arguments


def test_doctor_says_what_is_wrong_and_what_to_do_and_tells_no_secret(tmp_path: Path) -> None:
    told = tmp_path / "doctor.json"
    ended = run(
        "doctor", "--json", told,
        KAFKA_SERVERS=NOBODY, REDIS_HOST=NOBODY, API_KEYS="opensesame", POSTGRES_URL=f"postgres://u:hunter2@{NOBODY}/db",
    )  # fmt: skip
    assert ended.exit_code == 1, ended.output
    checks = {check["name"]: check for check in result_of(told)["checks"]}
    assert {name for name, check in checks.items() if check["status"] == "failed"} == {"kafka", "redis", "postgresql"}
    assert all(check["todo"] for check in checks.values() if check["status"] == "failed")
    for text in (ended.output, told.read_text(encoding="utf-8")):
        assert NOBODY in text
        assert "hunter2" not in text
        assert "opensesame" not in text


def test_doctor_is_content_with_no_server_at_all(tmp_path: Path) -> None:
    ended = run("doctor", DATA_DIR=str(tmp_path / "not-yet-there"))
    assert ended.exit_code == 0, ended.output


def test_doctor_tells_how_many_categories_have_a_threshold_of_their_own(tmp_path: Path) -> None:
    data_dir = str(tmp_path / "not-yet-there")
    ended = run("doctor", DATA_DIR=data_dir, CONTAMINATION_BY="category")
    assert "frequent enough for a threshold of their own: 15" in ended.output
    ended = run("doctor", DATA_DIR=data_dir, CONTAMINATION_BY="category", CONTAMINATION="0.0001")
    assert "threshold of their own: none" in ended.output
    assert "categories" not in run("doctor", DATA_DIR=data_dir).output


def test_doctor_reports_settings_that_cannot_be_read(tmp_path: Path) -> None:
    told = tmp_path / "doctor.json"
    assert run("doctor", "--json", told, CONTAMINATION="7").exit_code == 1
    assert [check["status"] for check in result_of(told)["checks"]] == ["failed"]


@pytest.mark.slow
def test_live_replay_and_training_agree_to_the_last_bit(tmp_path: Path, stream: Path) -> None:
    told = tmp_path / "parity.json"
    ended = run("parity", "--input", stream, "--rows", 2000, "--json", told)
    assert ended.exit_code == 0, ended.output
    result = result_of(told)
    assert (result["rows"], result["max_difference"], result["differing"]) == (2000, 0.0, 0)
    assert result["features"] >= 25


@pytest.mark.slow
def test_a_value_that_training_sees_otherwise_fails_parity(
    tmp_path: Path, stream: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import dataclasses

    from fraudstream.cli import parity

    honest = parity._trained

    def one_bit_off(history: Any) -> Any:
        judged = honest(history)
        features = judged.features.copy()
        features[7, 3] += 0.5
        return dataclasses.replace(judged, features=features)

    monkeypatch.setattr(parity, "_trained", one_bit_off)
    told = tmp_path / "parity.json"
    assert run("parity", "--input", stream, "--rows", 50, "--json", told).exit_code == 1
    assert (result_of(told)["differing"], result_of(told)["max_difference"]) == (1, pytest.approx(0.5, abs=1e-6))


@pytest.mark.slow
def test_parity_holds_on_real_volumes(tmp_path: Path) -> None:
    told = tmp_path / "parity.json"
    ended = run("parity", "--input", data_set("sparkov_a.parquet"), "--rows", 20_000, "--json", told)
    assert ended.exit_code == 0, ended.output
    assert result_of(told)["differing"] == 0
