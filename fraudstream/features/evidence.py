"""Evidence that stands alone: strange devices and places, impossible journeys, card tests, drains; compiled.

Each of these is 0 for nearly every transaction, so it says nothing where a stream lacks the field, and much where not.
What came within the last day does not make a thing familiar: else only a thief's first purchase would be strange.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from fraudstream.compiled import Int, inlined
from fraudstream.features.catalogue import index_of
from fraudstream.features.lifetime import Z_FROM_EVENTS
from fraudstream.features.reference import Tables
from fraudstream.features.windows import DAY_S, HOUR_S, MONTH_S, column_of, count_until, familiar, past_of
from fraudstream.state.event import ABSENT, CATEGORY_LOCATION, CENTS, DEVICE, MERCHANT, TIME

Words = NDArray[np.uint32]

PLAUSIBLE_KMH = 900.0
"""The cruising speed of an airliner."""
FAR_KM = 300.0
"""Below this a place is too uncertain: terminals report their owner's, gateways their own."""
SMALL_SHARE = 0.1
MOST_TESTS = 2.0
"""So many small amounts before this one make a strange device stranger: more say no more."""
SAME_AMOUNT_SHARE = 0.1
SAME_INTERVAL_SHARE = 0.25
REGULAR_FROM_CHARGES = 2
"""Before this one: with it they have two intervals that can be compared."""
AWAKE_S = 7.0 * DAY_S
ROUND_CENTS = 5_000

_DEVICE = index_of("device_strangeness")
_DEVICE_USERS = index_of("device_users")
_LOCATION = index_of("location_is_strange")
_TRAVEL = index_of("travel_excess")
_SMALL = index_of("small_burst_1h")
_REGULAR = index_of("charges_are_regular")
_MERCHANT_VISITS = index_of("merchant_visits_30d")
_DORMANCY = index_of("dormancy")
_ROUND = index_of("amount_is_round")
_RARITY = index_of("category_rarity")
_DISTANCE = index_of("distance_km")
_SPEED = index_of("speed_kmh")


@inlined
def strangeness(
    arena: Words, base: Int, capacity: Int, start: Int, at: Int, event: Words, row: NDArray[np.float64]
) -> None:
    """Device and place against all that the profile holds from before the last day; reads small_burst_1h as well."""
    time, location = np.int64(event[TIME]), np.int64(event[CATEGORY_LOCATION]) & 0xFFFF
    at = start + count_until(past_of(arena, base, capacity, TIME, start, at), time - DAY_S - 1)
    merchant_known, device_known, any_device, location_known, any_location = familiar(
        arena, base, capacity, start, at, event
    )
    row[_DEVICE] = 0.0
    if event[DEVICE] != ABSENT and any_device and not device_known:
        row[_DEVICE] = 1.0 + row[_RARITY] + (0.0 if merchant_known else 1.0) + min(row[_SMALL], MOST_TESTS)
    row[_LOCATION] = location != ABSENT and any_location and not location_known


@inlined
def small_burst(arena: Words, base: Int, capacity: Int, start: Int, at: Int, event: Words, usual: float) -> Int:
    """How many amounts within an hour are small for the user, this one included, less one."""
    times, amounts = column_of(base, capacity, TIME), column_of(base, capacity, CENTS)
    small_cents = SMALL_SHARE * usual * 100.0
    small = np.int64(np.int64(event[CENTS]) <= small_cents)
    i = at - 1
    while i >= start and np.int64(arena[times + i]) > np.int64(event[TIME]) - HOUR_S:
        small += np.int64(arena[amounts + i]) <= small_cents
        i -= 1
    return max(small - 1, np.int64(0))


@inlined
def charges_are_regular(arena: Words, base: Int, capacity: Int, start: Int, at: Int, event: Words) -> bool:
    """Does a merchant that came within 30 days always charge as much as now, and at equal intervals?"""
    times, amounts, merchants = (
        column_of(base, capacity, TIME),
        column_of(base, capacity, CENTS),
        column_of(base, capacity, MERCHANT),
    )
    cents, next_s = np.int64(event[CENTS]), np.int64(event[TIME])
    known_after_s = next_s - MONTH_S
    shortest_s, longest_s = np.int64(MONTH_S), np.int64(HOUR_S)
    for back in range(1, at - start + 1):
        i = at - back
        if arena[merchants + i] != event[MERCHANT]:
            continue
        past_s, past_cents = np.int64(arena[times + i]), np.int64(arena[amounts + i])
        if past_s <= known_after_s or abs(past_cents - cents) > SAME_AMOUNT_SHARE * max(past_cents, cents):
            return False
        shortest_s, longest_s = min(shortest_s, next_s - past_s), max(longest_s, next_s - past_s)
        next_s = past_s
    return bool(longest_s <= (1.0 + SAME_INTERVAL_SHARE) * shortest_s)


@inlined
def evidence_features(
    arena: Words,
    base: Int,
    capacity: Int,
    start: Int,
    at: Int,
    event: Words,
    row: NDArray[np.float64],
    tables: Tables,
    known: Int,
    usual: float,
) -> None:
    """All features of this file.

    Reads merchant_visits_30d, category_rarity, distance_km and speed_kmh, which must be there already.
    """
    row[_REGULAR] = row[_MERCHANT_VISITS] >= REGULAR_FROM_CHARGES and charges_are_regular(
        arena, base, capacity, start, at, event
    )
    row[_SMALL] = 0.0
    if known >= Z_FROM_EVENTS:
        row[_SMALL] = small_burst(arena, base, capacity, start, at, event, usual)
    strangeness(arena, base, capacity, start, at, event, row)
    row[_TRAVEL] = 0.0
    if row[_DISTANCE] >= FAR_KM and row[_SPEED] > PLAUSIBLE_KMH:
        row[_TRAVEL] = math.log(row[_SPEED] / PLAUSIBLE_KMH)
    row[_DORMANCY] = 0.0
    if at > start:
        idle_s = np.int64(event[TIME]) - np.int64(arena[column_of(base, capacity, TIME) + at - 1])
        row[_DORMANCY] = max(math.log(max(idle_s, np.int64(1)) / AWAKE_S), 0.0)
    cents = np.int64(event[CENTS])
    row[_ROUND] = cents > 0 and cents % ROUND_CENTS == 0
    place = np.searchsorted(tables.device, event[DEVICE])
    is_shared = event[DEVICE] != ABSENT and place < len(tables.device) and tables.device[place] == event[DEVICE]
    row[_DEVICE_USERS] = tables.device_users[place] if is_shared else 0
