"""How one transaction becomes eight 32-bit words in a profile; hashes here must never change between versions.

The words are what the profile remembers of a transaction. Text is kept as hashes: enough to know the same merchant,
device or place again, nothing that could be read back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

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


def cents_of(amounts: NDArray[np.float64]) -> NDArray[np.float64]:
    """`to_cents` of many; whole numbers, which a float64 holds exactly."""
    return np.asarray(np.floor(amounts * CENTS_PER_UNIT + 0.5))


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


def identities_of(transaction_ids: Sequence[bytes]) -> NDArray[np.uint64]:
    """`identity_of` of many, given as UTF-8; both words in one number."""
    return np.fromiter(map(xxh3_64_intdigest, transaction_ids), np.uint64, len(transaction_ids))


class EventColumns(NamedTuple):
    """Transactions column by column, texts as their hashes, `ABSENT` where there is none; each (n,).

    Attributes:
        times_s: event times in whole seconds since 1970.
        amounts: in main units.
        identities: as `identities_of` gives them.
        merchants: `hash32`.
        categories: `hash16`.
        locations: `hash16`.
        devices: `hash32`.
        latitudes: degrees, NaN where there is none.
        longitudes: degrees, NaN where there is none.
    """

    times_s: NDArray[np.int64]
    amounts: NDArray[np.float64]
    identities: NDArray[np.uint64]
    merchants: NDArray[np.int64]
    categories: NDArray[np.int64]
    locations: NDArray[np.int64]
    devices: NDArray[np.int64]
    latitudes: NDArray[np.float64]
    longitudes: NDArray[np.float64]


def words_of(columns: EventColumns) -> NDArray[np.uint32]:
    """The words of transactions, (n, EVENT_WORDS): the one definition for messages, objects and files."""
    words = np.empty((len(columns.times_s), EVENT_WORDS), np.uint32)
    words[:, TIME] = columns.times_s
    words[:, CENTS] = cents_of(columns.amounts)
    words[:, MERCHANT] = columns.merchants
    words[:, ID_LOW], words[:, ID_HIGH] = columns.identities & _LOW, columns.identities >> _HALF
    words[:, CATEGORY_LOCATION] = columns.categories << 16 | columns.locations
    words[:, DEVICE] = columns.devices
    words[:, PLACE] = pack_places(columns.latitudes, columns.longitudes)
    return words


def pack(transactions: Sequence[Transaction], times_s: Sequence[int] | NDArray[np.int64]) -> NDArray[np.uint32]:
    """The words of transactions, (n, EVENT_WORDS); `times_s` are their event times in whole seconds since 1970."""
    if not transactions:
        return np.empty((0, EVENT_WORDS), np.uint32)
    names, _, amounts, merchants, categories, locations, devices, _, latitudes, longitudes, _ = zip(
        *map(astuple, transactions), strict=True
    )
    return words_of(
        EventColumns(
            np.asarray(times_s, np.int64),
            np.array(amounts),
            identities_of(list(map(str.encode, names))),
            np.array(list(map(hash32, merchants)), np.int64),
            _hashes(categories, hash16),
            _hashes(locations, hash16),
            _hashes(devices, hash32),
            np.array(latitudes, np.float64),
            np.array(longitudes, np.float64),
        )
    )


def pack_places(latitudes: NDArray[np.float64], longitudes: NDArray[np.float64]) -> NDArray[np.int64]:
    """Coordinates in degrees, each pair as two signed 16-bit halves, or `NO_PLACE` when either is missing (NaN)."""
    steps = np.rint(np.array([latitudes, longitudes]) * COORDINATE_STEPS)
    is_absent = np.isnan(steps).any(axis=0)
    steps[:, is_absent] = 0
    latitude, longitude = steps.astype(np.int64) & 0xFFFF
    return np.where(is_absent, NO_PLACE, latitude << 16 | longitude)


def pack_place(latitude: float | None, longitude: float | None) -> int:
    """One pair of coordinates, as `pack_places` packs them."""
    return int(pack_places(np.array([latitude], np.float64), np.array([longitude], np.float64))[0])


def _hashes(texts: Sequence[str | None], hash_of: Callable[[str], int]) -> NDArray[np.int64]:
    return np.array([hash_of(text) if text else ABSENT for text in texts], np.int64)
