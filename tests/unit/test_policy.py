"""Contamination is a share of all traffic, or of each category's: thresholds, and who gets one of their own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fraudstream.decide.policy import FEWEST_ABOVE, Policy
from fraudstream.score.calibration import MemberWeights
from fraudstream.score.ensemble import DEFAULT_WEIGHTS, Ensemble
from fraudstream.state.event import ABSENT
from tests.fitted import small_ensemble

UNKNOWN = 64_999
WEIGHTS: tuple[MemberWeights, ...] = (DEFAULT_WEIGHTS, (1.0, 0.0, 0.0), (0.1, 0.3, 0.6))


def ensemble_of(category: NDArray[np.integer], weights: MemberWeights = DEFAULT_WEIGHTS, seed: int = 0) -> Ensemble:
    """Reference scores that lie higher the greater the hash of their category is; many LSTM scores tie at 0."""
    whole, random = small_ensemble(), np.random.default_rng(seed)
    common = random.normal(size=len(category)) + np.argsort(np.argsort(category)) / len(category)
    first, second, third = (common + random.normal(size=len(category)) for _ in range(3))
    raw = np.stack([first, np.exp(second), np.maximum(third - 1.0, 0.0)], axis=1)
    return Ensemble(whole.forest, whole.autoencoder, whole.lstm, raw, weights, category)


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 900), min_size=1, max_size=8),
    contamination=st.sampled_from((0.3, 0.1, 0.05, 0.01)),
    weights=st.sampled_from(WEIGHTS),
    seed=st.integers(0, 99),
)
def test_the_share_of_each_segment_above_its_threshold_is_the_contamination(
    sizes: list[int], contamination: float, weights: MemberWeights, seed: int
) -> None:
    hashes = np.array([ABSENT, *range(1, 65_536, 9_000)])[: len(sizes)]
    category = np.random.default_rng(seed).permutation(np.repeat(hashes, sizes))
    ensemble = ensemble_of(category, weights, seed)
    policy = Policy.of(contamination, "category", ensemble)
    above = ensemble.reference_anomaly() > policy.thresholds(category)
    for one, rows in zip(hashes.tolist(), sizes, strict=True):
        if rows * contamination >= FEWEST_ABOVE:
            assert above[category == one].mean() == pytest.approx(contamination, abs=1.01 / rows)
        else:
            assert policy.thresholds(np.array([one]))[0] == policy.threshold


def test_a_category_that_is_rare_or_unknown_keeps_the_common_threshold() -> None:
    category = np.repeat([7, 8], [249, 250])
    policy = Policy.of(0.1, "category", ensemble_of(category))
    rare, own, unknown = policy.thresholds(np.array([7, 8, UNKNOWN]))
    assert rare == unknown == policy.threshold == 0.9
    assert own != policy.threshold


def test_nobody_has_a_threshold_of_his_own_unless_it_is_asked_for() -> None:
    category = np.repeat([7, 8], 1000)
    policy = Policy.of(0.1, "none", ensemble_of(category))
    assert policy.by_category is None
    assert policy.thresholds(category).tolist() == [0.9] * 2000


def test_confidence_follows_the_threshold_that_was_applied() -> None:
    scores, thresholds = np.array([0.85, 0.85, 0.15]), np.array([0.8, 0.9, 0.8])
    assert Policy(0.1).confidence(scores, thresholds).tolist() == [0.85, 1 - 0.85, 0.85]
