"""Features of the four windows, and whether merchant, device and place are new to the user; compiled."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fraudstream.compiled import Int, inlined
from fraudstream.features.catalogue import index_of
from fraudstream.features.lifetime import RARITY_PRIOR
from fraudstream.state.event import ABSENT, CATEGORY_LOCATION, CENTS, DEVICE, MERCHANT, NO_PLACE, PLACE, TIME
from fraudstream.state.profile import HEADER_WORDS

Words = NDArray[np.uint32]

HOUR_S, DAY_S = 3600, 86_400
WINDOWS_S = (HOUR_S, DAY_S, 7 * DAY_S, 30 * DAY_S)
MONTH_S = WINDOWS_S[3]

EARTH_DIAMETER_KM = 12_742.0
SPEED_FLOOR_S = 60
"""Two events closer in time than this count as this far apart: clocks of terminals differ by as much."""

CATEGORY_PRIOR = 5.0 / 14.0
CATEGORY_SHRINKAGE = 3.0
DISTINCT_SLOTS = 1024
"""Open-addressing table for distinct merchants; four times what a ring can hold."""

_TO_MEAN_24H = index_of("amount_to_mean_24h")
_TO_MAX_30D = index_of("amount_to_max_30d")
_RANK_30D = index_of("amount_rank_30d")
_TO_CATEGORY_MEAN = index_of("amount_to_category_mean_30d")
_COUNT_1H = index_of("count_1h")
_SUM_1H = index_of("sum_1h")
_MEAN_24H = index_of("mean_24h")
_MERCHANTS_24H = index_of("merchants_24h")
_MERCHANT_VISITS = index_of("merchant_visits_30d")
_MERCHANT_NEW = index_of("merchant_is_new")
_CATEGORY_VISITS = index_of("category_visits_30d")
_CATEGORY_RARITY = index_of("category_rarity")
_DEVICE_VISITS = index_of("device_visits_30d")
_DEVICE_NEW = index_of("device_is_new")
_LOCATION_VISITS = index_of("location_visits_30d")
_LOCATION_NEW = index_of("location_is_new")
_DISTANCE = index_of("distance_km")
_SPEED = index_of("speed_kmh")
# The four windows of a count, and so on, are written by offset from the shortest one.
assert [index_of(f"count_{window}") - _COUNT_1H for window in ("1h", "24h", "7d", "30d")] == [0, 1, 2, 3]  # noqa: S101
assert [index_of(f"sum_{window}") - _SUM_1H for window in ("1h", "24h", "7d", "30d")] == [0, 1, 2, 3]  # noqa: S101
assert [index_of(f"amount_to_mean_{window}") - _TO_MEAN_24H for window in ("24h", "7d", "30d")] == [0, 1, 2]  # noqa: S101


@inlined
def column_of(base: Int, capacity: Int, column: Int) -> Int:
    """Where a column of the ring begins in the arena."""
    return base + HEADER_WORDS + column * capacity


@inlined
def _radians(half: Int) -> Any:
    signed = half - (half >> 15 << 16)  # two's complement
    return signed * (math.pi / 18000.0)


@inlined
def distance_km(here: Int, there: Int) -> float:
    """Great circle (haversine) between two packed places."""
    north_a, north_b = _radians(here >> 16), _radians(there >> 16)
    east = _radians(there & 0xFFFF) - _radians(here & 0xFFFF)
    chord = math.sin((north_b - north_a) / 2) ** 2 + math.cos(north_a) * math.cos(north_b) * math.sin(east / 2) ** 2
    return EARTH_DIAMETER_KM * math.asin(math.sqrt(min(1.0, chord)))


@inlined
def past_of(arena: Words, base: Int, capacity: Int, column: Int, start: Int, at: Int) -> Words:
    """A column of the ring from position `start` up to `at`, as an array of its own.

    Loops over it become vector instructions; those over places in the arena do not, because each place may be negative.
    """
    begins = column_of(base, capacity, column)
    return arena[begins + start : begins + at]


@inlined
def count_until(times: Words, last_s: Int) -> Int:
    """How many of the times, ascending, are not after this one: np.searchsorted's answer, in half of its time."""
    low, high = 0, len(times)
    while low < high:
        middle = (low + high) >> 1
        if np.int64(times[middle]) <= last_s:
            low = middle + 1
        else:
            high = middle
    return low


@inlined
def _distinct(merchants: Words, seen: NDArray[np.int64], generation: Int) -> Int:
    """How many different ones; see `window_features` for the table."""
    distinct = np.int64(0)
    for i in range(len(merchants)):
        merchant = np.int64(merchants[i])
        slot = merchant % DISTINCT_SLOTS
        while seen[slot, 0] == generation and seen[slot, 1] != merchant:
            slot = (slot + 1) % DISTINCT_SLOTS
        if seen[slot, 0] != generation:
            seen[slot, 0] = generation
            seen[slot, 1] = merchant
            distinct += 1
    return distinct


@inlined
def _journey(here: Int, time: Int, places: Words, times: Words, row: NDArray[np.float64]) -> None:
    """Distance and speed from the last known place."""
    row[_DISTANCE] = 0.0
    row[_SPEED] = 0.0
    i = len(places) - 1 if here != NO_PLACE else -1
    while i >= 0 and np.int64(places[i]) == NO_PLACE:
        i -= 1
    if i >= 0:
        distance = distance_km(here, np.int64(places[i]))
        elapsed_s = max(time - np.int64(times[i]), np.int64(SPEED_FLOOR_S))
        row[_DISTANCE], row[_SPEED] = distance, distance * 3600.0 / elapsed_s


@inlined
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
    """Features of the four windows; what lies in a longer one beyond the shorter ones is added to them.

    `seen` is a scratch table (DISTINCT_SLOTS, 2) and `generation` a number never used with it before.
    """
    time, cents = np.int64(event[TIME]), np.int64(event[CENTS])
    amount = cents / 100.0
    start += count_until(past_of(arena, base, capacity, TIME, start, at), time - MONTH_S)
    times, amounts = past_of(arena, base, capacity, TIME, start, at), past_of(arena, base, capacity, CENTS, start, at)
    merchants = past_of(arena, base, capacity, MERCHANT, start, at)
    total, newer = np.int64(0), len(times)
    for window in range(len(WINDOWS_S)):
        begins = count_until(times, time - WINDOWS_S[window])
        for i in range(begins, newer):
            total += np.int64(amounts[i])
        newer, count = begins, len(times) - begins
        row[_COUNT_1H + window] = count
        row[_SUM_1H + window] = (total + cents) / 100.0
        if window > 0:
            row[_TO_MEAN_24H + window - 1] = math.log((amount + 1.0) / (total / 100.0 / count + 1.0)) if count else 0.0
        if window == 1:
            row[_MEAN_24H] = (total + cents) / 100.0 / (count + 1)
            row[_MERCHANTS_24H] = _distinct(merchants[begins:], seen, generation)
    _journey(np.int64(event[PLACE]), time, past_of(arena, base, capacity, PLACE, start, at), times, row)
    _month_features(
        amounts, merchants, past_of(arena, base, capacity, CATEGORY_LOCATION, start, at),
        past_of(arena, base, capacity, DEVICE, start, at), event, row, total,
    )  # fmt: skip
    return len(times), total


@inlined
def _month_features(
    amounts: Words,
    merchants: Words,
    labels: Words,
    devices: Words,
    event: Words,
    row: NDArray[np.float64],
    total: Int,
) -> None:
    """Features that look at each event of 30 days; `total` is the sum of their cents."""
    cents, count = np.int64(event[CENTS]), len(amounts)
    category, location = np.int64(event[CATEGORY_LOCATION]) >> 16, np.int64(event[CATEGORY_LOCATION]) & 0xFFFF
    amount, largest, at_least = cents / 100.0, np.int64(0), np.int64(0)
    at_merchant, in_category, category_cents = np.int64(0), np.int64(0), np.int64(0)
    with_device, in_location = np.int64(0), np.int64(0)
    for i in range(count):
        past_cents, is_of_category = np.int64(amounts[i]), np.int64(labels[i]) >> 16 == category
        largest = max(largest, past_cents)
        at_least += past_cents >= cents
        at_merchant += merchants[i] == event[MERCHANT]
        in_category += is_of_category
        category_cents += past_cents if is_of_category else 0
        in_location += (np.int64(labels[i]) & 0xFFFF) == location
        with_device += devices[i] == event[DEVICE]
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


@inlined
def familiar(
    arena: Words, base: Int, capacity: Int, start: Int, at: Int, event: Words
) -> tuple[bool, bool, bool, bool, bool]:
    """What of an event came at ring positions `start` up to `at`.

    Returns:
        Whether its merchant did; its device, and any device at all; its location, and any location at all.
    """
    merchants = past_of(arena, base, capacity, MERCHANT, start, at)
    devices = past_of(arena, base, capacity, DEVICE, start, at)
    labels = past_of(arena, base, capacity, CATEGORY_LOCATION, start, at)
    location = np.int64(event[CATEGORY_LOCATION]) & 0xFFFF
    merchant_known, device_known, any_device, location_known, any_location = False, False, False, False, False
    for i in range(len(merchants)):
        past_location = np.int64(labels[i]) & 0xFFFF
        merchant_known |= merchants[i] == event[MERCHANT]
        device_known |= devices[i] == event[DEVICE]
        any_device |= devices[i] != ABSENT
        location_known |= past_location == location
        any_location |= past_location != ABSENT
    return merchant_known, device_known, any_device, location_known, any_location


@inlined
def novelty_features(
    arena: Words, base: Int, capacity: Int, start: Int, at: Int, event: Words, row: NDArray[np.float64]
) -> None:
    """Whether merchant, device and location are new to everything that the profile still holds."""
    location = np.int64(event[CATEGORY_LOCATION]) & 0xFFFF
    merchant_known, device_known, any_device, location_known, any_location = familiar(
        arena, base, capacity, start, at, event
    )
    row[_MERCHANT_NEW] = at > start and not merchant_known
    row[_DEVICE_NEW] = event[DEVICE] != ABSENT and any_device and not device_known
    row[_LOCATION_NEW] = location != ABSENT and any_location and not location_known
