"""The people and the shops of the simulated world: who they are and what they like, before anyone buys anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fraudstream.training.places import CITY_LATITUDES, CITY_LONGITUDES, CITY_NAMES, CITY_SHARES

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

ONLINE = len(CITY_NAMES)
"""The number of the city that is nowhere: where merchants without a place are."""


class Category(NamedTuple):
    """What is typical for a kind of merchant."""

    name: str
    share: float
    """of all purchases"""
    median_usd: float
    spread: float
    """of one user's log amount"""
    online_share: float
    words: str
    """names for its merchants"""


CATEGORIES = (
    Category("groceries", 0.20, 38, 0.55, 0.08, "Market Foods Grocers"),
    Category("restaurants", 0.16, 26, 0.45, 0.15, "Kitchen Grill Bistro"),
    Category("coffee", 0.12, 5.5, 0.35, 0.0, "Coffee Espresso Bakery"),
    Category("fuel", 0.09, 38, 0.30, 0.0, "Fuel Petrol Station"),
    Category("transport", 0.08, 12, 0.50, 0.5, "Transit Cabs Parking"),
    Category("pharmacy", 0.05, 18, 0.55, 0.15, "Pharmacy Drugs Health"),
    Category("clothing", 0.05, 52, 0.55, 0.5, "Clothing Outfitters Shoes"),
    Category("home", 0.04, 60, 0.65, 0.5, "Hardware Furniture Garden"),
    Category("entertainment", 0.05, 24, 0.50, 0.5, "Cinema Theatre Arcade"),
    Category("digital_goods", 0.05, 9, 0.55, 1.0, "Games Apps Media"),
    Category("subscriptions", 0.04, 13, 0.25, 1.0, "Streaming News Cloud"),
    Category("general_retail", 0.05, 34, 0.70, 0.8, "Store Bazaar Trading"),
    Category("electronics", 0.02, 160, 0.65, 0.6, "Electronics Computers Phones"),
    Category("travel", 0.015, 240, 0.60, 0.8, "Airways Railways Tours"),
    Category("hotels", 0.01, 150, 0.40, 0.2, "Hotel Inn Lodge"),
    Category("jewelry", 0.005, 300, 0.70, 0.3, "Jewelers Watches Gold"),
    Category("gift_cards", 0.005, 50, 0.50, 0.8, "Gifts Vouchers Cards"),
)
CATEGORY_INDEX = {category.name: index for index, category in enumerate(CATEGORIES)}
SHARES = np.array([category.share for category in CATEGORIES]) / sum(category.share for category in CATEGORIES)
MEDIANS_USD = np.array([category.median_usd for category in CATEGORIES])
SPREADS = np.array([category.spread for category in CATEGORIES])
ONLINE_SHARES = np.array([category.online_share for category in CATEGORIES])

_FIRST_WORDS = """
    Amber Anchor Aspen Autumn Birch Blue Bright Canyon Cedar Clover Copper Coral Crescent Delta Eagle Ember Falcon Fern
    Forest Golden Granite Harbor Hazel Heron Hill Iron Ivory Juniper Lake Lantern Laurel Liberty Linden Maple Meadow
"""
_SECOND_WORDS = """
    Brothers Corner Street House Union Point Valley Park Works Court Bridge Mill Square Gate Row Yard Spring Field Crown
"""

DAY_S = 86_400
TWO_DEVICES_SHARE = 0.4
NIGHT_WORKERS_SHARE = 0.08
_SATURDAY = 5


@dataclass(frozen=True, slots=True, eq=False)
class Merchants:
    """All merchants; those of one (city, category) stand side by side, `first` and `count` say where."""

    names: list[str]
    category: Ints  # (merchant,)
    city: Ints  # (merchant,); ONLINE where there is no place
    latitude: NDArray[np.float32]  # (merchant,); NaN online
    longitude: NDArray[np.float32]
    price_level: Floats  # (merchant,); 1 is the category's usual price
    first: Ints  # (city + online, category)
    count: Ints


@dataclass(frozen=True, slots=True, eq=False)
class Users:
    """All users with their habits; nothing in it changes while they spend."""

    home: Ints  # (user,) city
    activity: Floats  # (user,) share of all purchases
    spending_level: Floats  # (user, category); 1 is the category's usual amount
    category_share: Floats  # (user, category)
    hour_share: Floats  # (user, 24) hours in UTC
    weekday_share: Floats  # (user, 7) from Monday on
    favourite: Floats  # (user, category) in [0, 1): where in a street of shops the walk begins
    second_device_share: Floats  # (user,); 0 for those with one device

    def __len__(self) -> int:
        return len(self.home)


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """Users, merchants, and the span of time that is played."""

    users: Users
    merchants: Merchants
    start_s: int  # since 1970
    days: int

    @property
    def span_s(self) -> int:
        """Length of the time that is played."""
        return self.days * DAY_S


def make_merchants(rng: np.random.Generator, users: int) -> Merchants:
    """Merchants enough for so many users: a city of any size has some of every kind, larger ones have more."""
    per_city = np.clip(np.rint(users * CITY_SHARES / 8), 2, 12).astype(np.int64)
    count = np.outer(np.append(per_city, np.clip(users // 20, 8, 40)), np.ones(len(CATEGORIES), np.int64))
    count[:ONLINE, ONLINE_SHARES == 1] = 0
    count[ONLINE, ONLINE_SHARES == 0] = 0
    first = (np.cumsum(count) - count.ravel()).reshape(count.shape)
    city, category = (np.repeat(axis.ravel(), count.ravel()) for axis in np.indices(count.shape))
    total = len(city)
    latitudes, longitudes = np.append(CITY_LATITUDES, np.nan), np.append(CITY_LONGITUDES, np.nan)
    return Merchants(
        names=_merchant_names(rng, category),
        category=category,
        city=city,
        latitude=(latitudes[city] + rng.normal(0, 0.04, total)).astype(np.float32),
        longitude=(longitudes[city] + rng.normal(0, 0.05, total)).astype(np.float32),
        price_level=np.exp(rng.normal(0, 0.2, total)),
        first=first,
        count=count,
    )


def _merchant_names(rng: np.random.Generator, category: Ints) -> list[str]:
    """Unique names: each category has words of its own, and within it no combination comes twice."""
    names = [""] * len(category)
    first, second = _FIRST_WORDS.split(), _SECOND_WORDS.split()
    for index, kind in enumerate(CATEGORIES):
        words = kind.words.split()
        combinations = [f"{one} {two} {word}" for word in words for one in first for two in second]
        members = np.flatnonzero(category == index)
        for member, chosen in zip(members, rng.permutation(len(combinations))[: len(members)], strict=True):
            names[member] = combinations[chosen]
    return names


def make_users(rng: np.random.Generator, users: int) -> Users:
    """Users whose activity is heavy-tailed and whose tastes, hours and means differ."""
    activity = np.clip(np.exp(rng.normal(0, 0.9, users)), 0.15, 12)
    taste = rng.standard_gamma(np.broadcast_to(12 * SHARES, (users, len(SHARES)))) + 1e-9
    wealth = np.exp(rng.normal(0, 0.35, (users, 1)))
    home = rng.choice(ONLINE, users, p=CITY_SHARES)
    weekend = np.exp(rng.normal(0.1, 0.4, (users, 1)))
    weekday_share = np.ones((users, 7)) * np.where(np.arange(7) >= _SATURDAY, weekend, 1.0)
    return Users(
        home=home,
        activity=activity / activity.sum(),
        spending_level=wealth * np.exp(rng.normal(0, 0.3, taste.shape)),
        category_share=taste / taste.sum(axis=1, keepdims=True),
        hour_share=_hour_shares(rng, home),
        weekday_share=weekday_share / weekday_share.sum(axis=1, keepdims=True),
        favourite=rng.random(taste.shape) ** 2,
        second_device_share=np.where(rng.random(users) < TWO_DEVICES_SHARE, rng.uniform(0.1, 0.4, users), 0.0),
    )


def _hour_shares(rng: np.random.Generator, home: Ints) -> Floats:
    """Three bumps of activity a day, shifted for early and late people, turned from local hours to UTC."""
    users = len(home)
    late = rng.normal(0, 1.2, users) + np.where(rng.random(users) < NIGHT_WORKERS_SHARE, 7.0, 0.0)
    weights = rng.dirichlet((2.0, 4.0, 5.0), users)  # (user, bump)
    offset_h = np.rint(CITY_LONGITUDES[home] / 15)
    peaks = np.array([8.0, 12.5, 18.5]) + late[:, None] - offset_h[:, None]
    away_h = (np.arange(24) + 0.5 - peaks[:, :, None] + 12) % 24 - 12  # (user, bump, hour)
    width_h = rng.uniform(1.2, 2.2, users)[:, None]
    share = np.einsum("ub,ubh->uh", weights, np.exp(-0.5 * (away_h / width_h[:, :, None]) ** 2)) + 0.002
    return np.asarray(share / share.sum(axis=1, keepdims=True))
