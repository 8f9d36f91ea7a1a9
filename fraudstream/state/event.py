"""How one transaction becomes eight 32-bit words in a profile; hashes here must never change between versions.

The words are what the profile remembers of a transaction. Text is kept as hashes: enough to know the same merchant,
device or place again, nothing that could be read back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from msgspec.structs import astuple
from numpy.typing import NDArray
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
_LOW, _HALF = np.uint64(0xFFFF_FFFF), np.uint64(32)


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


def pack(transactions: Sequence[Transaction], times_s: Sequence[int] | NDArray[np.int64]) -> NDArray[np.uint32]:
    """The words of transactions, (n, EVENT_WORDS); `times_s` are their event times in whole seconds since 1970."""
    words = np.empty((len(transactions), EVENT_WORDS), np.uint32)
    if not transactions:
        return words
    names, _, amounts, merchants, categories, locations, devices, _, latitudes, longitudes, _ = zip(
        *map(astuple, transactions), strict=True
    )
    identities = np.fromiter(map(xxh3_64_intdigest, map(str.encode, names)), np.uint64, len(names))
    words[:, TIME] = times_s
    words[:, CENTS] = np.floor(np.array(amounts) * CENTS_PER_UNIT + 0.5)
    words[:, MERCHANT] = list(map(hash32, merchants))
    words[:, ID_LOW], words[:, ID_HIGH] = identities & _LOW, identities >> _HALF
    words[:, CATEGORY_LOCATION] = _hashes(categories, hash16) << 16 | _hashes(locations, hash16)
    words[:, DEVICE] = _hashes(devices, hash32)
    words[:, PLACE] = pack_places(latitudes, longitudes)
    return words


def pack_places(latitudes: Sequence[float | None], longitudes: Sequence[float | None]) -> NDArray[np.int64]:
    """Coordinates in degrees, each pair as two signed 16-bit halves, or `NO_PLACE` when either is missing."""
    steps = np.rint(np.array([latitudes, longitudes], np.float64) * COORDINATE_STEPS)
    is_absent = np.isnan(steps).any(axis=0)
    steps[:, is_absent] = 0
    latitude, longitude = steps.astype(np.int64) & 0xFFFF
    return np.where(is_absent, NO_PLACE, latitude << 16 | longitude)


def pack_place(latitude: float | None, longitude: float | None) -> int:
    """One pair of coordinates, as `pack_places` packs them."""
    return int(pack_places([latitude], [longitude])[0])


def _hashes(texts: Sequence[str | None], hash_of: Callable[[str], int]) -> NDArray[np.int64]:
    return np.array([hash_of(text) if text else ABSENT for text in texts], np.int64)
