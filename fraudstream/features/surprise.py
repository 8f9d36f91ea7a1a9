"""How surprising the amount is for its category and for everybody, and the echo of surprises shortly before; compiled.

A stolen card is used in bursts. So an excess over the usual counts on for some days: s + w sum of s_i exp(-age / tau)
over the user's last week. An earlier event's excess is measured as of today, from the profile and the reference tables
alone, so nothing has to be remembered for it.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from fraudstream.compiled import Int, compiled
from fraudstream.features.catalogue import index_of
from fraudstream.features.lifetime import Z_FROM_EVENTS
from fraudstream.features.reference import STEPS_PER_NAT, Tables
from fraudstream.features.windows import DAY_S, column_of
from fraudstream.state.event import ABSENT, CATEGORY_LOCATION, CENTS, TIME

Words = NDArray[np.uint32]

ECHO_S = 7 * DAY_S
"""Older surprises are forgotten."""
ECHO_WEIGHT = 0.5
TAIL_ECHO_WEIGHT = 1.0
"""Amounts that are rare in their category come in bursts as hardly anything else does."""
SLOW_DECAY_S = 3.0 * DAY_S
"""The quick echo decays in a third of it, one day."""
Z_THRESHOLD = 1.0
TAIL_THRESHOLD = 2.0
RATIO_THRESHOLD = 0.5

_CATEGORY_Z = index_of("amount_z_category")
_TAIL = index_of("amount_tail_category")
_ECHO_Z = index_of("echo_z_1d")
_ECHO_CATEGORY = index_of("echo_category_1d")
_ECHO_RATIO = index_of("echo_ratio_1d")
_ECHO_TAIL = index_of("echo_tail_1d")
_ECHO_CATEGORY_3D = index_of("echo_category_3d")
_ECHO_RATIO_3D = index_of("echo_ratio_3d")


@compiled
def tail_surprise(tables: Tables, table: Int, log_amount: float) -> float:
    """-log of the share of the training stream's amounts of a category that are at least as large, in nats."""
    position = log_amount * STEPS_PER_NAT
    last = tables.tail.shape[1] - 1
    below = min(np.int64(position), last - 1)
    part = position - below
    low, high = np.float64(tables.tail[table, below]), np.float64(tables.tail[table, below + 1])
    return float(low * (1.0 - part) + high * part)


@compiled
def surprise_features(
    arena: Words,
    base: Int,
    capacity: Int,
    start: Int,
    at: Int,
    event: Words,
    row: NDArray[np.float64],
    tables: Tables,
    known: Int,
    mean: float,
    deviation: float,
    usual: float,
) -> None:
    """The amount against its category's, and the echoes of four kinds of excess.

    `known`, `mean`, `deviation` and `usual` are the user's, as `lifetime_features` gives them.
    """
    times, amounts = column_of(base, capacity, TIME), column_of(base, capacity, CENTS)
    labels = column_of(base, capacity, CATEGORY_LOCATION)
    time, log_usual = np.int64(event[TIME]), math.log1p(usual)
    by_z, by_category, by_ratio, by_tail, by_category_slow, by_ratio_slow = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    i = at
    while i >= start:
        # The event itself first, then the past from the newest on.
        is_now = i == at
        word = event[CATEGORY_LOCATION] if is_now else arena[labels + i]
        log_amount = math.log1p(np.int64(event[CENTS] if is_now else arena[amounts + i]) / 100.0)
        age_s = np.int64(0) if is_now else time - np.int64(arena[times + i])
        if age_s >= ECHO_S:
            break
        category = np.int64(word) >> 16
        table = tables.row_of[category]
        tail = tail_surprise(tables, table, log_amount)
        # Without a category these would say once more, and twice as loud, what log_amount and the tail say.
        category_z, tail_excess = 0.0, 0.0
        if category != ABSENT:
            category_z = (log_amount - tables.mean[table]) / tables.deviation[table]
            tail_excess = max(tail - TAIL_THRESHOLD, 0.0)
        if is_now:
            row[_CATEGORY_Z] = category_z
            row[_TAIL] = tail
        z = max((log_amount - mean) / deviation - Z_THRESHOLD, 0.0) if known >= Z_FROM_EVENTS else 0.0
        ratio = max(log_amount - log_usual - RATIO_THRESHOLD, 0.0) if known > 0 else 0.0
        category_z = max(category_z - Z_THRESHOLD, 0.0)
        slow = 1.0 if is_now else ECHO_WEIGHT * math.exp(-age_s / SLOW_DECAY_S)
        quick = 1.0 if is_now else slow * slow * slow / (ECHO_WEIGHT * ECHO_WEIGHT)
        quick_tail = 1.0 if is_now else quick * (TAIL_ECHO_WEIGHT / ECHO_WEIGHT)
        by_z += quick * z
        by_category += quick * category_z
        by_ratio += quick * ratio
        by_tail += quick_tail * tail_excess
        by_category_slow += slow * category_z
        by_ratio_slow += slow * ratio
        i -= 1
    row[_ECHO_Z] = by_z
    row[_ECHO_CATEGORY] = by_category
    row[_ECHO_RATIO] = by_ratio
    row[_ECHO_TAIL] = by_tail
    row[_ECHO_CATEGORY_3D] = by_category_slow
    row[_ECHO_RATIO_3D] = by_ratio_slow
