"""The measures of evaluation against scikit-learn's, under ties and weights."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from fraudstream.training import metrics
from fraudstream.training.metrics import (
    Ranking,
    bootstrap,
    card_precision,
    most_suspicious,
    population_stability_index,
)

rows = st.lists(
    st.tuples(st.integers(0, 6), st.booleans(), st.integers(0, 4)),  # score, with many ties; fraud; user
    min_size=2,
    max_size=60,
).filter(lambda drawn: len({fraud for _, fraud, _ in drawn}) == 2)
user_weights = st.lists(st.integers(0, 3), min_size=5, max_size=5)


@settings(deadline=None)  # the first draw compiles
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


card_rows = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 4), st.booleans(), st.integers(0, 9)),  # day; user; fraud; score
    min_size=1,
    max_size=40,
)


@given(card_rows)
def test_card_precision_is_that_of_a_team_that_looks_at_cards_day_by_day(
    drawn: list[tuple[int, int, bool, int]],
) -> None:
    # Scores that no two cards share, so that there is one order only.
    scores = np.array([score + 0.1 * user for _, user, _, score in drawn])
    day, user, is_fraud = (np.array([row[at] for row in drawn]) for at in range(3))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "CARDS_A_DAY", 2)
        found = card_precision(day, user.astype(np.int32), is_fraud, scores)
    known: set[int] = set()
    shares = []
    for today in sorted(set(day.tolist())):
        best: dict[int, float] = {}
        for at in np.flatnonzero(day == today).tolist():
            if int(user[at]) not in known:
                best[int(user[at])] = max(float(scores[at]), best.get(int(user[at]), -1.0))
        shown = sorted(best, key=lambda card: -best[card])[:2]
        hit = {card for card in shown if is_fraud[(day == today) & (user == card)].any()}
        known |= hit
        shares.append(len(hit) / 2)
    assert found == pytest.approx(sum(shares) / len(shares))


def test_the_threshold_lets_no_more_than_its_share_of_normal_rows_pass() -> None:
    scores, is_fraud = np.arange(200.0), np.arange(200) % 2 == 1
    ranking = Ranking.of(scores, is_fraud, np.zeros(200, np.int32), 1)
    for rate in (0.0, 0.01, 0.1, 0.5):
        threshold = ranking.threshold_at(rate)
        assert (scores[~is_fraud] > threshold).mean() <= rate
        assert (scores[~is_fraud] > threshold - 2.0).mean() > rate


def test_draws_are_of_users_and_the_same_for_every_ranking() -> None:
    random = np.random.default_rng(1)
    user = np.sort(random.integers(0, 30, 600)).astype(np.int32)
    is_fraud = (user % 5 == 0) & (random.random(600) < 0.3)
    scores = random.random(600) + 0.2 * is_fraud
    ranking = Ranking.of(scores, is_fraud, user, 30)
    found = bootstrap({"one": ranking, "same": Ranking.of(2.0 * scores, is_fraud, user, 30)}, 10, seed=3)
    np.testing.assert_array_equal(found["one"], found["same"])
    drawn = np.random.default_rng(3).integers(30, size=30)
    rows = np.concatenate([np.flatnonzero(user == each) for each in drawn])
    assert found["one"][0, 0] == pytest.approx(sklearn_metrics.roc_auc_score(is_fraud[rows], scores[rows]))


def test_the_stability_index_is_its_formula_over_tenths() -> None:
    random = np.random.default_rng(2)
    reference, values = random.normal(size=5000), random.normal(0.5, 1.2, size=4000)
    borders = np.quantile(reference, np.arange(1, 10) / 10)
    shares = [np.histogram(of, [-np.inf, *borders, np.inf])[0] / len(of) for of in (reference, values)]
    expected = float(np.sum((shares[1] - shares[0]) * np.log(shares[1] / shares[0])))
    assert population_stability_index(reference, values) == pytest.approx(expected, rel=0.02)
    assert population_stability_index(reference, reference) == 0.0
    assert population_stability_index(np.zeros(100), np.zeros(70)) == pytest.approx(
        0.0, abs=1e-3
    )  # half a row in every bin
