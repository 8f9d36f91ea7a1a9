"""`make evaluate-models`: the splits it uses, the tables it prints, and where it puts them."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from fraudstream.errors import DataFileError
from fraudstream.machine import Machine, this_machine
from fraudstream.training import evaluate_models
from fraudstream.training.evaluate_models import main
from fraudstream.training.evaluate_sets import LabelledSet, files_in, simulated
from fraudstream.training.evaluate_tables import BEGIN, END, Measured, page, put_between_marks
from fraudstream.training.evaluation import ENSEMBLE, METHODS, Evaluation
from fraudstream.training.findings import find
from fraudstream.training.history import read_history
from fraudstream.training.report_tables import DISPLAY_NAMES
from tests.datasets import data_set
from tests.judged import silent, small_judged

DATE = datetime(2026, 1, 2, tzinfo=UTC)
MACHINE = Machine("a processor", 2, 8.0, "Linux 6", "3.11.7", {"torch": "2.5.0"})
SMALL = LabelledSet("Small", Path("small.parquet"), "2025-02-05", "2025-02-05")


@cache
def evaluation() -> Evaluation:
    order, judged = small_judged()
    return find(judged, order.seed, 10, silent)


def table_rows(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]


def test_the_tables_hold_what_was_found_and_seeds_stand_beside_each_other() -> None:
    one = evaluation()
    other = replace(one, methods={**one.methods, ENSEMBLE: replace(one.methods[ENSEMBLE], auc=0.5)})
    text = page([Measured(SMALL, {0: one, 1: other}, {0: 3.0, 1: 4.0})], DATE, MACHINE)
    assert "Measured on 2026-01-02 by `make evaluate-models` on a processor, 2 cores, 8.0 GiB" in text
    assert "torch 2.5.0" in text
    rows = table_rows(text)
    by_name = {row[0]: row for row in rows}
    assert len({len(row) for row in rows[: 2 + len(METHODS)]}) == 1
    for name in METHODS:
        assert f"{one.methods[name].average_precision:.3f}" in by_name[DISPLAY_NAMES[name]]
    assert by_name["Ensemble"][1] == f"{one.methods[ENSEMBLE].auc:.3f} / 0.500"
    assert by_name["Half-Space Trees"][1] == f"{one.methods['half_space_trees'].auc:.3f}"
    for name, found in one.campaigns.items():
        row = by_name[name.replace("_", " ")]
        assert row[1:3] == [str(found.frauds), str(found.instances)]
        assert row[3] == f"{found.methods[ENSEMBLE].caught_within_three:.0%}"
        assert row[4].startswith(f"{found.methods[found.best_baseline or ''].caught_within_three:.0%} ")
    assert f"{one.alert_rate.lowest_relative:.2f} to {one.alert_rate.highest_relative:.2f}" in text


def test_a_campaign_without_instances_and_a_failed_member_have_no_figures() -> None:
    one = evaluation()
    name = next(iter(one.campaigns))
    empty = replace(one.campaigns[name], instances=0, is_caught=None, best_baseline=None, lead=None, methods={})
    methods = {method: figures for method, figures in one.methods.items() if method != "lstm"}
    found = replace(one, methods=methods, campaigns={name: empty})
    rows = {row[0]: row for row in table_rows(page([Measured(SMALL, {0: found}, {0: 1.0})], DATE, MACHINE))}
    assert rows[name.replace("_", " ")][2:7] == ["0", "–", "–", "–", "–"]
    assert DISPLAY_NAMES["lstm"] not in rows


def test_tables_replace_what_is_between_the_marks_and_nothing_else() -> None:
    text = f"# Models\n{BEGIN}\nold | figures\n{END}\nthe end {END}\n"
    once = put_between_marks(text, "| new |")
    assert once == f"# Models\n{BEGIN}\n| new |\n{END}\nthe end {END}\n"
    assert put_between_marks(once, "| new |") == once
    for broken in ("", BEGIN, f"{END}\n{BEGIN}", END):
        with pytest.raises(DataFileError, match="expected a line <!-- measured: begin -->"):
            put_between_marks(broken, "| new |")


def test_the_simulated_set_is_learnt_from_before_its_last_two_fifths(tmp_path: Path) -> None:
    one = simulated(tmp_path, 2000)
    assert one.learnt_until == one.since
    assert len(read_history(one.source, until=one.learnt_until)) == pytest.approx(1200, abs=2)
    assert one.until is None


def test_files_are_found_in_their_directory_and_split_as_published(tmp_path: Path) -> None:
    assert list(files_in(tmp_path)) == []
    (tmp_path / "handbook.parquet").touch()
    (handbook,) = files_in(tmp_path)
    assert (handbook.learnt_until, handbook.since, handbook.until) == ("2018-07-18", "2018-07-25", "2018-08-01")
    assert handbook.without_compromised
    sparkov, handbook = files_in(data_set("sparkov_a.parquet").parent)
    times = pq.read_table(sparkov.source, columns=["timestamp"])["timestamp"].to_numpy()
    assert (times >= times.dtype.type(sparkov.since.rstrip("Z"))).sum() == 561_758
    assert handbook.source.is_file()


def test_a_quick_run_trains_judges_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document, told = tmp_path / "models.md", tmp_path / "e.json"
    document.write_text(f"before\n{BEGIN}\n{END}\nafter\n", encoding="utf-8")
    assert main(["--quick", "--seeds", "0", "1", "--markdown", str(document), "--json", str(told)]) == 0
    printed = capsys.readouterr()
    assert document.read_text(encoding="utf-8") == f"before\n{BEGIN}\n{printed.out.rstrip()}\n{END}\nafter\n"
    assert printed.err.count("half-space trees:") == 1  # once for both seeds
    found = json.loads(told.read_text(encoding="utf-8"))
    seeds = found["data_sets"]["simulated"]["seeds"]
    assert set(seeds) == {"0", "1"}
    assert seeds["0"]["model_version"] != seeds["1"]["model_version"]
    for name in METHODS:
        assert f"| {DISPLAY_NAMES[name]} |" in printed.out
    assert seeds["0"]["methods"]["ecod"] == seeds["1"]["methods"]["ecod"]
    assert found["machine"]["processor"] == this_machine(()).processor


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--markdown", "no.md"], "no.md"),
        (["--markdown", "plain.md"], "expected a line <!-- measured: begin -->"),
        (["--json", "no/e.json"], "expected a file in a directory that exists"),
        (["--json", "empty"], "--json: expected a file, empty is a directory"),
        (["--data", "empty"], "expected sparkov_a.parquet or handbook.parquet in empty"),
    ],
)
def test_what_cannot_be_read_or_written_is_told_before_the_work(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("plain.md").write_text("no marks\n", encoding="utf-8")
    Path("empty").mkdir()
    assert main(["--quick", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("evaluate-models: ")
    assert error.count("\n") == 1
    assert words in error


def test_each_data_set_that_is_not_there_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "handbook.parquet").touch()
    done: list[str] = []

    def measured(one: LabelledSet, *_: object) -> Measured:
        done.append(one.title)
        return Measured(one, {0: evaluation()}, {0: 1.0})

    monkeypatch.setattr(evaluate_models, "DIRECTORY", tmp_path)
    monkeypatch.setattr(evaluate_models, "SIMULATED_ROWS", 2000)
    monkeypatch.setattr(evaluate_models, "_measure", measured)
    assert main(["--seeds", "0"]) == 0
    assert capsys.readouterr().err == f"Sparkov: {tmp_path / 'sparkov_a.parquet'} is not there, it is left out\n"
    assert [title.split(",")[0] for title in done] == ["Handbook", "Simulator"]


def test_seeds_below_zero_are_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--quick", "--seeds", "-1"])
    assert "expected numbers from 0 on" in capsys.readouterr().err
