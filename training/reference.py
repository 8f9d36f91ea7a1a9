"""Fits the reference tables of the features: what is usual for each category and for everybody. No label is read."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fraudstream.errors import ModelError
from fraudstream.features.reference import NEUTRAL, STEPS_PER_NAT, TAIL_KNOTS, Reference
from fraudstream.state.event import ABSENT, CENTS_PER_UNIT, cents_of, hash16, hash32
from fraudstream.training.history import History
from fraudstream.training.merchant_prices import merchant_gain
from fraudstream.training.packing import text_hashes

FEWEST_OF_CATEGORY = 50
"""A category seen less often is judged by what everybody pays."""
MOST_CATEGORIES = 512
MOST_DEVICES = 20_000
DEVIATION_FLOOR = 0.05
"""Added to the variance: a subscription of one price must not make a cent's difference look monstrous."""
STEEP_SHARE = 0.01
"""Beyond the largest amount the table goes on as steeply as it rose over the last hundredth."""
LEAST_SLOPE = 1e-3
FEWEST_SHARING = 2


def fit_reference(history: History) -> Reference:
    """The tables of a stretch of transactions: in training, of those that the models learn from.

    Raises:
        ModelError: there are no transactions.
    """
    if not len(history):
        raise ModelError("expected transactions to learn from, got none; use a longer stream")
    # The cents that a profile keeps are what features see.
    log_amount = np.log1p(cents_of(history.numbers("amount")) / CENTS_PER_UNIT)
    category = text_hashes(history, "category", hash16)
    known, counts = np.unique(category, return_counts=True)
    frequent = (known != ABSENT) & (counts >= FEWEST_OF_CATEGORY)
    most = np.argsort(-counts[frequent], kind="stable")[:MOST_CATEGORIES]
    own = np.sort(known[frequent][most]).astype(np.uint32)
    groups = [log_amount[category == value] for value in own] + [log_amount]
    device, device_users = _shared_devices(history)
    return Reference(
        category=own,
        mean=np.array([group.mean() for group in groups]),
        deviation=np.array([np.sqrt(group.var() + DEVIATION_FLOOR) for group in groups]),
        tail=np.stack([tail_table(group) for group in groups]),
        device=device,
        device_users=device_users,
        merchant_gain=np.array(
            [merchant_gain(log_amount, _codes(history, "user_id"), _codes(history, "merchant"), category)]
        ),
    )


def tail_table(log_amount: NDArray[np.float64]) -> NDArray[np.float32]:
    """-log of the share of a sample (n,) that is at least as large, (TAIL_KNOTS,); never falls, rises beyond the last.

    The share is (rank + 1/2) / (n + 1/2), so that it is never 0.
    """
    n = len(log_amount)
    place = np.minimum((log_amount * STEPS_PER_NAT).astype(np.int64), TAIL_KNOTS - 1)
    in_bin = np.bincount(place, minlength=TAIL_KNOTS)
    at_least = np.cumsum(in_bin[::-1])[::-1]
    tail: NDArray[np.float64] = -np.log((at_least + 0.5) / (n + 0.5))
    last = int(place.max())
    steep_from = min(int(np.searchsorted(-at_least, -STEEP_SHARE * n)), max(last - 1, 0))
    slope = max((tail[last] - tail[steep_from]) / max(last - steep_from, 1), LEAST_SLOPE)
    tail[last + 1 :] = tail[last] + slope * np.arange(1, TAIL_KNOTS - last)
    return tail.astype(np.float32)


def _codes(history: History, name: str) -> NDArray[np.int64]:
    return history.codes(name).codes.astype(np.int64)


def _shared_devices(history: History) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    if "device_id" not in history:
        return NEUTRAL.device, NEUTRAL.device_users
    device = text_hashes(history, "device_id", hash32)
    pairs = np.unique(np.stack([device, _codes(history, "user_id")]), axis=1)[0]
    known, users = np.unique(pairs[pairs != ABSENT], return_counts=True)
    shared = np.flatnonzero(users >= FEWEST_SHARING)
    shared = np.sort(shared[np.argsort(-users[shared], kind="stable")[:MOST_DEVICES]])
    return known[shared].astype(np.uint32), users[shared].astype(np.uint32)
