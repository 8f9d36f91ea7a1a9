"""Which rows an evaluation judges, and that what it says of them is what the model and the baselines say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from fraudstream.decide.reasons import reasons_of
from fraudstream.errors import DataFileError, SettingsError
from fraudstream.score.ensemble import MEMBERS, Ensemble, LeftOut
from fraudstream.training.evaluate import judge_model
from fraudstream.training.evaluate_rows import FEWEST_SAMPLE_ROWS, campaign_column, read_labelled
from fraudstream.training.evaluation import ENSEMBLE, METHODS
from fraudstream.training.history import History, write
from fraudstream.training.known_cards import unknown_until_judged
from fraudstream.training.stories import costliest_misses
from fraudstream.training.streaks import find_streaks
from tests.fitted import small_ensemble, small_history, small_stream
from tests.judged import SINCE, silent, small_judged, small_order

DAY_S = 86_400


def test_rows_are_judged_from_since_on_with_the_scores_of_the_replayed_stream() -> None:
    _, judged = small_judged()
    stream = small_stream()
    first = len(small_history().between(until=SINCE))
    assert judged.rows.tolist() == list(range(first, len(small_history())))
    expected = small_ensemble().score(stream.features[first:], stream.sequences[first:])
    np.testing.assert_array_equal(judged.scores[ENSEMBLE], expected.anomaly)
    for at, name in enumerate(MEMBERS):
        np.testing.assert_array_equal(judged.scores[name], expected.members[:, at])
    np.testing.assert_array_equal(judged.surprise, expected.surprise)
    np.testing.assert_array_equal(judged.is_fraud, stream.is_fraud == 1)
    np.testing.assert_array_equal(judged.amount, small_history().numbers("amount")[first:])
    assert tuple(judged.scores) == METHODS
    assert (judged.thresholds == 0.9).all()
    np.testing.assert_array_equal(judged.flagged, expected.anomaly > 0.9)
    assert judged.has_seen_judged  # this model was fitted to the whole stream
    assert judged.reasons(5) == reasons_of(
        float(judged.scores[ENSEMBLE][5]),
        float(judged.amount[5]),
        judged.features[5],
        judged.surprise[5],
        judged.members[5].tolist(),
        judged.weights,
    )


def test_known_cards_are_left_out_only_when_asked(tmp_path: Path) -> None:
    _, judged = small_judged()
    order = replace(small_order(tmp_path), without_compromised=True, label_delay_days=2)
    found = judge_model(order, silent, judged)
    expected = unknown_until_judged(judged.time_s // DAY_S, judged.user, judged.is_fraud, judged.rows, 2)
    assert found.rows.tolist() == judged.rows[expected].tolist()
    assert found.left_out == (~expected).sum() > 0
    assert judged.left_out == 0


def test_baselines_of_another_model_are_taken_where_the_features_are_equal_and_not_else(tmp_path: Path) -> None:
    _, judged = small_judged()
    order = small_order(tmp_path)
    shown: list[str] = []

    @contextmanager
    def stage(what: str, _total: int) -> Iterator[Callable[[int], None]]:
        shown.append(what)
        yield lambda _done: None

    found = judge_model(order, stage, judged)
    assert shown == ["replay", "score"]
    for name in METHODS:
        np.testing.assert_array_equal(found.scores[name], judged.scores[name])
    features = judged.features.copy()
    features[0, 0] += 1.0
    judge_model(order, stage, replace(judged, features=features))
    assert "half-space trees" in shown


def test_a_member_that_fails_has_no_figures_and_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw_scores = Ensemble.raw_scores

    def broken(
        self: Ensemble, inputs: NDArray[np.float32], sequences: NDArray[np.uint32], left_out: LeftOut | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        raw, surprise = raw_scores(self, inputs, sequences, left_out)
        raw[:, MEMBERS.index("lstm")] = np.nan
        return raw, surprise

    order = small_order(tmp_path)
    monkeypatch.setattr(Ensemble, "raw_scores", broken)
    found = judge_model(order, silent, small_judged()[1])
    assert found.degraded == ("lstm",)
    assert tuple(found.scores) == tuple(name for name in METHODS if name != "lstm")


def test_the_scenario_of_the_handbook_counts_as_the_campaign_where_there_is_no_other(tmp_path: Path) -> None:
    order = small_order(tmp_path)
    scenario = replace(order, source=tmp_path / "scenario.csv")
    write(small_history(), tmp_path / "plain.csv")
    text = (tmp_path / "plain.csv").read_text(encoding="utf-8").replace("campaign", "fraud_scenario", 1)
    scenario.source.write_text(text, encoding="utf-8")
    assert campaign_column(scenario) == "fraud_scenario"
    history, _ = read_labelled(scenario, small_stream().reference.category)
    assert history.frauds_by_campaign() == small_history().frauds_by_campaign()
    assert campaign_column(order) == "campaign"
    assert campaign_column(replace(order, columns={"campaign": "kind"})) == "kind"


def test_a_row_that_comes_twice_is_judged_once_and_counted(tmp_path: Path) -> None:
    _, judged = small_judged()
    order = small_order(tmp_path)
    table = small_history().table
    again = [len(table) - 7, int(judged.rows[0]) + 3, 2000]  # the last of them is none that is judged
    write(History(pa.concat_tables([table, table.take(pa.array(again))]).sort_by("timestamp")), order.source)
    found = judge_model(order, silent)
    assert found.duplicates == 2
    np.testing.assert_array_equal(found.scores[ENSEMBLE], judged.scores[ENSEMBLE])
    np.testing.assert_array_equal(found.amount, judged.amount)
    assert judged.duplicates == 0


def test_a_fraud_that_comes_twice_is_one_step_of_its_streak_and_one_line_of_a_story(tmp_path: Path) -> None:
    _, judged = small_judged()
    order = small_order(tmp_path)
    table = small_history().table
    again = judged.rows[judged.is_fraud[judged.rows]]
    repeated = pa.array(np.sort(np.concatenate([np.arange(len(table)), again, again])))
    write(History(table.take(repeated)), order.source)
    found = judge_model(order, silent, judged)
    assert found.duplicates == 2 * len(again)
    assert found.is_fraud.sum() == judged.is_fraud.sum()
    expected, streaks = (find_streaks(one.user, one.time_s, one.is_fraud, one.rows) for one in (judged, found))
    for name in ("rows", "number", "step", "elapsed_s"):
        np.testing.assert_array_equal(getattr(streaks, name), getattr(expected, name))
    assert costliest_misses(found) == costliest_misses(judged)


@pytest.mark.parametrize(
    ("since", "words"),
    [
        ("2031-01-01", "expected transactions to judge from --since 2031-01-01 on, got none"),
        ("2025-01-06", f"expected at least {2 * FEWEST_SAMPLE_ROWS:,} transactions before --since"),
        ("2025-03-06T23:50", "expected frauds and others to tell apart"),
    ],
)
def test_too_little_to_judge_or_to_learn_from_is_refused(tmp_path: Path, since: str, words: str) -> None:
    with pytest.raises(DataFileError, match=words):
        judge_model(replace(small_order(tmp_path), since=since), silent)


def test_borders_the_wrong_way_round_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="exchange them"):
        judge_model(replace(small_order(tmp_path), until="2025-01-07"), silent)


def test_a_file_without_labels_is_refused(tmp_path: Path) -> None:
    order = small_order(tmp_path)
    write(History(small_history().table.drop_columns(["is_fraud", "campaign"])), order.source)
    with pytest.raises(DataFileError, match="expected labels in a column is_fraud"):
        judge_model(order, silent)
