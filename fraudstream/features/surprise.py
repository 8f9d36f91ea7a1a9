"""How surprising the amount is for its category and for everybody, and the echo of surprises shortly before; compiled.

A stolen card is used in bursts. So an excess s over the usual counts on for some days: s + w max(sum of (s_i -
allowance) exp(-age / tau), 0) over the user's last week, a CUSUM that forgets (Page, Continuous Inspection Schemes,
1954). The allowance is about once or twice what an ordinary event exceeds the threshold by on average: else a user who
buys twice as often, or everybody in December, would look twice as suspicious. An earlier event's excess is measured as
of today, from the profile and the reference tables alone, so nothing has to be remembered for it.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from fraudstream.compiled import Int, inlined
from fraudstream.features.catalogue import index_of
from fraudstream.features.lifetime import Z_FROM_EVENTS, log_of_cents, log_steps
from fraudstream.features.reference import STEPS_PER_NAT, Tables
from fraudstream.features.windows import DAY_S, column_of, count_until, past_of
from fraudstream.state.event import ABSENT, CATEGORY_LOCATION, CENTS, MERCHANT, TIME
from fraudstream.state.profile import LOG_STEPS

Words = NDArray[np.uint32]

ECHO_S = 7 * DAY_S
"""Older surprises are forgotten."""
ECHO_WEIGHT = 0.5
TAIL_ECHO_WEIGHT = 1.0
"""Amounts that are rare in their category come in bursts as hardly anything else does."""
SLOW_DECAY_S = 3.0 * DAY_S
"""The quick echo decays in a third of it, one day."""
Z_THRESHOLD, Z_ALLOWANCE = 1.0, 1 / 6
"""Of a normal variable the mean excess over 1 is 1/12."""
TAIL_THRESHOLD, TAIL_ALLOWANCE = 2.0, 0.27
"""A surprise in nats has an exponential distribution: the mean excess over 2 is exp(-2)."""
RATIO_THRESHOLD, RATIO_ALLOWANCE = 0.5, 0.07
"""Of exponential amounts the mean excess of the log ratio to their mean over 1/2 is 0.08, of steadier ones far less."""

MERCHANT_THRESHOLD = 2.0
MERCHANTS_HAVE_PRICES = 0.05
"""Merchant gain from which an amount is held against those at the merchant: below it they differ by chance only."""

_MERCHANT_VISITS = index_of("merchant_visits_30d")
_BEYOND_MERCHANT = index_of("amount_beyond_merchant")
_CATEGORY_Z = index_of("amount_z_category")
_TAIL = index_of("amount_tail_category")
_ECHO_Z = index_of("echo_z_1d")
_ECHO_CATEGORY = index_of("echo_category_1d")
_ECHO_RATIO = index_of("echo_ratio_1d")
_ECHO_TAIL = index_of("echo_tail_1d")
_ECHO_CATEGORY_3D = index_of("echo_category_3d")
_ECHO_RATIO_3D = index_of("echo_ratio_3d")


@inlined
def tail_surprise(tables: Tables, table: Int, log_amount: float) -> float:
    """-log of the share of the training stream's amounts of a category that are at least as large, in nats."""
    position = log_amount * STEPS_PER_NAT
    last = tables.tail.shape[1] - 1
    below = min(np.int64(position), last - 1)
    part = position - below
    low, high = np.float64(tables.tail[table, below]), np.float64(tables.tail[table, below + 1])
    return float(low * (1.0 - part) + high * part)


@inlined
def excesses(
    tables: Tables, cents: Int, category: Int, known: Int, mean: float, deviation: float, log_usual: float
) -> tuple[float, float, float, float]:
    """How far one amount exceeds what counts: the user's z, their category's z, log ratio to the user's mean, tail.

    Without a category the two of it are 0: they would say once more, and louder, what the amount itself says.
    """
    log_amount = log_of_cents(cents)
    z = by_category = ratio = tail = 0.0
    if known >= Z_FROM_EVENTS:
        z = max((log_amount - mean) / deviation - Z_THRESHOLD, 0.0)
    if known > 0:
        ratio = max(log_amount - log_usual - RATIO_THRESHOLD, 0.0)
    if category != ABSENT:
        table = tables.row_of[category]
        by_category = max(float((log_amount - tables.mean[table]) / tables.deviation[table]) - Z_THRESHOLD, 0.0)
        tail = max(tail_surprise(tables, table, log_amount) - TAIL_THRESHOLD, 0.0)
    return z, by_category, ratio, tail


@inlined
def beyond_merchant(
    arena: Words, base: Int, capacity: Int, at: Int, event: Words, row: NDArray[np.float64], tables: Tables, table: Int
) -> float:
    """How far an amount exceeds what the user pays at this merchant, where the training stream's merchants have prices.

    In the category's deviations, because two visits tell no deviation of their own. Reads merchant_visits_30d.
    """
    visits = row[_MERCHANT_VISITS]
    if visits == 0 or tables.merchant_gain[0] < MERCHANTS_HAVE_PRICES:
        return 0.0
    amounts, merchants = column_of(base, capacity, CENTS), column_of(base, capacity, MERCHANT)
    found, steps, i = np.int64(0), np.int64(0), at
    while found < visits:
        i -= 1
        if arena[merchants + i] == event[MERCHANT]:
            found += 1
            steps += log_steps(np.int64(arena[amounts + i]))
    above = (log_steps(np.int64(event[CENTS])) - steps / visits) / LOG_STEPS
    return float(max(above / tables.deviation[table] - MERCHANT_THRESHOLD, 0.0))


@inlined
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
    time, cents, category = np.int64(event[TIME]), np.int64(event[CENTS]), np.int64(event[CATEGORY_LOCATION]) >> 16
    log_amount, log_usual, table = log_of_cents(cents), math.log1p(usual), tables.row_of[category]
    row[_CATEGORY_Z] = 0.0 if category == ABSENT else (log_amount - tables.mean[table]) / tables.deviation[table]
    row[_TAIL] = tail_surprise(tables, table, log_amount)
    row[_BEYOND_MERCHANT] = beyond_merchant(arena, base, capacity, at, event, row, tables, table)
    by_z, by_category, by_ratio, by_tail, by_category_slow, by_ratio_slow = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    start += count_until(past_of(arena, base, capacity, TIME, start, at), time - ECHO_S)
    times, amounts = past_of(arena, base, capacity, TIME, start, at), past_of(arena, base, capacity, CENTS, start, at)
    labels = past_of(arena, base, capacity, CATEGORY_LOCATION, start, at)
    for i in range(len(times) - 1, -1, -1):
        past_category = np.int64(labels[i]) >> 16
        z, of_category, ratio, tail = excesses(
            tables, np.int64(amounts[i]), past_category, known, mean, deviation, log_usual
        )
        slow = math.exp(-(time - np.int64(times[i])) / SLOW_DECAY_S)
        quick = slow * slow * slow
        by_z += quick * (z - Z_ALLOWANCE)
        by_ratio += quick * (ratio - RATIO_ALLOWANCE)
        by_ratio_slow += slow * (ratio - RATIO_ALLOWANCE)
        if past_category != ABSENT:
            by_category += quick * (of_category - Z_ALLOWANCE)
            by_category_slow += slow * (of_category - Z_ALLOWANCE)
            by_tail += quick * (tail - TAIL_ALLOWANCE)
    z, of_category, ratio, tail = excesses(tables, cents, category, known, mean, deviation, log_usual)
    row[_ECHO_Z] = z + ECHO_WEIGHT * max(by_z, 0.0)
    row[_ECHO_CATEGORY] = of_category + ECHO_WEIGHT * max(by_category, 0.0)
    row[_ECHO_RATIO] = ratio + ECHO_WEIGHT * max(by_ratio, 0.0)
    row[_ECHO_TAIL] = tail + TAIL_ECHO_WEIGHT * max(by_tail, 0.0)
    row[_ECHO_CATEGORY_3D] = of_category + ECHO_WEIGHT * max(by_category_slow, 0.0)
    row[_ECHO_RATIO_3D] = ratio + ECHO_WEIGHT * max(by_ratio_slow, 0.0)
