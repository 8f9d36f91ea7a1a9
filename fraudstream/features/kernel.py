"""The features of one event, compiled: reads the user's ring in the arena, writes one row of the matrix.

An event sees what arrived earlier with a time not after its own: the ring positions [start, at). Windows are rescanned,
never kept as running sums, so they are exact and cannot drift. The naive twin stands in tests/oracle.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fraudstream.compiled import Int, compiled
from fraudstream.features.catalogue import FEATURE_NAMES, index_of
from fraudstream.state.event import ABSENT, CATEGORY_LOCATION, CENTS, DEVICE, MERCHANT, NO_PLACE, PLACE, TIME
from fraudstream.state.profile import (
    COUNT,
    FIRST,
    FLOOR,
    HEADER_WORDS,
    HISTOGRAM,
    LOG_STEPS,
    NEWEST,
    SUM_CENTS,
    SUM_LOG,
    SUM_LOG_SQUARED,
)

Words = NDArray[np.uint32]

FEATURE_COUNT = len(FEATURE_NAMES)

HOUR_S, DAY_S = 3600, 86_400
WINDOWS_S = (HOUR_S, DAY_S, 7 * DAY_S, 30 * DAY_S)
MONTH_S = WINDOWS_S[3]
MONTH_DAYS = 30.0

EARTH_DIAMETER_KM = 12_742.0
SPEED_FLOOR_S = 60
"""Two events closer in time than this count as this far apart: clocks of terminals differ by as much."""

LOG_VARIANCE_FLOOR = 0.05
Z_FROM_EVENTS = 3
RARITY_PRIOR = 5.0
CATEGORY_PRIOR = 5.0 / 14.0
CATEGORY_SHRINKAGE = 3.0
DISTINCT_SLOTS = 1024
"""Open-addressing table for distinct merchants; four times what a ring can hold."""

_LOG_AMOUNT = index_of("log_amount")
_AMOUNT_Z = index_of("amount_z")
_TO_MEAN_24H = index_of("amount_to_mean_24h")
_TO_MEAN_LIFETIME = index_of("amount_to_mean_lifetime")
_TO_MAX_30D = index_of("amount_to_max_30d")
_RANK_30D = index_of("amount_rank_30d")
_TO_CATEGORY_MEAN = index_of("amount_to_category_mean_30d")
_COUNT_1H = index_of("count_1h")
_SUM_1H = index_of("sum_1h")
_MEAN_24H = index_of("mean_24h")
_COUNT_RATIO = index_of("count_ratio_24h")
_SUM_RATIO = index_of("sum_ratio_24h")
_SINCE_LAST = index_of("seconds_since_last")
_PACE = index_of("pace")
_MERCHANTS_24H = index_of("merchants_24h")
_MERCHANT_VISITS = index_of("merchant_visits_30d")
_MERCHANT_NEW = index_of("merchant_is_new")
_CATEGORY_VISITS = index_of("category_visits_30d")
_CATEGORY_RARITY = index_of("category_rarity")
_DEVICE_VISITS = index_of("device_visits_30d")
_DEVICE_NEW = index_of("device_is_new")
_LOCATION_VISITS = index_of("location_visits_30d")
_LOCATION_NEW = index_of("location_is_new")
_HOUR_RARITY = index_of("hour_rarity")
_DISTANCE = index_of("distance_km")
_SPEED = index_of("speed_kmh")
_AGE = index_of("account_age_days")
_LIFETIME = index_of("lifetime_count")
_WINDOWS_CUT = index_of("windows_cut")
# The four windows of a count, and so on, are written by offset from the shortest one.
assert [index_of(f"count_{window}") - _COUNT_1H for window in ("1h", "24h", "7d", "30d")] == [0, 1, 2, 3]  # noqa: S101
assert [index_of(f"sum_{window}") - _SUM_1H for window in ("1h", "24h", "7d", "30d")] == [0, 1, 2, 3]  # noqa: S101
assert [index_of(f"amount_to_mean_{window}") - _TO_MEAN_24H for window in ("24h", "7d", "30d")] == [0, 1, 2]  # noqa: S101


@compiled
def log_steps(cents: Int) -> Int:
    """log1p of an amount in whole steps of 1/LOG_STEPS, so that sums of it are exact integers."""
    return np.int64(math.floor(math.log1p(cents / 100.0) * LOG_STEPS + 0.5))


@compiled
def read_u64(arena: Words, at: Int) -> Int:
    """A 64-bit value kept as two words; signed, values stay below 2^63."""
    return np.int64(arena[at]) | np.int64(arena[at + 1]) << np.int64(32)


@compiled
def hour_count(arena: Words, base: Int, hour: Int) -> Int:
    """One bin of the profile's hour-of-day histogram."""
    return np.int64(arena[base + HISTOGRAM + (hour >> 1)]) >> np.int64(16 * (hour & 1)) & np.int64(0xFFFF)


@compiled
def _radians(half: Int) -> Any:
    signed = half - (half >> 15 << 16)  # two's complement
    return signed * (math.pi / 18000.0)


@compiled
def distance_km(here: Int, there: Int) -> float:
    """Great circle (haversine) between two packed places."""
    north_a, north_b = _radians(here >> 16), _radians(there >> 16)
    east = _radians(there & 0xFFFF) - _radians(here & 0xFFFF)
    chord = math.sin((north_b - north_a) / 2) ** 2 + math.cos(north_a) * math.cos(north_b) * math.sin(east / 2) ** 2
    return EARTH_DIAMETER_KM * math.asin(math.sqrt(min(1.0, chord)))


@compiled
def lifetime_features(
    arena: Words, base: Int, capacity: Int, at: Int, end: Int, event: Words, row: NDArray[np.float64]
) -> None:
    """Features of the user's whole life as of this event: what is newer than it is taken out again, in integers."""
    amount_cents, time = np.int64(event[CENTS]), np.int64(event[TIME])
    hour = time // HOUR_S % 24
    before, after = (hour + 23) % 24, (hour + 1) % 24
    count = np.int64(arena[base + COUNT])
    cents = read_u64(arena, base + SUM_CENTS)
    logs = read_u64(arena, base + SUM_LOG)
    squares = read_u64(arena, base + SUM_LOG_SQUARED)
    bins_before, bins_here, bins_after = (
        hour_count(arena, base, before),
        hour_count(arena, base, hour),
        hour_count(arena, base, after),
    )
    for i in range(at, end):
        newer_cents = np.int64(arena[base + HEADER_WORDS + CENTS * capacity + i])
        newer_hour = np.int64(arena[base + HEADER_WORDS + TIME * capacity + i]) // HOUR_S % 24
        steps = log_steps(newer_cents)
        count -= 1
        cents -= newer_cents
        logs -= steps
        squares -= steps * steps
        bins_before -= newer_hour == before
        bins_here -= newer_hour == hour
        bins_after -= newer_hour == after
    amount = amount_cents / 100.0
    row[_LOG_AMOUNT] = math.log1p(amount)
    row[_AMOUNT_Z] = 0.0
    row[_TO_MEAN_LIFETIME] = 0.0
    row[_AGE] = 0.0
    row[_LIFETIME] = count
    if count > 0:
        row[_TO_MEAN_LIFETIME] = math.log((amount + 1.0) / (cents / 100.0 / count + 1.0))
        row[_AGE] = max(time - np.int64(arena[base + FIRST]), np.int64(0)) / 86400.0
    if count >= Z_FROM_EVENTS:
        mean = logs / LOG_STEPS / count
        variance = max(squares / (LOG_STEPS * LOG_STEPS) / count - mean * mean, 0.0)
        row[_AMOUNT_Z] = (log_steps(amount_cents) / LOG_STEPS - mean) / math.sqrt(variance + LOG_VARIANCE_FLOOR)
    near = 0.25 * bins_before + 0.5 * bins_here + 0.25 * bins_after
    row[_HOUR_RARITY] = -math.log((near + RARITY_PRIOR / 24.0) / (count + RARITY_PRIOR))


@compiled
def window_features(
    arena: Words,
    base: Int,
    capacity: Int,
    start: Int,
    at: Int,
    event: Words,
    row: NDArray[np.float64],
    seen: NDArray[np.int64],
    generation: Int,
) -> tuple[Int, Int]:
    """Features of the four windows, in one scan from the newest past event to 30 days back.

    `seen` is a scratch table (DISTINCT_SLOTS, 2) and `generation` a number never used with it before.
    """
    times, amounts = base + HEADER_WORDS + TIME * capacity, base + HEADER_WORDS + CENTS * capacity
    merchants, devices = base + HEADER_WORDS + MERCHANT * capacity, base + HEADER_WORDS + DEVICE * capacity
    labels, places = base + HEADER_WORDS + CATEGORY_LOCATION * capacity, base + HEADER_WORDS + PLACE * capacity
    time, cents = np.int64(event[TIME]), np.int64(event[CENTS])
    category, location = np.int64(event[CATEGORY_LOCATION]) >> 16, np.int64(event[CATEGORY_LOCATION]) & 0xFFFF
    here = np.int64(event[PLACE])
    amount = cents / 100.0
    count, total, largest, at_least, distinct = np.int64(0), np.int64(0), np.int64(-1), np.int64(0), np.int64(0)
    at_merchant, in_category, category_cents = np.int64(0), np.int64(0), np.int64(0)
    with_device, in_location = np.int64(0), np.int64(0)
    row[_DISTANCE] = 0.0
    row[_SPEED] = 0.0
    look_for_place = here != NO_PLACE
    window = 0
    i = at - 1
    while True:
        if i < start or np.int64(arena[times + i]) <= time - WINDOWS_S[window]:
            row[_COUNT_1H + window] = count
            row[_SUM_1H + window] = (total + cents) / 100.0
            if window > 0:
                row[_TO_MEAN_24H + window - 1] = (
                    math.log((amount + 1.0) / (total / 100.0 / count + 1.0)) if count else 0.0
                )
            if window == 1:
                row[_MEAN_24H] = (total + cents) / 100.0 / (count + 1)
                row[_MERCHANTS_24H] = distinct
            window += 1
            if window == len(WINDOWS_S):
                break
            continue
        past_cents, merchant = np.int64(arena[amounts + i]), np.int64(arena[merchants + i])
        count += 1
        total += past_cents
        largest = max(largest, past_cents)
        at_least += past_cents >= cents
        at_merchant += merchant == np.int64(event[MERCHANT])
        if np.int64(arena[labels + i]) >> 16 == category:
            in_category += 1
            category_cents += past_cents
        in_location += (np.int64(arena[labels + i]) & 0xFFFF) == location
        with_device += np.int64(arena[devices + i]) == np.int64(event[DEVICE])
        if window <= 1:
            slot = merchant % DISTINCT_SLOTS
            while seen[slot, 0] == generation and seen[slot, 1] != merchant:
                slot = (slot + 1) % DISTINCT_SLOTS
            if seen[slot, 0] != generation:
                seen[slot, 0] = generation
                seen[slot, 1] = merchant
                distinct += 1
        if look_for_place and np.int64(arena[places + i]) != NO_PLACE:
            row[_DISTANCE] = distance_km(here, np.int64(arena[places + i]))
            elapsed_s = max(time - np.int64(arena[times + i]), np.int64(SPEED_FLOOR_S))
            row[_SPEED] = distance_km(here, np.int64(arena[places + i])) * 3600.0 / elapsed_s
            look_for_place = False
        i -= 1
    mean = total / 100.0 / count if count else 0.0
    row[_TO_MAX_30D] = math.log((amount + 1.0) / (largest / 100.0 + 1.0)) if count else 0.0
    row[_RANK_30D] = -math.log((at_least + 0.5) / (count + 1.0))
    row[_TO_CATEGORY_MEAN] = 0.0
    if count:
        usual = (category_cents / 100.0 + CATEGORY_SHRINKAGE * mean) / (in_category + CATEGORY_SHRINKAGE)
        row[_TO_CATEGORY_MEAN] = math.log((amount + 1.0) / (usual + 1.0))
    row[_MERCHANT_VISITS] = at_merchant
    row[_CATEGORY_VISITS] = in_category if category != ABSENT else 0
    row[_CATEGORY_RARITY] = 0.0
    if category != ABSENT:
        row[_CATEGORY_RARITY] = -math.log((in_category + CATEGORY_PRIOR) / (count + RARITY_PRIOR))
    row[_DEVICE_VISITS] = with_device if event[DEVICE] != ABSENT else 0
    row[_LOCATION_VISITS] = in_location if location != ABSENT else 0
    return count, total


@compiled
def novelty_features(
    arena: Words, base: Int, capacity: Int, start: Int, at: Int, event: Words, row: NDArray[np.float64]
) -> None:
    """Whether merchant, device and location are new to everything that the profile still holds."""
    merchants, devices = base + HEADER_WORDS + MERCHANT * capacity, base + HEADER_WORDS + DEVICE * capacity
    labels = base + HEADER_WORDS + CATEGORY_LOCATION * capacity
    location = np.int64(event[CATEGORY_LOCATION]) & 0xFFFF
    merchant_known, device_known, location_known, any_device, any_location = False, False, False, False, False
    for i in range(start, at):
        past_location = np.int64(arena[labels + i]) & 0xFFFF
        merchant_known |= arena[merchants + i] == event[MERCHANT]
        device_known |= arena[devices + i] == event[DEVICE]
        location_known |= past_location == location
        any_device |= arena[devices + i] != ABSENT
        any_location |= past_location != ABSENT
    row[_MERCHANT_NEW] = at > start and not merchant_known
    row[_DEVICE_NEW] = event[DEVICE] != ABSENT and any_device and not device_known
    row[_LOCATION_NEW] = location != ABSENT and any_location and not location_known


@compiled
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
    times = base + HEADER_WORDS + TIME * capacity
    known = row[_LIFETIME] > 0
    since_last = np.int64(MONTH_S)
    if at > start:
        since_last = min(since_last, time - np.int64(arena[times + at - 1]))
    days = min(max(row[_AGE], 1.0), MONTH_DAYS)
    row[_SINCE_LAST] = since_last
    row[_PACE] = 0.0
    row[_SUM_RATIO] = 0.0
    row[_COUNT_RATIO] = math.log((row[_COUNT_1H + 1] + 1.0) / (count / days + 1.0))
    if known:
        row[_PACE] = math.log1p(DAY_S * days / (count + 1.0)) - math.log1p(since_last)
        row[_SUM_RATIO] = math.log((row[_SUM_1H + 1] + 1.0) / (total / 100.0 / days + 1.0))
    reaches_to = np.int64(arena[base + FLOOR])
    reaches_to = max(reaches_to, np.int64(arena[base + NEWEST]) - retention_s)
    cut: Int = 0
    for window_s in WINDOWS_S:
        cut += known and reaches_to > time - window_s
    row[_WINDOWS_CUT] = cut


@compiled
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
) -> None:
    """All features of one event at ring position `at` of the profile at `base`; fills `row` (FEATURE_COUNT,)."""
    lifetime_features(arena, base, capacity, at, end, event, row)
    count, total = window_features(arena, base, capacity, start, at, event, row, seen, generation)
    novelty_features(arena, base, capacity, start, at, event, row)
    rhythm_features(arena, base, capacity, start, at, event, row, count, total, retention_s)
