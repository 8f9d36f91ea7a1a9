"""A feature: how much sooner than usual the user comes back to this merchant; installed, it is in the catalogue."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from fraudstream import Event, History, OwnFeature

DAY_S = 86_400
WINDOW_S = 30 * DAY_S
SMOOTHING_S = 3600.0
FEWEST_VISITS = 2


def compute(event: Event, history: History) -> float:
    """log of the usual gap between visits to this merchant over the gap now; 0 before the third visit."""
    visits = history.times_s[history.merchants == event.merchant]
    if len(visits) < FEWEST_VISITS:
        return 0.0
    usual_s = float(np.diff(visits).mean())
    return max(math.log((usual_s + SMOOTHING_S) / (event.time_s - int(visits[-1]) + SMOOTHING_S)), 0.0)


def oracle(event: Event, earlier: Sequence[Event]) -> float:
    """The same by the plainest means; only the check calls it."""
    visits = [one.time_s for one in earlier if one.merchant == event.merchant and one.time_s > event.time_s - WINDOW_S]
    if len(visits) < FEWEST_VISITS:
        return 0.0
    gaps = [later - sooner for sooner, later in pairwise(visits)]
    usual_s = sum(gaps) / len(gaps)
    return max(math.log((usual_s + SMOOTHING_S) / (event.time_s - visits[-1] + SMOOTHING_S)), 0.0)


FEATURE = OwnFeature(
    name="merchant_tempo",
    unit="log ratio",
    formula="max(log((mean gap of the visits in 30 d + 1 h) / (gap now + 1 h)), 0), 0 before the third visit",
    doc="How much sooner than usual the user comes back to this merchant.",
    reason="merchant_tempo",
    risk="high",
    weight=4,  # it stands alone for its subject, while a dozen inputs describe the amount
    says="The user came back to this merchant {times:.1f} times sooner than usual, with {amount:,.2f}",
    window_s=WINDOW_S,
    compute=compute,
    oracle=oracle,
)
