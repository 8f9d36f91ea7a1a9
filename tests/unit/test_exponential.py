"""The exponential of the small networks, against the one of double precision."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudstream.score.exponential import LEAST, MOST, add_products, exp_of


def exponentials(values: list[float]) -> list[float]:
    found, powers = np.array(values, np.float32), np.empty(len(values), np.int32)
    exp_of(found, powers, powers.view(np.float32), len(values))
    return [float(value) for value in found]


@settings(deadline=None)
@given(st.lists(st.floats(float(LEAST), float(MOST), width=32), min_size=1, max_size=70))
def test_it_is_right_to_the_last_bits(values: list[float]) -> None:
    for value, found in zip(values, exponentials(values), strict=True):
        assert math.isclose(found, math.exp(value), rel_tol=2e-7)


@settings(deadline=None)
@given(st.lists(st.floats(width=32), min_size=2, max_size=70))
def test_a_value_has_the_same_bits_at_every_place_of_a_vector(values: list[float]) -> None:
    together, alone = exponentials(values), [exponentials([value])[0] for value in values]
    np.testing.assert_array_equal(together, alone)


def test_what_is_no_number_stays_none_and_extremes_stay_finite() -> None:
    nothing, low, high = exponentials([math.nan, -math.inf, math.inf])
    assert math.isnan(nothing)
    assert 0.0 < low < 1e-37
    assert 1e38 < high < math.inf


@pytest.mark.parametrize("rows", range(10))
def test_a_sum_of_products_is_made_in_the_order_of_the_inputs(rows: int) -> None:
    random = np.random.default_rng(1)
    inputs = random.normal(size=(rows, 16)).astype(np.float32)
    weights = random.normal(size=(16, 37)).astype(np.float32)
    sums = random.normal(size=(rows + 1, 37)).astype(np.float32)
    expected = sums.copy()
    for row in range(rows):
        for value, of_input in zip(inputs[row], weights, strict=True):
            expected[row] += value * of_input
    add_products(inputs, weights, sums, rows, 16, 37)
    np.testing.assert_array_equal(sums, expected)
