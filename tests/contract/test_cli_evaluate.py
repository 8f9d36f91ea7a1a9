"""`fraudstream evaluate` keeps its contract: JSON keys, tables, a report; what cannot be judged ends in one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from fraudstream.cli.main import main
from fraudstream.training.campaigns import CAMPAIGN_NAMES
from fraudstream.training.evaluate import Order
from fraudstream.training.evaluation import METHODS
from tests.command_line import assert_one_line
from tests.fitted import small_history
from tests.judged import SINCE, small_order

METHOD_KEYS = {"auc", "average_precision", "tpr_at_1pct_fpr", "card_precision_100"}

pytestmark = pytest.mark.usefixtures("plain_environment")


@pytest.fixture(scope="module")
def order(tmp_path_factory: pytest.TempPathFactory) -> Order:
    """A file and a model; do not change them."""
    return small_order(tmp_path_factory.mktemp("small"))


def evaluate(order: Order, *options: object, source: Path | None = None, since: str = SINCE) -> Result:
    given = ["evaluate", "--input", str(source or order.source), "--model", str(order.model), "--since", since]
    return CliRunner().invoke(main, [*given, *map(str, options)], env={})


def assert_refused(ended: Result, *words: str) -> None:
    assert_one_line(ended, 2, *words)
    assert "average precision" not in ended.stdout


@pytest.fixture(scope="module")
def judged(order: Order, tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, dict[str, Any], str]:
    """The output, the JSON and the report of one run."""
    out = tmp_path_factory.mktemp("out")
    ended = evaluate(order, "--json", out / "e.json", "--html", out / "e.html")
    assert ended.exit_code == 0, ended.output
    return ended, json.loads((out / "e.json").read_text(encoding="utf-8")), (out / "e.html").read_text(encoding="utf-8")


def test_the_json_has_the_keys_of_the_contract(judged: tuple[Result, dict[str, Any], str]) -> None:
    _, found, _ = judged
    assert {"rows", "frauds", "methods", "campaigns", "reasons", "alert_rate", "differences"} <= found.keys()
    assert tuple(found["methods"]) == METHODS
    for method in found["methods"].values():
        assert method.keys() >= METHOD_KEYS
        assert method["budgets"].keys() == {"contamination", "1pct"}
    labels = small_history().between(SINCE).numbers("is_fraud")
    assert (found["rows"], found["frauds"]) == (len(labels), int(labels.sum()))


def test_every_campaign_has_its_row_in_json_and_output(judged: tuple[Result, dict[str, Any], str]) -> None:
    ended, found, page = judged
    assert found["campaigns"]
    assert set(found["campaigns"]) <= set(CAMPAIGN_NAMES)
    for name, one in found["campaigns"].items():
        assert one.keys() == {
            "frauds", "instances", "alert_share", "is_caught", "best_baseline", "lead", "methods"
        }  # fmt: skip
        assert one["alert_share"] == 0.01
        for method in one["methods"].values():
            assert method.keys() >= {"streaks", "first_caught", "caught_within_three", "ever_caught", "median_hours"}
        assert any(line.startswith(name) for line in ended.stdout.splitlines())
        assert name.replace("_", " ") in page
        agreement = found["reasons"]["agreement"][name]
        assert agreement.keys() == {"right", "flagged", "right_first", "right_among"}
    assert sum(one["frauds"] for one in found["campaigns"].values()) == found["frauds"]


def test_the_same_command_says_the_same_again(
    order: Order, judged: tuple[Result, dict[str, Any], str], tmp_path: Path
) -> None:
    ended, found, _ = judged
    again = evaluate(order, "--json", tmp_path / "e.json")
    assert json.loads((tmp_path / "e.json").read_text(encoding="utf-8")) == found
    assert again.stdout == "".join(line for line in ended.stdout.splitlines(True) if not line.endswith("the report\n"))


def changed(order: Order, path: Path, change: Callable[[pa.Table], pa.Table]) -> Path:
    pq.write_table(change(pq.read_table(order.source)), path)
    return path


def _without_labels(table: pa.Table) -> pa.Table:
    return table.drop_columns(["is_fraud", "campaign"])


def _without_fraud(table: pa.Table) -> pa.Table:
    at = table.column_names.index("is_fraud")
    return table.set_column(at, "is_fraud", pa.array(np.zeros(len(table), np.int8)))


def _of_one_user(table: pa.Table) -> pa.Table:
    return table.filter(pc.equal(table["user_id"], table["user_id"][0]))


@pytest.mark.parametrize(
    ("change", "since", "words"),
    [
        (_without_labels, SINCE, ("expected labels in a column is_fraud", "--columns is_fraud=COLUMN")),
        (_without_fraud, SINCE, ("expected frauds and others to tell apart", "got no fraud", "judge a longer range")),
        (_of_one_user, SINCE, ("expected frauds and others to tell apart", "got no fraud in 62 judged rows")),
        (
            lambda table: table.slice(5000),
            SINCE,
            ("expected at least 1,000 transactions before --since", "got 0", "choose a later --since"),
        ),
        (lambda table: table.slice(0, 0), SINCE, ("expected transactions, got a file without rows",)),
        (lambda table: table.drop_columns(["amount"]), SINCE, ("amount",)),
        (None, "2031-01-01", ("got none", "the file's last is of 2025-03-06T")),
        (None, "2025-01-07", ("expected at least 1,000 transactions before --since", "choose a later --since")),
        (None, "some day", ("expected a time such as", "some day")),
    ],
)
def test_what_cannot_be_judged_ends_in_one_line(
    order: Order,
    tmp_path: Path,
    change: Callable[[pa.Table], pa.Table] | None,
    since: str,
    words: tuple[str, ...],
) -> None:
    source = order.source if change is None else changed(order, tmp_path / "f.parquet", change)
    options = ("--json", tmp_path / "e.json", "--html", tmp_path / "e.html")
    ended = evaluate(order, *options, source=source, since=since)
    assert_refused(ended, *words)
    assert not (tmp_path / "e.json").exists()
    assert not (tmp_path / "e.html").exists()


def test_what_is_in_the_file_is_told_before_it_turns_out_that_it_cannot_be_judged(order: Order, tmp_path: Path) -> None:
    ended = evaluate(order, source=changed(order, tmp_path / "f.parquet", _without_fraud))
    assert ended.exit_code == 2
    assert "used" in ended.stdout
    assert f"of {len(small_history()):,}; " in ended.stdout


def test_options_that_do_not_fit_end_in_one_line(order: Order, tmp_path: Path) -> None:
    assert_refused(evaluate(order, "--until", "2025-01-08"), "expected --until after --since")
    assert_refused(evaluate(order, "--until", "2025-02-05T00:30"), "expected frauds and others to tell apart")
    assert_refused(evaluate(order, source=tmp_path / "no.parquet"), "no.parquet")
    assert_refused(evaluate(order, "--html", tmp_path / "no" / "e.html"), "--html", "directory that exists")
    assert_refused(evaluate(order, "--json", tmp_path / "no" / "e.json"), "--json", "directory that exists")
    assert_refused(evaluate(order, "--label-delay", "-1"), "--label-delay")
    shutil.copytree(order.model, tmp_path / "broken")
    (tmp_path / "broken" / "manifest.json").write_text("{}", encoding="utf-8")
    assert_refused(evaluate(order, "--model", tmp_path / "broken"), "manifest")


def test_one_user_who_was_robbed_can_be_judged(order: Order, tmp_path: Path) -> None:
    # All rows of before, and one user's alone from then on.
    history = small_history()
    judged_users = history.between(SINCE).table
    frauds = judged_users.filter(pc.equal(judged_users["is_fraud"], 1))
    user = frauds["user_id"][0]

    def change(table: pa.Table) -> pa.Table:
        first = len(history.between(until=SINCE))
        later = table.slice(first)
        return pa.concat_tables([table.slice(0, first), later.filter(pc.equal(later["user_id"], user))])

    told = tmp_path / "e.json"
    source = changed(order, tmp_path / "f.parquet", change)
    ended = evaluate(order, "--json", told, "--html", tmp_path / "e.html", source=source)
    assert ended.exit_code == 0, ended.output
    found = json.loads(told.read_text(encoding="utf-8"))
    assert set(found["methods"]["ensemble"]["intervals"].values()) == {None}
    assert "too few users to say more" in (tmp_path / "e.html").read_text(encoding="utf-8")


def test_a_file_without_campaigns_and_categories_can_be_judged(order: Order, tmp_path: Path) -> None:
    def bare(table: pa.Table) -> pa.Table:
        return table.drop_columns(["campaign", "category", "location", "device_id"])

    told = tmp_path / "e.json"
    source = changed(order, tmp_path / "f.parquet", bare)
    ended = evaluate(order, "--json", told, "--html", tmp_path / "e.html", source=source)
    assert ended.exit_code == 0, ended.output
    found = json.loads(told.read_text(encoding="utf-8"))
    assert found["campaigns"] == {}
    assert found["reasons"]["agreement"] == {}
    assert set(found["groups"]) == {"month"}
