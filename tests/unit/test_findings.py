"""What follows from judged rows: budgets, leads, groups, weeks, calibration and drift, each against a plain reading."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from fraudstream.features.catalogue import FEATURE_NAMES
from fraudstream.training.baselines import BASELINES
from fraudstream.training.evaluation import ENSEMBLE, METHODS, Evaluation
from fraudstream.training.findings import budget, find
from tests.judged import silent, small_judged

CONTAMINATION = 0.10


@cache
def found() -> Evaluation:
    order, judged = small_judged()
    return find(judged, order.seed, order.draws, silent)


rows = st.lists(st.tuples(st.integers(0, 9), st.booleans(), st.integers(0, 100)), min_size=1, max_size=40)


@given(rows, st.sampled_from([0.0, 0.01, 0.1, 0.5, 1.0]))
def test_a_budget_is_spent_on_the_top_rows(drawn: list[tuple[int, bool, int]], share: float) -> None:
    scores, is_fraud, amount = (np.array([row[at] for row in drawn]) for at in range(3))
    one = budget(scores.astype(np.float64), is_fraud, amount.astype(np.float64), share)
    looked_at = sorted(range(len(drawn)), key=lambda at: (-drawn[at][0], at))[: round(share * len(drawn))]
    caught = [drawn[at] for at in looked_at if drawn[at][1]]
    assert one.alerts == len(looked_at)
    assert one.frauds_caught == len(caught)
    assert one.money_saved == sum(row[2] for row in caught)
    frauds, stolen = sum(row[1] for row in drawn), sum(row[2] for row in drawn if row[1])
    assert one.frauds_share == (len(caught) / frauds if frauds else 0.0)
    assert one.money_share == pytest.approx(one.money_saved / stolen if stolen else 0.0)


def test_every_method_has_its_figures() -> None:
    _, judged = small_judged()
    is_fraud = judged.is_fraud[judged.rows]
    assert tuple(found().methods) == METHODS
    for name, method in found().methods.items():
        assert method.auc == pytest.approx(roc_auc_score(is_fraud, judged.scores[name]))
        assert method.average_precision == pytest.approx(average_precision_score(is_fraud, judged.scores[name]))
        for measure, between in method.intervals.items():
            assert between is not None
            assert between[0] <= getattr(method, measure) <= between[1], (name, measure)
        assert (judged.scores[name][~is_fraud] > method.threshold_at_1pct_fpr).mean() <= 0.01


def test_the_difference_is_to_the_baseline_that_is_best_by_the_measure() -> None:
    for measure, one in found().differences.items():
        values = {name: getattr(found().methods[name], measure) for name in BASELINES}
        assert values[one.baseline] == max(values.values())
        assert one.difference == pytest.approx(getattr(found().methods[ENSEMBLE], measure) - values[one.baseline])


def test_months_and_categories_part_the_rows_and_campaigns_the_frauds() -> None:
    _, judged = small_judged()
    is_fraud = judged.is_fraud[judged.rows]
    for kind in ("month", "category"):
        groups = found().groups[kind].values()
        assert sum(group.rows for group in groups) == len(judged.rows)
        assert sum(group.frauds for group in groups) == is_fraud.sum()
    campaigns = found().groups["campaign"].values()
    assert sum(group.frauds for group in campaigns) == is_fraud.sum()
    assert {group.rows - group.frauds for group in campaigns} == {int((~is_fraud).sum())}
    caught = sum(
        group.frauds * (group.methods[ENSEMBLE].caught_at_1pct_fpr or 0.0) for group in found().groups["month"].values()
    )
    threshold = found().methods[ENSEMBLE].threshold_at_1pct_fpr
    assert round(caught) == (judged.scores[ENSEMBLE][is_fraud] > threshold).sum()


def test_weeks_are_seven_days_from_the_first_one_and_an_unfinished_one_counts_for_no_extreme() -> None:
    _, judged = small_judged()
    rate = found().alert_rate
    assert sum(week.rows for week in rate.weeks) == len(judged.rows)
    assert [week.start for week in rate.weeks] == ["2025-02-05", "2025-02-12", "2025-02-19", "2025-02-26", "2025-03-05"]
    assert [week.is_whole for week in rate.weeks] == [True] * 4 + [False]
    time_s, flagged = judged.time_s[judged.rows], judged.scores[ENSEMBLE] > 0.9
    for week in rate.weeks:
        start_s = datetime.fromisoformat(week.start).replace(tzinfo=UTC).timestamp()
        chosen = (time_s >= start_s) & (time_s < start_s + 7 * 86_400)
        assert week.rows == chosen.sum()
        assert week.alert_rate == pytest.approx(flagged[chosen].mean())
    whole = [week.alert_rate / CONTAMINATION for week in rate.weeks if week.is_whole]
    assert (rate.lowest_relative, rate.highest_relative) == pytest.approx((min(whole), max(whole)))
    assert rate.frauds_caught == (flagged & judged.is_fraud[judged.rows]).sum()


def test_calibration_says_how_many_rows_lie_above_a_score() -> None:
    scores = small_judged()[1].scores[ENSEMBLE]
    assert found().calibration == [(point, (scores > point).mean()) for point, _ in found().calibration]


def test_drift_is_told_of_every_feature_and_the_one_that_moved_comes_first() -> None:
    _, judged = small_judged()
    assert set(found().drift) == set(FEATURE_NAMES)
    features = judged.features.copy()
    features[:, FEATURE_NAMES.index("hour_rarity")] += 100.0
    moved = find(replace(judged, features=features), 1, 0, silent).drift
    assert next(iter(moved)) == "hour_rarity"
    assert list(moved.values()) == sorted(moved.values(), reverse=True)


def test_frauds_of_one_user_only_give_no_interval() -> None:
    _, judged = small_judged()
    frauds = np.flatnonzero(judged.is_fraud & (np.arange(len(judged.is_fraud)) >= judged.rows[0]))
    alone = judged.is_fraud & (judged.user == judged.user[frauds[0]])
    few = find(replace(judged, is_fraud=alone), 1, 20, silent)
    assert set(few.methods[ENSEMBLE].intervals.values()) == {None}
    assert few.differences["average_precision"].interval is None


def test_the_same_seed_gives_the_same_result_and_json_holds_all_of_it() -> None:
    order, judged = small_judged()
    again = find(judged, order.seed, order.draws, silent)
    assert again == found()
    as_json = json.loads(json.dumps(found().as_json()))
    assert as_json["campaigns"].keys() == found().campaigns.keys()
    assert as_json["methods"][ENSEMBLE]["auc"] == found().methods[ENSEMBLE].auc
