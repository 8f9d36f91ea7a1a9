"""The surprise of inputs, and what the autoencoder makes of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudstream.features.catalogue import MODEL_INPUTS, model_inputs
from fraudstream.score.autoencoder import Autoencoder
from fraudstream.score.transform import KNOTS, SMALLEST_TAIL, TailTransform
from fraudstream.training.networks import AutoencoderNetwork, fill
from tests.fitted import small_ensemble, small_stream

STEP = -math.log(SMALLEST_TAIL) / (KNOTS - 1)
"""Knots are this far apart: half of it is what a surprise may be off by, all of it next to a tie."""


def network_of(autoencoder: Autoencoder) -> AutoencoderNetwork:
    """As torch computes it."""
    network = AutoencoderNetwork(len(MODEL_INPUTS))
    fill(network, autoencoder.parameters)
    return network


def naive_surprise(sample: list[float], value: float) -> float:
    tail = sum(known >= value for known in sample) / len(sample)
    return -math.log(max(tail, SMALLEST_TAIL))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 12), min_size=2000, max_size=2000),
    st.integers(0, 12),
)
def test_the_surprise_of_a_count_is_minus_log_of_the_share_as_high_or_higher(sample: list[int], value: int) -> None:
    transform = TailTransform.fit(np.array(sample, np.float32)[:, None])
    found = float(transform(np.full((1, 1), value, np.float32))[0, 0])
    assert found == pytest.approx(naive_surprise([float(known) for known in sample], float(value)), abs=1.5 * STEP)


def test_the_surprise_of_a_continuous_value_is_that_of_the_sample() -> None:
    sample = np.random.default_rng(2).lognormal(size=20_000).astype(np.float32)
    transform = TailTransform.fit(sample[:, None])
    values = np.quantile(sample, np.linspace(0, 0.9989, 50)).astype(np.float32)
    expected = [naive_surprise(sample.tolist(), float(value)) for value in values]
    np.testing.assert_allclose(transform(values[:, None])[:, 0], expected, atol=STEP)


def test_surprise_never_falls_as_a_value_rises_and_is_bounded() -> None:
    inputs = model_inputs(small_stream().features)
    transform = TailTransform.fit(inputs)
    ladder = np.linspace(inputs.min(axis=0) - 1, inputs.max(axis=0) + 1, 500).astype(np.float32)
    surprise = transform(ladder)
    assert (np.diff(surprise, axis=0) >= 0).all()
    assert surprise.min() == 0.0
    assert surprise.max() == pytest.approx(-math.log(SMALLEST_TAIL))


def test_values_between_two_knots_are_told_apart() -> None:
    sample = np.random.default_rng(2).normal(size=20_000).astype(np.float32)
    transform = TailTransform.fit(sample[:, None])
    between = np.linspace(np.quantile(sample, 0.02), np.quantile(sample, 0.998), 3 * KNOTS).astype(np.float32)
    assert (np.diff(transform(between[:, None])[:, 0]) > 0).all()


def test_less_than_expected_adds_nothing() -> None:
    autoencoder = small_ensemble().autoencoder
    inputs = model_inputs(small_stream().features[2000:2300])
    surprise = autoencoder.transform(inputs)
    expected = network_of(autoencoder)(torch.from_numpy(surprise)).numpy()
    _, residual = autoencoder.score(inputs)
    clearly_less = surprise < expected - 1e-3
    assert 0.1 < clearly_less.mean() < 0.9
    assert not residual[clearly_less].any()


def test_the_kernel_says_what_the_network_says() -> None:
    """Against the network in double precision; torch itself in single precision is off by as much."""
    autoencoder = small_ensemble().autoencoder
    inputs = model_inputs(small_stream().features[:1500])
    surprise, exact = torch.from_numpy(autoencoder.transform(inputs)).double(), network_of(autoencoder)
    with torch.inference_mode():
        excess = (surprise - exact.double()(surprise).clamp(min=0.0)).clamp(min=0.0).square() * exact.weight
    scores, residual = autoencoder.score(inputs)
    np.testing.assert_allclose(residual, excess.numpy(), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(scores, excess.mean(1).numpy(), rtol=1e-6, atol=1e-6)


def test_the_smallest_value_surprises_nobody_however_often_it_came() -> None:
    transform = TailTransform.fit(np.array([[0.0]] * 900 + [[1.0]] * 100, np.float32))
    np.testing.assert_allclose(transform(np.array([[0.0], [1.0]], np.float32))[:, 0], [0.0, -math.log(0.1)], atol=STEP)


def test_the_score_is_the_mean_of_what_the_inputs_add_to_it() -> None:
    score, residual = small_ensemble().autoencoder.score(model_inputs(small_stream().features[:300]))
    assert residual.shape == (300, len(MODEL_INPUTS))
    assert (residual >= 0).all()
    np.testing.assert_allclose(score, residual.mean(axis=1), rtol=1e-5)


def test_what_lies_above_the_cap_counts_in_full() -> None:
    autoencoder = small_ensemble().autoencoder
    inputs = model_inputs(small_stream().features[2000:2100])
    for column in range(len(MODEL_INPUTS)):
        higher, highest = inputs.copy(), inputs.copy()
        knots = autoencoder.transform.knots[column]
        above = np.flatnonzero(np.arange(KNOTS) * STEP > float(autoencoder.parameters["cap"][column]) + STEP)
        if len(np.unique(knots[above])) < 2:
            continue  # an input that is nearly always the same has no room above its cap
        higher[:, column], highest[:, column] = np.unique(knots[above])[[0, -1]]
        lower_score, lower_residual = autoencoder.score(higher)
        upper_score, upper_residual = autoencoder.score(highest)
        others = np.arange(len(MODEL_INPUTS)) != column
        assert (upper_score > lower_score).all(), MODEL_INPUTS[column].name
        np.testing.assert_array_equal(upper_residual[:, others], lower_residual[:, others])


def test_frauds_score_higher_than_honest_transactions() -> None:
    stream = small_stream()
    score, _ = small_ensemble().autoencoder.score(model_inputs(stream.features[2000:]))
    is_fraud = stream.is_fraud[2000:] == 1
    assert np.median(score[is_fraud]) > np.quantile(score[~is_fraud], 0.75)


def test_a_value_that_is_no_number_reaches_the_score() -> None:
    inputs = model_inputs(small_stream().features[:2])
    inputs[1, 3] = np.nan
    score, _ = small_ensemble().autoencoder.score(inputs)
    assert np.isfinite(score).tolist() == [True, False]


def test_tensors_bring_the_same_autoencoder_back() -> None:
    autoencoder = small_ensemble().autoencoder
    inputs = model_inputs(small_stream().features[:100])
    again = Autoencoder.from_tensors(autoencoder.tensors())
    for found, expected in zip(again.score(inputs), autoencoder.score(inputs), strict=True):
        np.testing.assert_array_equal(found, expected)
    for name, parameter in autoencoder.parameters.items():
        np.testing.assert_array_equal(again.parameters[name], parameter)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda tensors: tensors.pop("layers.2.bias"), r"\['layers.2.bias'\] missing"),
        (lambda tensors: tensors.update(more=np.zeros(1)), r"\['more'\] unknown"),
        (lambda tensors: tensors.update(cap=np.zeros(3)), r"cap of shape"),
    ],
)
def test_tensors_of_another_network_are_refused(harm: Callable[[dict[str, Any]], object], said: str) -> None:
    tensors = small_ensemble().autoencoder.tensors()
    harm(tensors)
    with pytest.raises(ValueError, match=said):
        Autoencoder.from_tensors(tensors)
