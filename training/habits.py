"""Honest purchases: each user's habits played out over the days; fraud comes later and elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fraudstream.training.places import CITY_SHARES, distance_km, travel_time_s
from fraudstream.training.world import (
    CATEGORY_INDEX,
    DAY_S,
    MEDIANS_USD,
    ONLINE,
    ONLINE_SHARES,
    SPREADS,
    Floats,
    Ints,
    World,
)

NO_DEVICE = -1
DEVICES_PER_USER = 3
"""Room in the numbering for a user's devices: first, second, and the phone that replaces the first."""

ERRAND_SHARE = 0.15
"""Purchases that follow another one of the same user within the hour."""

TRIPS_PER_DAY = 0.008
MOST_TRIPS = 3
NEW_PHONES_PER_DAY = 0.002
CARD_IN_HAND_SHARE = 0.4
"""Purchases in a shop that are paid with the card itself, so that no device is seen."""

TRAVELLERS_NEEDS_SHARE = 0.5
"""Purchases on a trip that are hotels, meals, rides and outings, whatever the user buys at home."""

ZIPF_EXPONENT = 2.0
SMALLEST_USD = 0.5
_FOR_TRAVELLERS = np.array([CATEGORY_INDEX[name] for name in ("hotels", "restaurants", "transport", "entertainment")])


@dataclass(frozen=True, slots=True, eq=False)
class Purchases:
    """Transactions as columns of numbers; what a merchant knows (category, place) is looked up there."""

    user: Ints
    time_s: Ints  # since 1970
    merchant: Ints
    device: Ints  # NO_DEVICE where none was seen
    amount_usd: Floats

    def __len__(self) -> int:
        return len(self.user)

    def take(self, rows: Ints | NDArray[np.bool_]) -> Purchases:
        """The chosen rows, in the order of `rows`."""
        return Purchases(
            self.user[rows], self.time_s[rows], self.merchant[rows], self.device[rows], self.amount_usd[rows]
        )

    @classmethod
    def joined(cls, parts: Sequence[Purchases]) -> Purchases:
        """The parts one after the other."""
        return cls(
            np.concatenate([part.user for part in parts]),
            np.concatenate([part.time_s for part in parts]),
            np.concatenate([part.merchant for part in parts]),
            np.concatenate([part.device for part in parts]),
            np.concatenate([part.amount_usd for part in parts]),
        )


def honest_purchases(rng: np.random.Generator, world: World, rows: int) -> Purchases:
    """Exactly `rows` purchases within the world's span of time, sorted by user and time."""
    user = np.repeat(np.arange(len(world.users)), rng.multinomial(rows, world.users.activity))
    time_s = world.start_s + _seconds(rng, world, user)
    order = np.lexsort((time_s, user))
    user, time_s = user[order], time_s[order]
    city, travelling = _cities(rng, world, user, time_s)
    category = draw(rng, world.users.category_share, user)
    for_travellers = travelling & (rng.random(rows) < TRAVELLERS_NEEDS_SHARE)
    category = np.where(for_travellers, _FOR_TRAVELLERS[rng.integers(0, len(_FOR_TRAVELLERS), rows)], category)
    online = rng.random(rows) < ONLINE_SHARES[category]
    merchant = _habitual(rng, world, user, np.where(online, ONLINE, city), category)
    merchant = _without_haste(rng, world, user, time_s, merchant)
    return Purchases(
        user=user,
        time_s=time_s,
        merchant=merchant,
        device=_devices(rng, world, user, time_s, merchant),
        amount_usd=usual_amounts(rng, world, user, merchant),
    )


def draw(rng: np.random.Generator, shares: Floats, row: Ints) -> Ints:
    """For each entry of `row` a column of `shares`, with the probabilities that stand in that row."""
    columns = shares.shape[1]
    cumulated = np.cumsum(shares, axis=1)
    steps = (cumulated / cumulated[:, -1:] + np.arange(len(shares))[:, None]).ravel()
    found = np.searchsorted(steps, row + rng.random(len(row)), side="right") - row * columns
    return np.asarray(np.clip(found, 0, columns - 1))


def usual_amounts(rng: np.random.Generator, world: World, user: Ints, merchant: Ints) -> Floats:
    """What these users would pay at these merchants."""
    category = world.merchants.category[merchant]
    level = MEDIANS_USD[category] * world.merchants.price_level[merchant] * world.users.spending_level[user, category]
    return cents(level * np.exp(rng.normal(0, 1, len(user)) * SPREADS[category]))


def cents(amount_usd: Floats) -> Floats:
    """Amounts as they are printed on a bill."""
    return np.asarray(np.round(np.maximum(amount_usd, SMALLEST_USD), 2), np.float64)


def _seconds(rng: np.random.Generator, world: World, user: Ints) -> Ints:
    """Seconds after the start: the user's weekdays and hours, some of them in errands. `user` must be sorted."""
    weekday = (world.start_s // DAY_S + 3 + np.arange(world.days)) % 7  # 1970-01-01 was a Thursday
    day = draw(rng, world.users.weekday_share[:, weekday], user)
    second = day * DAY_S + draw(rng, world.users.hour_share, user) * 3600 + rng.integers(0, 3600, len(user))
    follows = (rng.random(len(user)) < ERRAND_SHARE) & np.append(False, user[1:] == user[:-1])[: len(user)]
    gap_s = 60 + rng.exponential(1200, len(user)).astype(np.int64)
    second = np.where(follows, np.roll(second, 1) + gap_s, second)
    # The start need not be midnight: what would lie before it happens on the last day instead, at the same hour.
    return np.asarray((second - world.start_s % DAY_S) % world.span_s)


def _cities(rng: np.random.Generator, world: World, user: Ints, time_s: Ints) -> tuple[Ints, NDArray[np.bool_]]:
    """Where each purchase would be made in person, and whether that is away from home."""
    shape = (len(world.users), MOST_TRIPS)
    begins = world.start_s + rng.random(shape) * world.span_s
    begins = np.where(rng.random(shape) < TRIPS_PER_DAY * world.days / MOST_TRIPS, begins, np.inf)
    ends = begins + rng.uniform(2, 9, shape) * DAY_S
    goal = rng.choice(ONLINE, shape, p=(CITY_SHARES + 1 / ONLINE) / 2)
    home = world.users.home[user]
    city = home
    for trip in range(MOST_TRIPS):
        away = (time_s >= begins[user, trip]) & (time_s < ends[user, trip])
        city = np.where(away, goal[user, trip], city)
    return city, city != home


def _habitual(rng: np.random.Generator, world: World, user: Ints, city: Ints, category: Ints) -> Ints:
    """A merchant of the category in the city: the user's favourite most often, the others by Zipf's law."""
    shops = world.merchants.count
    # Where a kind of shop exists only online or only in town, it is visited there.
    elsewhere = np.where(city == ONLINE, world.users.home[user], ONLINE)
    city = np.where(shops[city, category] > 0, city, elsewhere)
    count = shops[city, category]
    most = int(shops.max())
    zipf = np.arange(1.0, most + 1) ** -ZIPF_EXPONENT * (np.arange(most) < np.arange(most + 1)[:, None])
    zipf[0] = 1  # no shops: never asked for, but a row of zeros has no distribution
    rank = draw(rng, zipf.astype(np.float64), count)
    begin = (world.users.favourite[user, category] * count).astype(np.int64)
    return np.asarray(world.merchants.first[city, category] + (begin + rank) % count)


def _without_haste(rng: np.random.Generator, world: World, user: Ints, time_s: Ints, merchant: Ints) -> Ints:
    """Moves online what the user could not have reached in time from the purchase before (rows by user and time)."""
    merchants, merchant = world.merchants, merchant.copy()
    online_taste = world.users.category_share * ONLINE_SHARES
    while True:
        in_person = np.flatnonzero(merchants.city[merchant] != ONLINE)
        there, here = in_person[:-1], in_person[1:]
        latitude, longitude = merchants.latitude[merchant], merchants.longitude[merchant]
        kilometres = distance_km(latitude[there], longitude[there], latitude[here], longitude[here])
        hasty = here[(user[there] == user[here]) & (time_s[here] - time_s[there] < travel_time_s(kilometres))]
        if not len(hasty):
            return merchant
        category = draw(rng, online_taste, user[hasty])
        merchant[hasty] = _habitual(rng, world, user[hasty], np.full(len(hasty), ONLINE), category)


def _devices(rng: np.random.Generator, world: World, user: Ints, time_s: Ints, merchant: Ints) -> Ints:
    """Which device is seen: mostly the user's first, which may be replaced by a new one for good."""
    users = world.users
    replaced_s = world.start_s + rng.uniform(0.05, 1, len(users)) * world.span_s
    replaced_s = np.where(rng.random(len(users)) < NEW_PHONES_PER_DAY * world.days, replaced_s, np.inf)
    second = rng.random(len(user)) < users.second_device_share[user]
    own = np.where(second, 1, np.where(time_s >= replaced_s[user], 2, 0))
    in_person = world.merchants.city[merchant] != ONLINE
    unseen = in_person & (rng.random(len(user)) < CARD_IN_HAND_SHARE)
    return np.where(unseen, NO_DEVICE, user * DEVICES_PER_USER + own)
