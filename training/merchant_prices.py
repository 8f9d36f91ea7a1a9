"""Do merchants have prices of their own in this stream? Measured without labels, before it decides about a feature."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FEWEST_REPEATS = 1_000
"""Transactions that can be compared; with fewer the gain is 0, as if merchants had no prices."""

Numbers = NDArray[np.float64]
Codes = NDArray[np.int64]


def merchant_gain(log_amount: Numbers, user: Codes, merchant: Codes, category: Codes) -> float:
    """How much better an amount is known when one knows what the user pays at the merchant otherwise.

    Two least-squares fits of log1p(amount): on its category's mean and the user's mean at other merchants of the
    category, and on these two and the user's mean of their other transactions at the merchant. A stream in which
    amounts depend on the category alone has a gain near 0, whatever the categories are.

    Args:
        log_amount: (n,) log1p of the amounts.
        user: (n,) who paid, any integers.
        merchant: (n,) whom, negative: unknown.
        category: (n,) for what, negative: unknown, which is a category like another.

    Returns:
        The share of the variance left by the first fit that the second explains, 0 to 1.
    """
    paid, visits = _totals(log_amount, user, merchant)
    paid_for, bought = _totals(log_amount, user, category)
    paid_here_for, bought_here = _totals(log_amount, user, category, merchant)
    comparable = (merchant >= 0) & (visits > 1) & (bought > bought_here)
    if comparable.sum() < FEWEST_REPEATS:
        return 0.0
    total, count = _totals(log_amount, category)
    usual = total / count
    elsewhere = (paid_for - paid_here_for)[comparable] / (bought - bought_here)[comparable]
    here = (paid - log_amount)[comparable] / (visits - 1)[comparable]
    amounts, known = log_amount[comparable], np.column_stack([np.ones(comparable.sum()), usual[comparable], elsewhere])
    without, with_merchant = _unexplained(known, amounts), _unexplained(np.column_stack([known, here]), amounts)
    return max(1.0 - with_merchant / without, 0.0) if without > 0.0 else 0.0


def _totals(values: Numbers, *keys: Codes) -> tuple[Numbers, Numbers]:
    """For each row (n,) the sum of the values with the same keys, and how many there are."""
    group = np.zeros(len(values), np.int64)
    for key in keys:
        known = np.unique(key, return_inverse=True)[1]
        group = np.unique(group * (int(known.max(initial=0)) + 1) + known, return_inverse=True)[1]
    return np.bincount(group, values)[group].astype(np.float64), np.bincount(group)[group].astype(np.float64)


def _unexplained(known: Numbers, amounts: Numbers) -> float:
    found = np.linalg.lstsq(known, amounts, rcond=None)[0]
    return float(((amounts - known @ found) ** 2).sum())
