"""Every baseline is its library called plainly, and each puts frauds that stand out first: none is made to lose."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from pyod.models.ecod import ECOD  # type: ignore[import-untyped]
from pyod.models.hbos import HBOS  # type: ignore[import-untyped]
from river.anomaly import HalfSpaceTrees
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score

from fraudstream.features.catalogue import index_of, model_inputs
from fraudstream.features.kernel import FEATURE_COUNT
from fraudstream.training import baselines
from fraudstream.training.baselines import BASELINES, Rows, baseline_scores
from fraudstream.training.half_space import CompiledTrees
from fraudstream.training.metrics import Floats
from tests.judged import silent

SEED = 3
FRAUDS = 40
DAY_S = 86_400


@cache
def drawn() -> tuple[Rows, Rows]:
    """A sample, and judged rows whose last ones stand out in everything."""
    random = np.random.default_rng(SEED)

    def rows(count: int, frauds: int) -> Rows:
        usual = np.arange(count) < count - frauds
        hour = np.where(usual, random.uniform(9, 21, count), random.uniform(2, 4, count))
        features = random.lognormal(size=(count, FEATURE_COUNT)) * np.where(usual, 1.0, 8.0)[:, None]
        return Rows(
            amount=random.lognormal(3, 0.5, count) * np.where(usual, 1.0, 8.0),
            time_s=np.arange(count) * DAY_S + (3600 * hour).astype(np.int64),
            features=features.astype(np.float32),
        )

    return rows(1500, 0), rows(1000, FRAUDS)


@cache
def scored() -> dict[str, Floats]:
    return dict(baseline_scores(*drawn(), SEED, silent))


def test_all_baselines_are_there_in_their_order() -> None:
    assert tuple(scored()) == BASELINES


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_puts_frauds_that_stand_out_first(name: str) -> None:
    is_fraud = np.arange(1000) >= 1000 - FRAUDS
    assert scored()[name].shape == (1000,)
    assert roc_auc_score(is_fraud, scored()[name]) > 0.9


def test_the_one_line_rules_are_columns_of_the_stream() -> None:
    judged = drawn()[1]
    np.testing.assert_array_equal(scored()["amount"], judged.amount)
    for name in ("amount_to_mean_30d", "sum_24h"):
        np.testing.assert_array_equal(scored()[name], judged.features[:, index_of(name)])


def test_the_raw_forest_is_that_of_scikit_learn_on_amount_and_hour() -> None:
    sample, judged = (
        np.stack(
            [
                np.log1p(rows.amount),
                np.sin(2 * np.pi * rows.time_s / DAY_S),
                np.cos(2 * np.pi * rows.time_s / DAY_S),
            ],
            axis=1,
        ).astype(np.float32)
        for rows in drawn()
    )
    forest = IsolationForest(n_estimators=200, max_samples=256, random_state=SEED).fit(sample)
    np.testing.assert_allclose(scored()["isolation_forest_raw"], -forest.score_samples(judged), atol=2e-3)


def test_ecod_and_hbos_are_those_of_pyod_on_the_models_inputs() -> None:
    sample, judged = (model_inputs(rows.features) for rows in drawn())
    np.testing.assert_allclose(scored()["ecod"], ECOD().fit(sample).decision_function(judged))
    np.testing.assert_allclose(scored()["hbos"], HBOS(n_bins=50).fit(sample).decision_function(judged))


def test_half_space_trees_are_those_of_river_one_row_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    sample, judged = (model_inputs(rows.features) for rows in drawn())
    low, high = sample.min(axis=0), sample.max(axis=0)
    trees = HalfSpaceTrees(n_trees=50, height=8, window_size=250, seed=SEED)
    expected = []
    for row in ((sample[-1000:] - low) / (high - low)).tolist():
        trees.learn_one(dict(enumerate(row)))  # type: ignore[no-untyped-call]
    for row in ((judged - low) / (high - low)).tolist():
        expected.append(trees.score_one(dict(enumerate(row))))  # type: ignore[no-untyped-call]
        trees.learn_one(dict(enumerate(row)))  # type: ignore[no-untyped-call]
    np.testing.assert_array_equal(scored()["half_space_trees"], expected)
    monkeypatch.setattr(baselines, "_ADVANCE_ROWS", 7)
    again = baselines.half_space_trees(sample, judged, SEED, lambda _done: None)
    np.testing.assert_array_equal(again, expected)


@pytest.mark.parametrize("learnt_rows", [1, 13, 49, 50, 120])
def test_compiled_trees_go_on_where_river_stands(learnt_rows: int) -> None:
    random = np.random.default_rng(learnt_rows)
    rows = np.round(random.normal(0.5, 0.4, (400, 3)), 1)  # ties with each other, and values outside of the limits
    river, taken_over = (HalfSpaceTrees(n_trees=5, height=4, window_size=50, seed=2) for _ in range(2))
    expected = []
    for at, row in enumerate(rows.tolist()):
        if at >= learnt_rows:
            expected.append(river.score_one(dict(enumerate(row))))  # type: ignore[no-untyped-call]
        else:
            taken_over.learn_one(dict(enumerate(row)))  # type: ignore[no-untyped-call]
        river.learn_one(dict(enumerate(row)))  # type: ignore[no-untyped-call]
    found = CompiledTrees(taken_over, learnt_rows).score_and_learn(rows[learnt_rows:])
    np.testing.assert_array_equal(found, expected)
    assert len(set(expected)) > 20


def test_a_baseline_learns_nothing_from_rows_that_come_later() -> None:
    sample, judged = drawn()
    fewer = Rows(judged.amount[:300], judged.time_s[:300], judged.features[:300])
    for name, scores in baseline_scores(sample, fewer, SEED, silent):
        if name != "ecod":  # pyod ranks all rows that it is shown among each other
            np.testing.assert_array_equal(scores, scored()[name][:300], err_msg=name)
