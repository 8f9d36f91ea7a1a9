"""The features of one event, compiled: reads the user's ring in the arena, writes one row of the matrix.

An event sees what arrived earlier with a time not after its own: the ring positions [start, at). Windows are rescanned,
never kept as running sums, so they are exact and cannot drift. The naive twin stands in tests/oracle.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from fraudstream.compiled import Int, inlined
from fraudstream.features.catalogue import FEATURE_NAMES, index_of
from fraudstream.features.definitions import CATALOGUE as BUILT_IN
from fraudstream.features.evidence import evidence_features
from fraudstream.features.lifetime import lifetime_features
from fraudstream.features.reference import Tables
from fraudstream.features.surprise import surprise_features
from fraudstream.features.windows import DAY_S, MONTH_S, WINDOWS_S, column_of, novelty_features, window_features
from fraudstream.state.event import TIME
from fraudstream.state.profile import FLOOR, NEWEST

Words = NDArray[np.uint32]

FEATURE_COUNT = len(FEATURE_NAMES)
"""Columns of the matrix; features of one's own stand behind those of the kernel."""
KERNEL_FEATURES = len(BUILT_IN)
MONTH_DAYS = 30.0

_COUNT_1H = index_of("count_1h")
_SUM_1H = index_of("sum_1h")
_COUNT_RATIO = index_of("count_ratio_24h")
_SUM_RATIO = index_of("sum_ratio_24h")
_VELOCITY = index_of("velocity_excess_1h")
_SINCE_LAST = index_of("seconds_since_last")
_PACE = index_of("pace")
_AGE = index_of("account_age_days")
_LIFETIME = index_of("lifetime_count")
_WINDOWS_CUT = index_of("windows_cut")


@inlined
def rhythm_features(
    arena: Words,
    base: Int,
    capacity: Int,
    start: Int,
    at: Int,
    event: Words,
    row: NDArray[np.float64],
    count: Int,
    total: Int,
    retention_s: Int,
) -> None:
    """Pace and ratios to the user's usual day, and how many windows reach back further than the profile."""
    time = np.int64(event[TIME])
    times = column_of(base, capacity, TIME)
    known = row[_LIFETIME] > 0
    since_last = np.int64(MONTH_S)
    if at > start:
        since_last = min(since_last, time - np.int64(arena[times + at - 1]))
    days = min(max(row[_AGE], 1.0), MONTH_DAYS)
    row[_SINCE_LAST] = since_last
    row[_PACE] = 0.0
    row[_SUM_RATIO] = 0.0
    row[_COUNT_RATIO] = math.log((row[_COUNT_1H + 1] + 1.0) / (count / days + 1.0))
    row[_VELOCITY] = max(math.log((row[_COUNT_1H] + 1.0) / (count / days + 2.0)), 0.0)
    if known:
        row[_PACE] = math.log1p(DAY_S * days / (count + 1.0)) - math.log1p(since_last)
        row[_SUM_RATIO] = math.log((row[_SUM_1H + 1] + 1.0) / (total / 100.0 / days + 1.0))
    reaches_to = np.int64(arena[base + FLOOR])
    reaches_to = max(reaches_to, np.int64(arena[base + NEWEST]) - retention_s)
    cut: Int = 0
    for window_s in WINDOWS_S:
        cut += known and reaches_to > time - window_s
    row[_WINDOWS_CUT] = cut


@inlined
def features_of(
    arena: Words,
    base: Int,
    capacity: Int,
    start: Int,
    at: Int,
    end: Int,
    event: Words,
    row: NDArray[np.float64],
    seen: NDArray[np.int64],
    generation: Int,
    retention_s: Int,
    tables: Tables,
) -> None:
    """All features of one event at ring position `at` of the profile at `base`; fills `row` (KERNEL_FEATURES,)."""
    known, mean, deviation, usual = lifetime_features(arena, base, capacity, at, end, event, row)
    count, total = window_features(arena, base, capacity, start, at, event, row, seen, generation)
    novelty_features(arena, base, capacity, start, at, event, row)
    rhythm_features(arena, base, capacity, start, at, event, row, count, total, retention_s)
    surprise_features(arena, base, capacity, start, at, event, row, tables, known, mean, deviation, usual)
    evidence_features(arena, base, capacity, start, at, event, row, tables, known, usual)
