"""The benchmark of replay and training measures what it says, on a stream that is short enough for a test."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks import offline
from benchmarks.offline import FEATURES, TRAINING, VERDICTS, Result, page
from fraudstream.machine import this_machine
from fraudstream.training.history import write
from tests.fitted import small_history


def test_a_row_says_the_round_in_the_middle() -> None:
    result = Result(FEATURES, 2, 1_000, (4.0, 1.0, 2.0), (1.0, 2.0, 9.0), 0.5)
    assert result.rows_per_s == 500
    assert "\n| features | 2 | 500 | 2.0 | 2.0 |\n" in page([result], this_machine(["numba"]), "a.parquet", 0.125)


def test_one_run_measures_one_core_and_all_and_a_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(small_history(), tmp_path / "stream.parquet")
    files = ["--json", str(tmp_path / "found.json"), "--markdown", str(tmp_path / "page.md")]
    own = ["offline", "--input", str(tmp_path / "stream.parquet"), "--rows", "5000", "--rounds", "2", *files]
    monkeypatch.setattr(sys, "argv", own)
    monkeypatch.setattr(offline, "available_cores", lambda: 2)
    assert offline.main() == 0
    found = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    measured = [(one["work"], one["cores"], len(one["seconds"])) for one in found["results"]]
    assert measured == [(FEATURES, 1, 2), (FEATURES, 2, 2), (VERDICTS, 1, 2), (VERDICTS, 2, 2), (TRAINING, 2, 1)]
    for one in found["results"]:
        assert one["rows"] == 5000
        assert all(seconds > 0.0 for seconds in [*one["seconds"], *one["cpu_s"]])
    assert 0.0 < found["flagged"] < 1.0
    text = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert "5,000 rows of stream.parquet. Measured on" in text
    assert len(capsys.readouterr().out.splitlines()) == len(measured)


def test_a_file_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["offline", "--input", "nowhere.parquet"])
    assert offline.main() == 1
    assert "nowhere.parquet: expected a .parquet or .csv file" in capsys.readouterr().err
