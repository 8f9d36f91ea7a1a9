"""Features of the user's whole life, compiled, and the exact integers that they are made from."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from fraudstream.compiled import Int, inlined
from fraudstream.features.catalogue import index_of
from fraudstream.state.event import CENTS, CENTS_PER_UNIT, TIME
from fraudstream.state.profile import (
    COUNT,
    FIRST,
    HEADER_WORDS,
    HISTOGRAM,
    LOG_STEPS,
    SUM_CENTS,
    SUM_LOG,
    SUM_LOG_SQUARED,
)

Words = NDArray[np.uint32]

HOUR_S = 3600
LOG_VARIANCE_FLOOR = 0.05
Z_FROM_EVENTS = 3
RARITY_PRIOR = 5.0

_LOG_AMOUNT = index_of("log_amount")
_AMOUNT_Z = index_of("amount_z")
_TO_MEAN_LIFETIME = index_of("amount_to_mean_lifetime")
_HOUR_RARITY = index_of("hour_rarity")
_AGE = index_of("account_age_days")
_LIFETIME = index_of("lifetime_count")


@inlined
def log_of_cents(cents: Int) -> float:
    """log1p of an amount; by way of log, which is three times as fast and of whole cents as exact."""
    return math.log((cents + CENTS_PER_UNIT) / CENTS_PER_UNIT)


@inlined
def log_steps(cents: Int) -> Int:
    """log1p of an amount in whole steps of 1/LOG_STEPS, so that sums of it are exact integers."""
    return np.int64(math.floor(log_of_cents(cents) * LOG_STEPS + 0.5))


@inlined
def read_u64(arena: Words, at: Int) -> Int:
    """A 64-bit value kept as two words; signed, values stay below 2^63."""
    return np.int64(arena[at]) | np.int64(arena[at + 1]) << np.int64(32)


@inlined
def hour_count(arena: Words, base: Int, hour: Int) -> Int:
    """One bin of the profile's hour-of-day histogram."""
    return np.int64(arena[base + HISTOGRAM + (hour >> 1)]) >> np.int64(16 * (hour & 1)) & np.int64(0xFFFF)


@inlined
def lifetime_features(
    arena: Words, base: Int, capacity: Int, at: Int, end: Int, event: Words, row: NDArray[np.float64]
) -> tuple[Int, float, float, float]:
    """Features of the user's whole life as of this event: what is newer than it is taken out again, in integers.

    Returns:
        Number of earlier events, mean of their log1p(amount), its deviation with a floor, their mean amount.
    """
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
    row[_LOG_AMOUNT] = log_of_cents(amount_cents)
    row[_AMOUNT_Z] = 0.0
    row[_TO_MEAN_LIFETIME] = 0.0
    row[_AGE] = 0.0
    row[_LIFETIME] = count
    if count > 0:
        row[_TO_MEAN_LIFETIME] = math.log((amount + 1.0) / (cents / 100.0 / count + 1.0))
        row[_AGE] = max(time - np.int64(arena[base + FIRST]), np.int64(0)) / 86400.0
    usual, mean, deviation = 0.0, 0.0, 1.0
    if count > 0:
        usual = cents / 100.0 / count
        mean = logs / LOG_STEPS / count
        variance = max(squares / (LOG_STEPS * LOG_STEPS) / count - mean * mean, 0.0)
        deviation = math.sqrt(variance + LOG_VARIANCE_FLOOR)
    if count >= Z_FROM_EVENTS:
        row[_AMOUNT_Z] = (log_steps(amount_cents) / LOG_STEPS - mean) / deviation
    near = 0.25 * bins_before + 0.5 * bins_here + 0.25 * bins_after
    row[_HOUR_RARITY] = -math.log((near + RARITY_PRIOR / 24.0) / (count + RARITY_PRIOR))
    return count, mean, deviation, usual
