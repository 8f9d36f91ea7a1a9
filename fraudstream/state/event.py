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

from fraudstream.compiled import Int, compiled
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
_PLACE_HALF = 0xFFFF


def to_cents(amount: float) -> int:
    """Rounds an amount in main units to whole cents, half up: the one definition for live, replay and training."""
    return math.floor(amount * CENTS_PER_UNIT + 0.5)


@compiled
def cents_of(amounts: NDArray[np.float64]) -> NDArray[np.float64]:
    """`to_cents` of many; whole numbers, which a float64 holds exactly."""
    return np.floor(amounts * CENTS_PER_UNIT + 0.5)


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


@compiled
def words_of(columns: EventColumns) -> NDArray[np.uint32]:
    """The words of transactions, (n, EVENT_WORDS): the one definition for messages, objects and files."""
    words = np.empty((len(columns.times_s), EVENT_WORDS), np.uint32)
    cents = cents_of(columns.amounts)
    for row in range(len(words)):
        identity = columns.identities[row]
        words[row, TIME] = np.uint32(columns.times_s[row])
        words[row, CENTS] = np.uint32(np.int64(cents[row]))
        words[row, MERCHANT] = np.uint32(columns.merchants[row])
        words[row, ID_LOW], words[row, ID_HIGH] = np.uint32(identity & _LOW), np.uint32(identity >> _HALF)
        words[row, CATEGORY_LOCATION] = np.uint32(columns.categories[row] << 16 | columns.locations[row])
        words[row, DEVICE] = np.uint32(columns.devices[row])
        words[row, PLACE] = np.uint32(_packed_place(columns.latitudes[row], columns.longitudes[row]))
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
            np.array(amounts, np.float64),
            identities_of(list(map(str.encode, names))),
            np.array(list(map(hash32, merchants)), np.int64),
            _hashes(categories, hash16),
            _hashes(locations, hash16),
            _hashes(devices, hash32),
            np.array(latitudes, np.float64),
            np.array(longitudes, np.float64),
        )
    )


def pack_place(latitude: float | None, longitude: float | None) -> int:
    """Coordinates in degrees as the word PLACE, `NO_PLACE` when either is missing."""
    return int(_packed_place(*(math.nan if degrees is None else degrees for degrees in (latitude, longitude))))


@compiled
def _packed_place(latitude: float, longitude: float) -> Int:
    """Two signed 16-bit halves; what is missing is NaN."""
    if np.isnan(latitude) or np.isnan(longitude):
        return NO_PLACE
    north, east = np.rint(latitude * COORDINATE_STEPS), np.rint(longitude * COORDINATE_STEPS)
    return (np.int64(north) & _PLACE_HALF) << 16 | np.int64(east) & _PLACE_HALF


def _hashes(texts: Sequence[str | None], hash_of: Callable[[str], int]) -> NDArray[np.int64]:
    return np.array([hash_of(text) if text else ABSENT for text in texts], np.int64)
