"""How one transaction becomes eight 32-bit words in a profile; hashes here must never change between versions.

The words are what the profile remembers of a transaction. Text is kept as hashes: enough to know the same merchant,
device or place again, nothing that could be read back.
"""

from __future__ import annotations

import math
from functools import lru_cache

from xxhash import xxh3_64_intdigest

from fraudstream.transaction import Transaction

EVENT_WORDS = 8
TIME, CENTS, MERCHANT, ID_LOW, ID_HIGH, CATEGORY_LOCATION, DEVICE, PLACE = range(EVENT_WORDS)

ABSENT = 0
"""Hash of a text field that the transaction does not have; no real value ever gets it."""

NO_PLACE = 0x8000_8000
"""Packed coordinates of a transaction without any."""

CENTS_PER_UNIT = 100
COORDINATE_STEPS = 100
"""Coordinates are kept in hundredths of a degree, about 1.1 km."""

_CACHED_NAMES = 65_536


def to_cents(amount: float) -> int:
    """Rounds an amount in main units to whole cents, half up: the one definition for live, replay and training."""
    return math.floor(amount * CENTS_PER_UNIT + 0.5)


@lru_cache(_CACHED_NAMES)
def hash32(text: str) -> int:
    """A stable hash in 1..2^32-1 (xxh3, low word); `ABSENT` is kept for a missing value."""
    return (xxh3_64_intdigest(text.encode()) & 0xFFFF_FFFF) or 1


@lru_cache(_CACHED_NAMES)
def hash16(text: str) -> int:
    """A stable hash in 1..65535, for values of which one user has few: categories and locations."""
    return (xxh3_64_intdigest(text.encode()) >> 48) or 1


def identity_of(transaction_id: str) -> tuple[int, int]:
    """What a profile remembers of a transaction_id: its words ID_LOW and ID_HIGH."""
    identity = xxh3_64_intdigest(transaction_id.encode())
    return identity & 0xFFFF_FFFF, identity >> 32


def pack_place(latitude: float | None, longitude: float | None) -> int:
    """Two coordinates in degrees as two signed 16-bit halves, or `NO_PLACE` when either is missing."""
    if latitude is None or longitude is None:
        return NO_PLACE
    return (round(latitude * COORDINATE_STEPS) & 0xFFFF) << 16 | (round(longitude * COORDINATE_STEPS) & 0xFFFF)


def pack(transaction: Transaction, time_s: int) -> tuple[int, int, int, int, int, int, int, int]:
    """The eight words of a transaction whose event time is `time_s` (whole seconds since 1970)."""
    id_low, id_high = identity_of(transaction.transaction_id)
    category = hash16(transaction.category) if transaction.category else ABSENT
    location = hash16(transaction.location) if transaction.location else ABSENT
    return (
        time_s,
        to_cents(transaction.amount),
        hash32(transaction.merchant),
        id_low,
        id_high,
        category << 16 | location,
        hash32(transaction.device_id) if transaction.device_id else ABSENT,
        pack_place(transaction.latitude, transaction.longitude),
    )
