"""What ranks and contamination promise."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudstream.errors import ModelError
from fraudstream.score.calibration import Calibration, MemberWeights, RankTable

RAW = st.floats(-1e6, 1e6, allow_nan=False).map(lambda value: round(value, 3))


def reference(rows: int = 4000) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Three correlated members of different shape; the last is 0 for most rows, as the LSTM is."""
    random = np.random.default_rng(8)
    common = random.normal(size=rows)
    first, second, third = (common + random.normal(size=rows) for _ in range(3))
    return np.stack([1 / (1 + np.exp(-first)), np.exp(second), np.maximum(third - 1.0, 0.0)], axis=1)


@settings(max_examples=100, deadline=None)
@given(st.lists(RAW, min_size=1, max_size=60), st.lists(RAW, min_size=2, max_size=20, unique=True))
def test_a_rank_lies_between_the_shares_below_and_not_above(sample: list[float], values: list[float]) -> None:
    ranks = RankTable.of(np.array(sample))(np.array(values))
    for value, rank in zip(values, ranks, strict=True):
        below, not_above = sum(s < value for s in sample), sum(s <= value for s in sample)
        # Between two values of the sample the middles of both are what is interpolated.
        assert (below - 0.5) / len(sample) <= rank <= (not_above + 0.5) / len(sample)
        assert 0.0 <= rank <= 1.0


@settings(max_examples=100, deadline=None)
@given(st.lists(RAW, min_size=1, max_size=60), st.lists(RAW, min_size=2, max_size=20, unique=True))
def test_ranks_keep_the_order_strictly_above_the_smallest(sample: list[float], values: list[float]) -> None:
    ordered = np.sort(np.array([value for value in values if value >= min(sample)]))
    ranks = RankTable.of(np.array(sample))(ordered)
    assert (np.diff(ranks) > 0).all()


def test_the_order_holds_far_beyond_the_largest_reference_score() -> None:
    sample = reference()[:, 1]
    table = RankTable.of(sample)
    beyond = sample.max() + np.geomspace(1e-6, 1e6, 200)
    ranks = table(beyond)
    assert (np.diff(ranks) > 0).all()
    assert ranks[0] > 1 - 1 / len(sample)
    assert ranks[-1] < 1.0
    assert table(np.array([np.inf]))[0] == 1.0


def test_equal_scores_get_the_lowest_rank_of_their_kind_and_the_next_one_lies_above_them_all() -> None:
    table = RankTable.of(np.array([0.0] * 70 + [1.0] * 30))
    at, just_above = table(np.array([0.0, 1e-9]))
    assert at == pytest.approx(0.005)
    assert just_above > 0.69


def test_no_number_stays_no_number() -> None:
    assert np.isnan(RankTable.of(np.array([1.0, 2.0]))(np.array([np.nan]))[0])


@pytest.mark.parametrize("weights", [(0.4, 0.4, 0.2), (1.0, 1.0, 1.0), (0.0, 0.3, 0.7), (0.0, 0.0, 1.0)])
def test_the_share_above_the_threshold_is_the_contamination(weights: MemberWeights) -> None:
    raw = reference()
    calibration = Calibration(raw, weights)
    anomaly = calibration.anomaly(np.stack([calibration.ranks(at, raw[:, at]) for at in range(3)], axis=1))
    has_many_ties = weights[:2] == (0.0, 0.0)
    for contamination in (0.2, 0.1, 0.05, 0.01, 0.005, 0.001):
        share = float((anomaly > 1 - contamination).mean())
        # The LSTM alone ties at 0 for most rows, which are all below any threshold up to this contamination.
        assert share == pytest.approx(contamination, abs=1.01 / len(raw)), (contamination, has_many_ties)


@pytest.mark.parametrize("gone", [gone for n in (1, 2) for gone in itertools.combinations(range(3), n)])
def test_contamination_holds_for_whichever_members_are_left(gone: tuple[int, ...]) -> None:
    raw = reference()
    calibration = Calibration(raw, (0.4, 0.4, 0.2))
    ranks = np.stack([calibration.ranks(at, raw[:, at]) for at in range(3)], axis=1)
    ranks[:, gone] = np.nan
    anomaly = calibration.anomaly(ranks)
    for contamination in (0.1, 0.01, 0.001):
        assert float((anomaly > 1 - contamination).mean()) == pytest.approx(contamination, abs=1.01 / len(raw))


def test_without_a_member_the_others_count_as_if_it_had_no_weight() -> None:
    raw = reference()
    ranks = np.random.default_rng(1).random((50, 3))
    without = ranks.copy()
    without[:, 1] = np.nan
    np.testing.assert_array_equal(
        Calibration(raw, (0.4, 0.4, 0.2)).anomaly(without), Calibration(raw, (0.4, 0.0, 0.2)).anomaly(ranks)
    )


def test_the_score_is_the_rank_of_the_weighted_squares_of_what_the_members_say() -> None:
    raw, weights = reference(300), (0.4, 0.4, 0.2)
    calibration = Calibration(raw, weights)
    ranks = np.stack([calibration.ranks(at, raw[:, at]) for at in range(3)], axis=1)

    def say(rank: float) -> float:
        return -math.log(1.0 - min(rank, 0.999)) + 100.0 * max(rank - 0.999, 0.0)

    totals = [sum(weight * say(rank) ** 2 for weight, rank in zip(weights, row, strict=True)) for row in ranks.tolist()]
    order = np.argsort(np.argsort(totals, kind="stable"), kind="stable")
    np.testing.assert_allclose(calibration.anomaly(ranks), (order + 0.5) / 300, atol=1e-12)


def test_one_member_that_is_sure_outweighs_three_that_wonder() -> None:
    ranks = np.array([[0.1, 0.9995, 0.1], [0.95, 0.95, 0.95]])
    sure, wondering = Calibration(reference(), (0.4, 0.4, 0.2)).anomaly(ranks)
    assert sure > wondering > 0.9


def test_a_row_keeps_its_score_when_another_row_lost_a_member() -> None:
    calibration = Calibration(reference(), (0.4, 0.4, 0.2))
    ranks = np.random.default_rng(1).random((3, 3))
    damaged = ranks.copy()
    damaged[1, 0] = np.nan
    np.testing.assert_array_equal(calibration.anomaly(damaged)[[0, 2]], calibration.anomaly(ranks)[[0, 2]])


def test_members_without_weight_are_asked_when_nobody_else_is_left() -> None:
    ranks = np.array([[0.2, np.nan, np.nan], [0.9, np.nan, np.nan]])
    low, high = Calibration(reference(), (0.0, 0.5, 0.5)).anomaly(ranks)
    assert 0.0 < low < high < 1.0


def test_a_row_without_any_rank_has_no_score() -> None:
    assert np.isnan(Calibration(reference(), (0.4, 0.4, 0.2)).anomaly(np.full((1, 3), np.nan)))[0]


def test_a_reference_that_is_not_finite_is_refused() -> None:
    raw = reference()
    raw[5, 1] = np.inf
    with pytest.raises(ModelError, match="expected finite reference scores"):
        Calibration(raw, (0.4, 0.4, 0.2))
    with pytest.raises(ModelError, match="expected reference scores of 3 members"):
        Calibration(reference()[:, :2], (0.4, 0.4, 0.2))
