"""A labelled stream of card transactions, the same for the same seed: a world, its habits, and six kinds of thieves.

world -> honest purchases -> stolen purchases -> one table, sorted by time
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fraudstream.errors import SettingsError
from fraudstream.training.campaigns import CAMPAIGN_NAMES, SMALLEST_BUDGET, stolen_purchases
from fraudstream.training.files import TIME
from fraudstream.training.habits import NO_DEVICE, Purchases, honest_purchases
from fraudstream.training.history import History
from fraudstream.training.places import CITY_NAMES
from fraudstream.training.world import CATEGORIES, ONLINE, Ints, World, make_merchants, make_users

__all__ = ["CAMPAIGN_NAMES", "SMALLEST_BUDGET", "SimulationSpec", "simulate"]

PURCHASES_PER_USER = 80
"""Per user by default: in 60 days somewhat more than one a day, enough for habits to show."""

CURRENCY = "USD"
_HIGHEST_FRAUD_RATE = 0.5
_NS_PER_S = 1_000_000_000
_FIRST_YEAR, _LAST_YEAR = 2000, 2200


@dataclass(frozen=True, slots=True)
class SimulationSpec:
    """What to simulate; equal specs give byte-identical streams.

    Args:
        transactions: rows of the stream, frauds included.
        users: card holders; by default one for each 80 transactions.
        seed: any number from 0 on.
        start: first moment of the stream, in whole seconds.
        days: length of the stream; purchases per user and day follow from it.
        fraud_rate: share of transactions that are fraud; every campaign occurs from 28 frauds on.

    Raises:
        SettingsError: a value is out of range.
    """

    transactions: int = 100_000
    users: int | None = None
    seed: int = 0
    start: datetime = datetime(2025, 1, 6, tzinfo=UTC)
    days: int = 60
    fraud_rate: float = 0.007

    def __post_init__(self) -> None:
        _expect(self.transactions >= 1, "transactions", "1 or more", self.transactions)
        _expect(self.users is None or self.users >= 1, "users", "1 or more", self.users)
        _expect(self.seed >= 0, "seed", "0 or more", self.seed)
        _expect(self.days >= 1, "days", "1 or more", self.days)
        _expect(0 <= self.fraud_rate < _HIGHEST_FRAUD_RATE, "fraud_rate", "0 or more and below 0.5", self.fraud_rate)
        in_range = self.start.tzinfo is not None and _FIRST_YEAR <= self.start.year < _LAST_YEAR
        _expect(in_range, "start", f"a time with an offset from {_FIRST_YEAR} on", self.start)

    @property
    def user_count(self) -> int:
        """How many users there are, chosen or by default."""
        return self.users or max(1, self.transactions // PURCHASES_PER_USER)

    @property
    def fraud_count(self) -> int:
        """How many transactions are fraud."""
        return round(self.transactions * self.fraud_rate)


def simulate(spec: SimulationSpec | None = None) -> History:
    """Plays the world of the spec: exactly `spec.transactions` rows, sorted by time, with unique ids and labels."""
    spec = spec or SimulationSpec()
    for_users, for_merchants, for_habits, for_frauds = np.random.default_rng(spec.seed).spawn(4)
    world = World(
        make_users(for_users, spec.user_count),
        make_merchants(for_merchants, spec.user_count),
        start_s=int(spec.start.timestamp()),
        days=spec.days,
    )
    honest = honest_purchases(for_habits, world, spec.transactions - spec.fraud_count)
    stolen, campaign = stolen_purchases(for_frauds, world, honest, spec.fraud_count)
    together = Purchases.joined([honest, stolen])
    labels = np.concatenate([np.zeros(len(honest), np.int64), campaign + 1])
    order = np.argsort(together.time_s, kind="stable")
    return History(_table(spec.seed, world, together.take(order), labels[order]))


def _table(seed: int, world: World, purchases: Purchases, campaign: Ints) -> pa.Table:
    """The columns of `files.FIELDS`; `campaign` is 0 for honest purchases, else 1 + its index."""
    merchants, merchant = world.merchants, purchases.merchant
    city, rows = merchants.city[merchant], len(purchases)
    seen, device = np.unique(purchases.device[purchases.device != NO_DEVICE], return_inverse=True)
    device_code = np.full(rows, -1)
    device_code[purchases.device != NO_DEVICE] = device
    users = [f"user_{number:06d}" for number in range(len(world.users))]
    return pa.table(
        {
            "transaction_id": _hexadecimal(_scrambled(np.arange(rows), seed)),
            "user_id": _labels(purchases.user, users, pa.int32()).cast(pa.string()),
            "amount": purchases.amount_usd,
            "merchant": _labels(merchant, merchants.names, pa.int16()),
            "category": _labels(merchants.category[merchant], [category.name for category in CATEGORIES], pa.int8()),
            "location": _labels(np.where(city == ONLINE, -1, city), list(CITY_NAMES), pa.int16()),
            "latitude": pa.array(merchants.latitude[merchant], mask=city == ONLINE),
            "longitude": pa.array(merchants.longitude[merchant], mask=city == ONLINE),
            "device_id": _labels(device_code, _hexadecimal(_scrambled(seen, seed)), pa.int32()),
            "timestamp": pa.array(purchases.time_s * _NS_PER_S).cast(TIME),
            "currency": _labels(np.zeros(rows, np.int64), [CURRENCY], pa.int8()),
            "is_fraud": (campaign > 0).astype(np.int8),
            "campaign": _labels(campaign, ["", *CAMPAIGN_NAMES], pa.int8()),
        }
    )


def _labels(codes: Ints, names: list[str] | pa.Array, width: pa.DataType) -> pa.DictionaryArray:
    """A text column by codes, -1 being none; the width of its indices is part of the schema, whatever the size."""
    indices = pa.array(codes, mask=codes < 0).cast(width)
    return pa.DictionaryArray.from_arrays(indices, pa.array(names, pa.string()))


def _scrambled(numbers: Ints, seed: int) -> NDArray[np.uint64]:
    """Numbers that tell nothing of their order, as unique as the given ones: each step of splitmix64 can be undone.

    Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, OOPSLA 2014.
    """
    offset = np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]
    mixed = numbers.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + offset
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(mixed ^ (mixed >> np.uint64(31)))


def _hexadecimal(numbers: NDArray[np.uint64]) -> pa.Array:
    """Each number as 16 hexadecimal digits, without a Python object for each."""
    digits = np.frombuffer(b"0123456789abcdef", np.uint8)
    pairs = numbers.astype(">u8").view(np.uint8)
    text = np.stack([digits[pairs >> 4], digits[pairs & 15]], axis=1)
    borders = np.arange(0, 16 * len(numbers) + 1, 16, dtype=np.int32)
    return pa.StringArray.from_buffers(len(numbers), pa.py_buffer(borders), pa.py_buffer(text))


def _expect(holds: bool, name: str, expected: str, got: object) -> None:
    if not holds:
        raise SettingsError(f"{name}: expected {expected}, got {got}")
