"""Drift: traffic like the training's is told from traffic that has moved, and old traffic is forgotten."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from fraudstream.drift import BLOCK_S, BLOCKS, LEAST_ROWS, Drift, DriftReference, DriftReport
from fraudstream.features.catalogue import FEATURE_NAMES, MODEL_INPUTS, model_inputs
from fraudstream.score import artifact
from fraudstream.score.transform import SMALLEST_TAIL, TailTransform
from fraudstream.training.history import History
from fraudstream.training.metrics import population_stability_index
from fraudstream.training.replay import replay_features
from fraudstream.training.simulate import SimulationSpec, simulate
from tests.fitted import ALLOWED_LATENESS_S, small_stream

Judged = tuple[NDArray[np.float64], NDArray[np.float32]]
MODEL = artifact.load()
REFERENCE = DriftReference.of_knots(MODEL.ensemble.autoencoder.transform.knots, SMALLEST_TAIL)


def judged(history: History) -> Judged:
    """Scores and features by the model in the package."""
    replay = replay_features(history, ALLOWED_LATENESS_S, MODEL.reference)
    return MODEL.ensemble.score(replay.features, replay.sequences).anomaly, replay.features


@cache
def usual() -> History:
    """A simulated stream of another seed than the model's."""
    return simulate(SimulationSpec(transactions=6000, users=60, seed=8))


def report_of(rows: Judged, batch: int = 16) -> DriftReport:
    drift = Drift(REFERENCE, lambda: 0.0)
    scores, features = rows
    for at in range(0, len(scores), batch):
        drift.add(scores[at : at + batch], features[at : at + batch])
    return drift.report()


def test_a_stream_like_the_training_stays_below_a_tenth() -> None:
    found = report_of(judged(usual()))
    assert found.rows == 6000
    assert found.score_psi is not None
    assert found.score_psi < 0.1
    assert set(found.feature_psi) == {feature.name for feature in MODEL_INPUTS}
    assert max(found.feature_psi.values()) < 0.1, found.feature_psi


def test_a_stream_whose_amounts_rise_half_way_rises_above_a_quarter() -> None:
    scores, features = judged(usual())
    late = np.arange(len(scores)) >= len(scores) // 2
    amount = [feature.name for feature in MODEL_INPUTS].index("log_amount")
    moved = features.copy()
    column = np.flatnonzero([name == "log_amount" for name in FEATURE_NAMES])[0]
    moved[late, column] += 1.5
    assert model_inputs(moved)[late, amount].mean() > model_inputs(features)[late, amount].mean()
    found = report_of((np.where(late, np.minimum(scores + 0.3, 1.0), scores), moved))
    assert found.feature_psi["log_amount"] > 0.25
    assert found.score_psi is not None
    assert found.score_psi > 0.25
    others = {name: psi for name, psi in found.feature_psi.items() if name != "log_amount"}
    assert max(others.values()) < 0.1, others


def test_the_index_is_that_of_the_evaluation_where_values_are_continuous() -> None:
    random = np.random.default_rng(3)
    reference = random.normal(5.0, 1.0, (40_000, len(MODEL_INPUTS))).astype(np.float32)
    moved = random.normal(5.6, 1.3, (8_000, len(MODEL_INPUTS))).astype(np.float32)
    of_knots = DriftReference.of_knots(TailTransform.fit(reference).knots, SMALLEST_TAIL)
    np.testing.assert_allclose(of_knots.shares.sum(axis=1), 1.0)
    counts = np.bincount(np.searchsorted(of_knots.cuts[0], moved[:, 0], side="right"), minlength=10) + 0.5
    actual, expected = counts / counts.sum(), of_knots.shares[1, :10]
    psi = float(((actual - expected) * np.log(actual / expected)).sum())
    assert psi == pytest.approx(
        population_stability_index(*(rows[:, 0].astype(np.float64) for rows in (reference, moved))), rel=0.05
    )


def test_too_few_rows_say_nothing() -> None:
    scores, features = judged(usual())
    found = report_of((scores[: LEAST_ROWS - 1], features[: LEAST_ROWS - 1]))
    assert (found.rows, found.score_psi, found.feature_psi) == (LEAST_ROWS - 1, None, {})


def test_large_batches_are_sampled_and_an_hour_later_nothing_is_left() -> None:
    now_s = [0.0]
    drift = Drift(REFERENCE, lambda: now_s[0])
    features = small_stream().features
    for _ in range(40):
        drift.add(np.linspace(0.0, 1.0, 1000), features[:1000])
    assert LEAST_ROWS < drift.report().rows <= 40 * 16
    now_s[0] = BLOCK_S * (BLOCKS - 1)
    assert drift.report().rows > LEAST_ROWS
    now_s[0] = BLOCK_S * BLOCKS
    assert drift.report().rows == 0
