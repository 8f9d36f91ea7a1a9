"""Fitting is repeatable, replay does not depend on how it is cut, and the default model fits this code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fraudstream.errors import ModelError
from fraudstream.features.reference import NEUTRAL
from fraudstream.score.artifact import DEFAULT_MODEL, load
from fraudstream.score.ensemble import MEMBERS, Ensemble
from fraudstream.training.default_model import make
from fraudstream.training.fit import fit
from fraudstream.training.replay import Replay, replay_features
from fraudstream.training.simulate import SimulationSpec, simulate
from tests.fitted import ALLOWED_LATENESS_S, small_ensemble, small_stream

MEGABYTE = 1_000_000


def tensors_of(ensemble: Ensemble) -> dict[str, bytes]:
    parts = {
        "forest": ensemble.forest.tensors(),
        "autoencoder": ensemble.autoencoder.tensors(),
        "lstm": ensemble.lstm.tensors(),
        "calibration": {"reference": ensemble.calibration.reference},
    }
    return {f"{part}.{name}": array.tobytes() for part, arrays in parts.items() for name, array in arrays.items()}


def assert_equal_rows(found: Replay, expected: Replay, rows: slice = slice(None)) -> None:
    np.testing.assert_array_equal(found.features, expected.features[rows])
    np.testing.assert_array_equal(found.sequences, expected.sequences[rows])
    np.testing.assert_array_equal(found.time_s, expected.time_s[rows])
    np.testing.assert_array_equal(found.status, expected.status[rows])
    np.testing.assert_array_equal(found.is_fraud, expected.is_fraud[rows])


def test_the_same_seed_gives_the_same_model_and_another_seed_another() -> None:
    stream = small_stream()
    again = tensors_of(fit(stream.features, stream.sequences, seed=1))
    assert again == tensors_of(small_ensemble())
    other = tensors_of(fit(stream.features, stream.sequences, seed=2))
    for part in ("forest.threshold", "autoencoder.layers.0.weight", "lstm.amount.weight"):
        assert other[part] != again[part]


def test_progress_comes_step_by_step_and_never_goes_back() -> None:
    stream = small_stream()
    told: list[tuple[str, float]] = []
    fit(stream.features[:1500], stream.sequences[:1500], seed=1, progress=lambda step, done: told.append((step, done)))
    assert list(dict.fromkeys(step for step, _ in told)) == [*MEMBERS, "calibration"]
    for name in (*MEMBERS, "calibration"):
        shares = [done for step, done in told if step == name]
        assert shares == sorted(shares)
        assert shares[-1] == 1.0


def test_too_few_transactions_to_learn_from_are_refused() -> None:
    stream = small_stream()
    with pytest.raises(ModelError, match="expected at least 500 transactions to learn from, got 499"):
        fit(stream.features[:499], stream.sequences[:499], seed=1)


def test_a_stream_without_categories_and_with_one_amount_can_be_learnt() -> None:
    stream = small_stream()
    sequences = stream.sequences[:1000].copy()
    sequences[..., 1:] = 0
    features = np.zeros_like(stream.features[:1000])
    scores = fit(features, sequences, seed=1).score(features, sequences)
    assert scores.degraded == ()
    assert np.isfinite(scores.anomaly).all()


def test_a_replay_does_not_depend_on_its_batches() -> None:
    history = simulate(SimulationSpec(transactions=6000, users=60, seed=7))
    found = replay_features(history, ALLOWED_LATENESS_S, small_stream().reference, batch=97)
    assert_equal_rows(found, small_stream())
    assert found.profiles == small_stream().profiles


def test_skipped_rows_fill_the_profiles_and_are_left_out() -> None:
    history = simulate(SimulationSpec(transactions=6000, users=60, seed=7))
    found = replay_features(history, ALLOWED_LATENESS_S, small_stream().reference, batch=1000, skip_rows=2500)
    assert len(found) == 3500
    assert_equal_rows(found, small_stream(), slice(2500, None))


def test_features_know_nothing_of_what_comes_later() -> None:
    history = simulate(SimulationSpec(transactions=6000, users=60, seed=7))
    assert_equal_rows(
        replay_features(history.head(1234), ALLOWED_LATENESS_S, small_stream().reference), small_stream(), slice(1234)
    )


def test_a_replay_without_labels_has_none() -> None:
    history = simulate(SimulationSpec(transactions=600, users=10, seed=7))
    unlabelled = type(history)(history.table.drop_columns(["is_fraud", "campaign"]))
    found = replay_features(unlabelled, ALLOWED_LATENESS_S, NEUTRAL)
    assert not found.is_fraud.any()
    np.testing.assert_array_equal(found.features, replay_features(history, ALLOWED_LATENESS_S, NEUTRAL).features)


def test_the_default_model_is_made_again_byte_for_byte(tmp_path: Path) -> None:
    spec = SimulationSpec(transactions=3000, users=30, seed=5)
    assert make(tmp_path / "one", spec) == make(tmp_path / "two", spec)
    assert load(tmp_path / "one").manifest.training.source == "simulated, seed 5"


def test_the_model_in_the_package_fits_this_code_and_finds_frauds() -> None:
    model = load(DEFAULT_MODEL)
    model.ensemble.warm_up()
    assert sum(path.stat().st_size for path in DEFAULT_MODEL.iterdir()) < 2 * MEGABYTE
    stream = small_stream()
    anomaly = model.ensemble.score(stream.features[2000:], stream.sequences[2000:]).anomaly
    is_fraud = stream.is_fraud[2000:] == 1
    assert np.median(anomaly[is_fraud]) > np.quantile(anomaly[~is_fraud], 0.9)
