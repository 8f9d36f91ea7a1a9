"""The measures of evaluation against scikit-learn's, under ties and weights."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from fraudstream.training.metrics import Ranking, card_precision, most_suspicious

rows = st.lists(
    st.tuples(st.integers(0, 6), st.booleans(), st.integers(0, 4)),  # score, with many ties; fraud; user
    min_size=2,
    max_size=60,
).filter(lambda drawn: len({fraud for _, fraud, _ in drawn}) == 2)
user_weights = st.lists(st.integers(0, 3), min_size=5, max_size=5)


@given(rows, user_weights)
def test_the_measures_are_those_of_scikit_learn(drawn: list[tuple[int, bool, int]], weights: list[int]) -> None:
    scores, is_fraud, user = (np.array(column) for column in zip(*drawn, strict=True))
    counts = np.array(weights, np.float64)
    row_weights = counts[user]
    found = Ranking.of(scores.astype(np.float64), is_fraud, user.astype(np.int32), 5).measure(counts)
    if not row_weights[is_fraud].sum() or not row_weights[~is_fraud].sum():
        assert np.isnan(found.auc)
        return
    kept = row_weights > 0
    labels, values, sample_weight = is_fraud[kept], scores[kept], row_weights[kept]
    expected = sklearn_metrics.roc_auc_score(labels, values, sample_weight=sample_weight)
    assert found.auc == pytest.approx(expected)
    expected = sklearn_metrics.average_precision_score(labels, values, sample_weight=sample_weight)
    assert found.average_precision == pytest.approx(expected)
    false, true, _ = sklearn_metrics.roc_curve(labels, values, sample_weight=sample_weight, drop_intermediate=False)
    assert found.tpr_at_1pct_fpr == pytest.approx(np.interp(0.01, false, true))


def test_a_card_that_was_found_is_not_found_again() -> None:
    day, user = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1], np.int32)
    is_fraud, scores = np.array([True, False, True, True]), np.array([0.9, 0.1, 0.9, 0.2])
    # Day 0 finds user 0 among 100 cards, day 1 user 1; user 0 is known by then.
    assert card_precision(day, user, is_fraud, scores) == pytest.approx((1 / 100 + 1 / 100) / 2)


def test_of_equal_scores_the_first_come_first() -> None:
    assert sorted(most_suspicious(np.array([1.0, 2.0, 2.0, 2.0, 0.0]), 2).tolist()) == [1, 2]
