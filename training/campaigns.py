"""Six ways to steal, each with the signature that gives it away, and labelled with their names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fraudstream.training.habits import DEVICES_PER_USER, NO_DEVICE, Purchases, cents, draw, usual_amounts
from fraudstream.training.places import CITY_DISTANCES_KM
from fraudstream.training.world import CATEGORY_INDEX, DAY_S, ONLINE, ONLINE_SHARES, Floats, Ints, World

KNOWN_BEFORE_SHARE = 0.15
"""Part of the time span that stays free of most frauds, so that their victims have a history by then."""
LAST_BEGIN_SHARE = 0.97

FAR_KM = 2_500.0
COMPROMISE_DAYS = 10
LEAKED_BEFORE_SHARE = 0.6
MOST_ATTEMPTS = 4
CHARGED_WITHIN_DAYS = 14
FEWEST_OWN_PURCHASES = 10
SMALLEST_HAUL_USD = 250
"""What a tested card is used for in the end costs at least this; each test costs a few dollars."""

_CHEAP = np.array([CATEGORY_INDEX[name] for name in ("digital_goods", "subscriptions", "general_retail")])
_RESOLD = np.array([CATEGORY_INDEX[name] for name in ("electronics", "jewelry", "gift_cards")])
_IN_SHOPS = np.array([CATEGORY_INDEX[name] for name in ("electronics", "jewelry", "clothing", "general_retail")])


class Episode(NamedTuple):
    """Rows of several episodes laid end to end: which episode a row belongs to, and its place in it."""

    number: Ints
    step: Ints
    is_last: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]

    @classmethod
    def of(cls, sizes: Ints) -> Episode:
        """One row for each step of episodes of these sizes."""
        number = np.repeat(np.arange(len(sizes)), sizes)
        step = np.arange(len(number)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return cls(number, step, step == sizes[number] - 1)

    def elapsed(self, gap: Ints) -> Ints:
        """Sum of the gaps before each row within its episode; the gap of a first row does not count."""
        total = np.cumsum(np.where(self.step == 0, 0, gap))
        return np.asarray(total - total[np.flatnonzero(self.step == 0)][self.number])


class Underworld:
    """Who robs whom with what: hands out victims and strange devices, each only once as long as there are some."""

    def __init__(self, rng: np.random.Generator, world: World, honest: Purchases) -> None:
        self.rng = rng
        self.world = world
        self.honest = honest
        purchases = np.bincount(honest.user, minlength=len(world.users))
        known = np.flatnonzero(purchases >= FEWEST_OWN_PURCHASES)
        self._deck = rng.permutation(known if len(known) else len(world.users))
        self._dealt = 0
        self._devices = len(world.users) * DEVICES_PER_USER

    def victims(self, count: int) -> Ints:
        """Users nobody has robbed yet; from the first again when all were."""
        chosen = self._deck[(self._dealt + np.arange(count)) % len(self._deck)]
        self._dealt += count
        return np.asarray(chosen)

    def devices(self, count: int) -> Ints:
        """Devices that no honest user has."""
        self._devices += count
        return np.arange(self._devices - count, self._devices)

    def moments(self, count: int, lasting_s: Ints | int) -> Ints:
        """Random seconds from which something that lasts so long still fits into the span."""
        first = KNOWN_BEFORE_SHARE * self.world.span_s
        room = np.maximum(self.world.span_s - first - lasting_s, 1)
        return np.asarray((self.world.start_s + first + self.rng.random(count) * room).astype(np.int64))

    def merchants(self, categories: Ints, city: Ints | int = ONLINE) -> Ints:
        """Any merchant of each category in the city."""
        shops = self.world.merchants
        place = np.broadcast_to(city, categories.shape)
        chosen = self.rng.random(len(categories)) * shops.count[place, categories]
        return np.asarray(shops.first[place, categories] + chosen.astype(np.int64))

    def one_of(self, categories: Ints, count: int) -> Ints:
        """So many random picks among the categories."""
        return np.asarray(categories[self.rng.integers(0, len(categories), count)])

    def honest_rows_after_start(self, also: Ints | None = None) -> Ints:
        """Rows of honest purchases from which a fraud may begin, `also` being a further condition."""
        elapsed = (self.honest.time_s - self.world.start_s) / self.world.span_s
        fit = (elapsed >= KNOWN_BEFORE_SHARE) & (elapsed <= LAST_BEGIN_SHARE)
        return np.flatnonzero(fit if also is None else fit & also)


def card_testing(under: Underworld, sizes: Ints) -> Purchases:
    """Tiny amounts at online merchants within minutes, then a large one: does the stolen card still work?"""
    rng, episode = under.rng, Episode.of(sizes)
    rows, last = len(episode.number), episode.is_last
    gap_s = np.where(last, rng.integers(120, 900, rows), rng.integers(15, 90, rows))
    category = np.where(last, under.one_of(_RESOLD, rows), under.one_of(_CHEAP, rows))
    return Purchases(
        user=under.victims(len(sizes))[episode.number],
        time_s=under.moments(len(sizes), 2_000)[episode.number] + episode.elapsed(gap_s),
        merchant=under.merchants(category),
        device=under.devices(len(sizes))[episode.number],
        amount_usd=cents(np.where(last, rng.uniform(SMALLEST_HAUL_USD, 900, rows), rng.uniform(0.5, 4.5, rows))),
    )


def account_takeover(under: Underworld, sizes: Ints) -> Purchases:
    """A new device, at an hour when the user sleeps, buys dear things that can be sold on."""
    rng, episode, rows = under.rng, Episode.of(sizes), int(sizes.sum())
    victim = under.victims(len(sizes))
    user = victim[episode.number]
    rare_hours = np.argsort(under.world.users.hour_share[victim], axis=1, kind="stable")[:, :6]
    hour = rare_hours[np.arange(len(sizes)), rng.integers(0, 6, len(sizes))]
    day = under.moments(len(sizes), DAY_S + 3 * 3600) // DAY_S
    begin = day * DAY_S + hour * 3600 + rng.integers(0, 1800, len(sizes))
    begin += np.where(begin < under.world.start_s, DAY_S, 0)
    taste = 1 / (under.world.users.category_share[:, _RESOLD] + 1e-3)
    merchant = under.merchants(_RESOLD[draw(rng, taste, user)])
    return Purchases(
        user=user,
        time_s=begin[episode.number] + episode.elapsed(rng.integers(120, 900, rows)),
        merchant=merchant,
        device=under.devices(len(sizes))[episode.number],
        amount_usd=cents(usual_amounts(rng, under.world, user, merchant) * rng.uniform(1.5, 4, rows)),
    )


def impossible_travel(under: Underworld, sizes: Ints) -> Purchases:
    """A copy of the card buys on another continent minutes after its owner bought at home."""
    rng, world, honest = under.rng, under.world, under.honest
    city = world.merchants.city[honest.merchant]
    places = under.honest_rows_after_start(city != ONLINE)
    sizes = sizes[: len(places)]
    episode, rows = Episode.of(sizes), int(sizes.sum())
    anchor = rng.choice(places, len(sizes), replace=False)
    far_city = draw(rng, (CITY_DISTANCES_KM > FAR_KM).astype(np.float64), city[anchor])[episode.number]
    user = honest.user[anchor][episode.number]
    merchant = under.merchants(under.one_of(_IN_SHOPS, rows), far_city)
    begin = honest.time_s[anchor] + rng.integers(300, 2_400, len(sizes))
    return Purchases(
        user=user,
        time_s=begin[episode.number] + episode.elapsed(rng.integers(120, 600, rows)),
        merchant=merchant,
        device=np.full(rows, NO_DEVICE),
        amount_usd=cents(usual_amounts(rng, world, user, merchant) * rng.uniform(1, 2.5, rows)),
    )


def merchant_compromise(under: Underworld, sizes: Ints) -> Purchases:
    """Cards used at one merchant within some days are charged elsewhere afterwards, by a ring with a few devices."""
    rng, world, honest = under.rng, under.world, under.honest
    early = np.flatnonzero(honest.time_s < world.start_s + LEAKED_BEFORE_SHARE * world.span_s)
    early = early[np.argsort(honest.merchant[early], kind="stable")]
    merchant = honest.merchant[early]
    met = np.unique(merchant * len(world.users) + honest.user[early]) // len(world.users)
    known_by = np.bincount(met).astype(np.float64) ** 4  # thieves look for many cards in one place
    leaks_s = min(COMPROMISE_DAYS * DAY_S, world.span_s // 4)
    users, times, devices = [np.empty(0, np.int64)], [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    left = int(sizes.sum()) if len(early) else 0
    for size in np.tile(sizes, MOST_ATTEMPTS):  # a merchant may have seen fewer cards than were wanted
        if left == 0:
            break
        leaky = rng.choice(len(known_by), p=known_by / known_by.sum())
        rows = early[np.searchsorted(merchant, leaky) : np.searchsorted(merchant, leaky, side="right")]
        begin = int(rng.choice(honest.time_s[rows])) - int(rng.integers(0, leaks_s))
        leaked = (honest.time_s[rows] >= begin) & (honest.time_s[rows] < begin + leaks_s)
        visitors = rng.permutation(np.unique(honest.user[rows[leaked]]))
        victims = np.resize(visitors, min(size, left, 2 * len(visitors)))  # each card is charged once or twice
        charged_within_s = min(CHARGED_WITHIN_DAYS * DAY_S, world.start_s + world.span_s - begin - leaks_s)
        users.append(victims)
        times.append(begin + leaks_s + (rng.random(len(victims)) * charged_within_s).astype(np.int64))
        devices.append(rng.choice(under.devices(3), len(victims)))
        left -= len(victims)
    user = np.concatenate(users)
    category = under.one_of(np.concatenate([_CHEAP, _RESOLD]), len(user))
    amount_usd = np.clip(np.exp(rng.normal(np.log(80), 0.6, len(user))), 20, 400)
    return Purchases(user, np.concatenate(times), under.merchants(category), np.concatenate(devices), cents(amount_usd))


def slow_drain(under: Underworld, sizes: Ints) -> Purchases:
    """A moderate charge each day for weeks, always at the same merchant that does not suit the user."""
    rng, episode, rows = under.rng, Episode.of(sizes), int(sizes.sum())
    victim = under.victims(len(sizes))
    odd = ONLINE_SHARES / (under.world.users.category_share[victim] + 0.01)
    merchant = under.merchants(draw(rng, odd, np.arange(len(sizes))))
    every_s = np.minimum(DAY_S, 0.8 * under.world.span_s / sizes).astype(np.int64)  # short streams: more than daily
    begin = under.moments(len(sizes), sizes * every_s)
    charge_usd = rng.uniform(15, 60, len(sizes))
    wobble_s = rng.integers(0, np.maximum(every_s // 60, 1)[episode.number])
    return Purchases(
        user=victim[episode.number],
        time_s=begin[episode.number] + episode.step * every_s[episode.number] + wobble_s,
        merchant=merchant[episode.number],
        device=np.full(rows, NO_DEVICE),
        amount_usd=cents(charge_usd[episode.number] * rng.normal(1, 0.03, rows)),
    )


def amount_spike(under: Underworld, sizes: Ints) -> Purchases:
    """One purchase where the user does buy, but for more than the user ever paid."""
    rng, honest, rows = under.rng, under.honest, int(sizes.sum())
    habits = under.honest_rows_after_start()
    habits = habits if len(habits) else np.arange(len(honest))  # a stream of a few transactions
    template = honest.take(rng.choice(habits, rows, replace=rows > len(habits)))
    users = len(under.world.users)
    largest = np.zeros(users)
    np.maximum.at(largest, honest.user, honest.amount_usd)
    mean = np.bincount(honest.user, honest.amount_usd, users) / np.maximum(np.bincount(honest.user, minlength=users), 1)
    most: Floats = np.maximum(largest * rng.uniform(1.2, 2, users), mean * rng.uniform(8, 15, users))
    return Purchases(
        user=template.user,
        time_s=template.time_s + rng.integers(600, 7_200, rows),
        merchant=template.merchant,
        device=template.device,
        amount_usd=cents(most[template.user] * rng.uniform(1, 1.2, rows)),
    )


@dataclass(frozen=True, slots=True)
class Campaign:
    """How a campaign is played and how much of all fraud it makes."""

    play: Callable[[Underworld, Ints], Purchases]
    fewest: int
    """transactions in an episode"""
    most: int
    share: float

    @property
    def name(self) -> str:
        """The label of its transactions."""
        return self.play.__name__


CAMPAIGNS = (
    Campaign(card_testing, 5, 12, 0.20),
    Campaign(account_takeover, 3, 8, 0.20),
    Campaign(impossible_travel, 1, 3, 0.12),
    Campaign(merchant_compromise, 4, 40, 0.18),
    Campaign(slow_drain, 14, 28, 0.20),
    Campaign(amount_spike, 1, 1, 0.10),
)
"""The last one makes up for what the others leave of the budget, because its episodes are single transactions."""

CAMPAIGN_NAMES = tuple(campaign.name for campaign in CAMPAIGNS)
SMALLEST_BUDGET = sum(campaign.fewest for campaign in CAMPAIGNS)
"""Frauds from which on every campaign occurs."""


def stolen_purchases(rng: np.random.Generator, world: World, honest: Purchases, rows: int) -> tuple[Purchases, Ints]:
    """Exactly `rows` frauds among the honest purchases, and for each the index of its campaign."""
    under = Underworld(rng, world, honest)
    played: list[Purchases] = []
    left = rows
    for campaign, share in zip(CAMPAIGNS, _budgets(rows), strict=True):
        budget = left if campaign is CAMPAIGNS[-1] else share
        played.append(campaign.play(under, _episode_sizes(rng, campaign, budget)))
        left -= len(played[-1])
    stolen = Purchases.joined(played)
    return stolen, np.repeat(np.arange(len(played)), [len(part) for part in played])


def _budgets(rows: int) -> list[int]:
    """Transactions for each campaign: one episode each where they suffice, the rest by share."""
    left = rows
    smallest = dict.fromkeys(CAMPAIGNS, 0)
    for campaign in sorted(CAMPAIGNS, key=lambda campaign: campaign.fewest):
        smallest[campaign] = campaign.fewest if campaign.fewest <= left else 0
        left -= smallest[campaign]
    return [smallest[campaign] + int(campaign.share * left) for campaign in CAMPAIGNS]


def _episode_sizes(rng: np.random.Generator, campaign: Campaign, budget: int) -> Ints:
    """Sizes of episodes that fit into the budget; the first is cut to it so that there is one."""
    if budget < campaign.fewest:
        return np.empty(0, np.int64)
    sizes = rng.integers(campaign.fewest, campaign.most, budget // campaign.fewest, endpoint=True)
    sizes[0] = min(sizes[0], budget)
    return np.asarray(sizes[np.cumsum(sizes) <= budget])
