"""Whether a stream's merchants have prices of their own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudstream.training import merchant_prices
from fraudstream.training.merchant_prices import merchant_gain

ROWS, USERS, MERCHANTS, CATEGORIES = 20_000, 100, 40, 5


def stream(price_deviation: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Amounts around the category's mean, moved by what each user pays at each merchant."""
    random = np.random.default_rng(1)
    user, merchant = random.integers(0, USERS, ROWS), random.integers(0, MERCHANTS, ROWS)
    category = merchant % CATEGORIES
    price = random.normal(0, price_deviation, (USERS, MERCHANTS))
    return 3.0 + 0.3 * category + price[user, merchant] + random.normal(0, 1, ROWS), user, merchant, category


def test_merchants_without_prices_tell_nothing() -> None:
    assert merchant_gain(*stream(price_deviation=0.0)) == pytest.approx(0.0, abs=0.002)


def test_merchants_with_prices_tell_what_their_variance_is() -> None:
    # Known: the price, but from four other visits only, so 1 / (1 + 1/4 + ...) of half the variance.
    assert 0.3 < merchant_gain(*stream(price_deviation=1.0)) < 0.5


def test_too_few_repeats_tell_nothing() -> None:
    few = [column[:200] for column in stream(price_deviation=3.0)]
    assert merchant_gain(*few) == 0.0


def test_unknown_merchants_are_not_compared() -> None:
    amount, user, merchant, category = stream(price_deviation=3.0)
    assert merchant_gain(amount, user, np.full_like(merchant, -1), category) == 0.0


def test_one_price_for_all_leaves_nothing_to_explain() -> None:
    amount, user, merchant, category = stream(price_deviation=0.0)
    assert merchant_gain(np.zeros_like(amount), user, merchant, category) == 0.0


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(-1, 3), st.integers(-1, 1), st.floats(0, 10)), min_size=1, max_size=60
    )
)
def test_it_is_what_the_naive_way_finds(drawn: list[tuple[int, int, int, float]]) -> None:
    user, merchant, category = (np.array([row[at] for row in drawn]) for at in range(3))
    amount = np.array([row[3] for row in drawn])
    rows = []
    for i, (u, m, c, a) in enumerate(drawn):
        here = [x for j, (v, n, _, x) in enumerate(drawn) if j != i and (v, n) == (u, m)]
        elsewhere = [x for v, n, k, x in drawn if (v, k) == (u, c) and n != m]
        if m >= 0 and here and elsewhere:
            rows.append((1.0, np.mean([x for *_, k, x in drawn if k == c]), np.mean(elsewhere), np.mean(here), a))
    if not rows:
        assert gain_of(amount, user, merchant, category) == 0.0
        return
    table = np.array(rows)
    left = [
        ((table[:, 4] - table[:, :k] @ np.linalg.lstsq(table[:, :k], table[:, 4], rcond=None)[0]) ** 2).sum()
        for k in (3, 4)
    ]
    if left[0] > 1e-6:
        assert gain_of(amount, user, merchant, category) == pytest.approx(max(1 - left[1] / left[0], 0), abs=1e-6)


def gain_of(*columns: np.ndarray) -> float:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(merchant_prices, "FEWEST_REPEATS", 1)
        return merchant_gain(*columns)
