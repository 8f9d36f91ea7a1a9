"""The naive twin of the feature kernel: plain Python over a list of everything that happened, no incremental state.

Written from the catalogue's formulas and docs/state.md, sharing no code with the kernel beyond the packed event.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from fraudstream.features.reference import NEUTRAL, Reference
from fraudstream.state.event import NO_PLACE

HOUR, DAY = 3600, 86_400
WINDOWS = {"1h": HOUR, "24h": DAY, "7d": 7 * DAY, "30d": 30 * DAY}
CAP, SEQUENCE = 256, 10


@dataclass(frozen=True)
class Event:
    """One packed transaction, unpacked again."""

    time: int
    cents: int
    merchant: int
    identity: tuple[int, int]
    category: int
    location: int
    device: int
    place: int

    @classmethod
    def of(cls, words: Sequence[int]) -> Event:
        time, cents, merchant, low, high, labels, device, place = (int(word) for word in words)
        return cls(time, cents, merchant, (low, high), labels >> 16, labels & 0xFFFF, device, place)

    @property
    def amount(self) -> float:
        return self.cents / 100.0

    @property
    def log_steps(self) -> int:
        return math.floor(math.log1p(self.cents / 100.0) * 1024 + 0.5)

    @property
    def hour(self) -> int:
        return self.time // HOUR % 24


@dataclass
class NaiveProfile:
    """Everything one user ever did; `kept` is the part that the real record would still hold."""

    lateness: int
    reference: Reference = NEUTRAL
    stored: list[Event] = field(default_factory=list)
    kept: list[Event] = field(default_factory=list)
    floor: int = 0
    offset: int = -1

    @property
    def retention(self) -> int:
        return WINDOWS["30d"] + self.lateness

    @property
    def newest(self) -> int:
        return max((event.time for event in self.stored), default=0)

    def process(self, event: Event, offset: int) -> tuple[dict[str, float], list[tuple[int, int, int]], str]:
        """Features, LSTM sequence and status of an event; remembers it."""
        twin = next((at for at, past in enumerate(self.kept) if past.identity == event.identity), None)
        before = self.kept if twin is None else self.kept[:twin]
        past = [other for other in before if other.time <= event.time]
        newer = self.kept[len(past) :]
        lifetime = list(self.stored)
        for other in newer:
            lifetime.remove(other)
        features = self._features(event, past, lifetime)
        sequence = [(other.time, other.cents, other.category) for other in (*past[-SEQUENCE:], event)]
        sequence = [(0, 0, 0)] * (SEQUENCE + 1 - len(sequence)) + sequence
        return features, sequence, self.remember(event, offset)

    def remember(self, event: Event, offset: int) -> str:
        """Status of an event; stores it where it counts. The part of `process` that leaves a trace."""
        redelivered = bool(self.stored) and offset <= self.offset
        status = "late" if self.stored and self.newest - event.time > self.lateness else "in order"
        if redelivered or any(past.identity == event.identity for past in self.kept):
            status = "duplicate"
        elif not self.stored or (event.time > self.floor and event.time > self.newest - self.retention):
            self._store(event)
        if not redelivered:
            self.offset = offset
        return status

    def _store(self, event: Event) -> None:
        self.stored.append(event)
        self.kept.append(event)
        self.kept.sort(key=lambda other: other.time)
        while len(self.kept) > SEQUENCE and (self.kept[0].time <= self.newest - self.retention or len(self.kept) > CAP):
            self.floor = max(self.floor, self.kept.pop(0).time)

    def _features(self, event: Event, past: list[Event], lifetime: list[Event]) -> dict[str, float]:
        time, amount = event.time, event.amount
        window = {name: [other for other in past if other.time > time - span] for name, span in WINDOWS.items()}
        month, day = window["30d"], window["24h"]
        mean = {name: total(events) / len(events) if events else 0.0 for name, events in window.items()}
        same_category = [other for other in month if other.category == event.category]
        since_last = min(time - past[-1].time, WINDOWS["30d"]) if past else WINDOWS["30d"]
        first = min((other.time for other in self.stored), default=time)
        age = max(time - first, 0) / DAY if lifetime else 0.0
        days = min(max(age, 1.0), 30.0)
        known = bool(lifetime)
        reaches_to = max(self.floor, self.newest - self.retention)
        distance, speed = travel(event, month)
        features = {
            "log_amount": math.log1p(amount),
            "amount_z": z_score(event, lifetime),
            "amount_to_mean_lifetime": log_ratio(amount, total(lifetime) / len(lifetime)) if known else 0.0,
            "amount_to_max_30d": log_ratio(amount, max(other.amount for other in month)) if month else 0.0,
            "amount_rank_30d": -math.log((sum(o.cents >= event.cents for o in month) + 0.5) / (len(month) + 1)),
            "amount_to_category_mean_30d": log_ratio(
                amount, (total(same_category) + 3.0 * mean["30d"]) / (len(same_category) + 3.0)
            )
            if month
            else 0.0,
            "mean_24h": total([*day, event]) / (len(day) + 1),
            "count_ratio_24h": math.log((len(day) + 1) / (len(month) / days + 1)),
            "sum_ratio_24h": math.log((total([*day, event]) + 1.0) / (total(month) / days + 1.0)) if known else 0.0,
            "seconds_since_last": since_last,
            "pace": math.log1p(DAY * days / (len(month) + 1.0)) - math.log1p(since_last) if known else 0.0,
            "merchants_24h": len({other.merchant for other in day}),
            "merchant_visits_30d": sum(other.merchant == event.merchant for other in month),
            "merchant_is_new": bool(past) and all(other.merchant != event.merchant for other in past),
            "category_visits_30d": len(same_category) if event.category else 0,
            "category_rarity": -math.log((len(same_category) + 5.0 / 14.0) / (len(month) + 5.0))
            if event.category
            else 0.0,
            "device_visits_30d": sum(other.device == event.device for other in month) if event.device else 0,
            "device_is_new": is_new(event.device, [other.device for other in past]),
            "location_visits_30d": sum(other.location == event.location for other in month) if event.location else 0,
            "location_is_new": is_new(event.location, [other.location for other in past]),
            "hour_rarity": hour_rarity(event, lifetime),
            "distance_km": distance,
            "speed_kmh": speed,
            "account_age_days": age,
            "lifetime_count": len(lifetime),
            "velocity_excess_1h": max(math.log((len(window["1h"]) + 1) / (len(month) / days + 2)), 0.0),
            "amount_is_round": event.cents > 0 and event.cents % 5000 == 0,
            "dormancy": max(math.log(max(time - past[-1].time, 1) / (7 * DAY)), 0.0) if past else 0.0,
            "travel_excess": math.log(speed / 900) if distance >= 300 and speed > 900 else 0.0,
            "device_users": dict(
                zip(self.reference.device.tolist(), self.reference.device_users.tolist(), strict=True)
            ).get(event.device, 0)
            if event.device
            else 0,
            "small_burst_1h": small_burst(event, window["1h"], lifetime),
            "charges_are_regular": charges_are_regular(event, past),
            "windows_cut": sum(known and reaches_to > time - span for span in WINDOWS.values()),
        }
        features |= surprises(event, past, lifetime, self.reference)
        features |= strangeness(event, [other for other in past if other.time < time - DAY], features)
        for name, events in window.items():
            features[f"count_{name}"] = len(events)
            features[f"sum_{name}"] = total([*events, event])
            if name != "1h":
                features[f"amount_to_mean_{name}"] = log_ratio(amount, mean[name]) if events else 0.0
        return {name: float(value) for name, value in features.items()}


def total(events: Sequence[Event]) -> float:
    return sum(event.cents for event in events) / 100.0


def log_ratio(amount: float, usual: float) -> float:
    return math.log((amount + 1.0) / (usual + 1.0))


def is_new(value: int, known: Sequence[int]) -> bool:
    return bool(value) and any(known) and value not in known


def z_score(event: Event, lifetime: Sequence[Event]) -> float:
    n = len(lifetime)
    if n < 3:
        return 0.0
    mean = sum(other.log_steps for other in lifetime) / 1024 / n
    variance = max(sum(other.log_steps**2 for other in lifetime) / 1024**2 / n - mean * mean, 0.0)
    return (event.log_steps / 1024 - mean) / math.sqrt(variance + 0.05)


def hour_rarity(event: Event, lifetime: Sequence[Event]) -> float:
    weight = {event.hour: 0.5, (event.hour - 1) % 24: 0.25, (event.hour + 1) % 24: 0.25}
    near = sum(weight.get(other.hour, 0.0) for other in lifetime)
    return -math.log((near + 5.0 / 24.0) / (len(lifetime) + 5.0))


def travel(event: Event, month: Sequence[Event]) -> tuple[float, float]:
    placed = [other for other in month if other.place != NO_PLACE]
    if event.place == NO_PLACE or not placed:
        return 0.0, 0.0
    (north_a, east_a), (north_b, east_b) = degrees(event.place), degrees(placed[-1].place)
    chord = (
        math.sin((north_b - north_a) / 2) ** 2
        + math.cos(north_a) * math.cos(north_b) * math.sin((east_b - east_a) / 2) ** 2
    )
    distance = 12_742.0 * math.asin(math.sqrt(min(1.0, chord)))
    return distance, distance * 3600.0 / max(event.time - placed[-1].time, 60)


def degrees(place: int) -> tuple[float, float]:
    """Latitude and longitude in radians."""
    north, east = ((half - 65_536 if half >= 32_768 else half) for half in (place >> 16, place & 0xFFFF))
    return north * (math.pi / 18_000.0), east * (math.pi / 18_000.0)


def small_burst(event: Event, hour: Sequence[Event], lifetime: Sequence[Event]) -> int:
    if len(lifetime) < 3:
        return 0
    limit_cents = 0.1 * (total(lifetime) / len(lifetime)) * 100.0
    return max(sum(other.cents <= limit_cents for other in (*hour, event)) - 1, 0)


def charges_are_regular(event: Event, past: Sequence[Event]) -> bool:
    charges = [other for other in past if other.merchant == event.merchant]
    is_new = all(other.time > event.time - WINDOWS["30d"] for other in charges)
    is_equal = all(abs(other.cents - event.cents) <= 0.1 * max(other.cents, event.cents) for other in charges)
    intervals = [later.time - sooner.time for sooner, later in pairwise((*charges, event))]
    return is_new and is_equal and len(charges) >= 2 and max(*intervals, HOUR) <= 1.25 * min(intervals)


def strangeness(event: Event, before_today: Sequence[Event], features: dict[str, float]) -> dict[str, float]:
    merchant_is_new = all(other.merchant != event.merchant for other in before_today)
    is_strange = is_new(event.device, [other.device for other in before_today])
    return {
        "device_strangeness": 1.0 + features["category_rarity"] + merchant_is_new + min(features["small_burst_1h"], 2)
        if is_strange
        else 0.0,
        "location_is_strange": is_new(event.location, [other.location for other in before_today]),
    }


def surprises(event: Event, past: Sequence[Event], lifetime: Sequence[Event], reference: Reference) -> dict[str, float]:
    """The amount against the category's, and four kinds of excess with their echoes over a week."""
    n = len(lifetime)
    mean = sum(other.log_steps for other in lifetime) / 1024 / n if n else 0.0
    spread = max(sum(other.log_steps**2 for other in lifetime) / 1024**2 / n - mean * mean, 0.0) if n else 0.0
    usual = total(lifetime) / n if n else 0.0

    def row_of(category: int) -> int:
        known = reference.category.tolist()
        return known.index(category) if category in known else len(known)

    def of_category(other: Event) -> tuple[float, float]:
        row = row_of(other.category)
        log_amount = math.log1p(other.amount)
        below = min(int(log_amount * 64), reference.tail.shape[1] - 2)
        part = log_amount * 64 - below
        low, high = (float(reference.tail[row, knot]) for knot in (below, below + 1))
        z = (log_amount - float(reference.mean[row])) / float(reference.deviation[row]) if other.category else 0.0
        return z, low * (1.0 - part) + high * part

    excess = {
        "z": lambda other: (
            max((math.log1p(other.amount) - mean) / math.sqrt(spread + 0.05) - 1, 0.0) if n >= 3 else 0.0
        ),
        "category": lambda other: max(of_category(other)[0] - 1, 0.0),
        "ratio": lambda other: max(math.log1p(other.amount) - math.log1p(usual) - 0.5, 0.0) if n else 0.0,
        "tail": lambda other: max(of_category(other)[1] - 2, 0.0) if other.category else 0.0,
    }
    week = [other for other in reversed(past) if event.time - other.time < 7 * DAY]
    allowance = {"z": 1 / 6, "category": 1 / 6, "ratio": 0.07, "tail": 0.27}

    def echo(kind: str, days: int) -> float:
        earlier = 0.0
        for other in week:
            if kind in ("z", "ratio") or other.category:
                slow = math.exp(-(event.time - other.time) / (3.0 * DAY))
                earlier += (slow if days == 3 else slow * slow * slow) * (excess[kind](other) - allowance[kind])
        return excess[kind](event) + (1.0 if kind == "tail" else 0.5) * max(earlier, 0.0)

    deviation = float(reference.deviation[row_of(event.category)])
    there = [o.log_steps for o in past if o.merchant == event.merchant and o.time > event.time - WINDOWS["30d"]]
    is_comparable = bool(there) and float(reference.merchant_gain[0]) >= 0.05
    above = (event.log_steps - sum(there) / len(there)) / 1024 if is_comparable else 0.0
    z, tail = of_category(event)
    return {
        "amount_beyond_merchant": max(above / deviation - 2.0, 0.0),
        "amount_z_category": z,
        "amount_tail_category": tail,
        "echo_z_1d": echo("z", 1),
        "echo_category_1d": echo("category", 1),
        "echo_ratio_1d": echo("ratio", 1),
        "echo_tail_1d": echo("tail", 1),
        "echo_category_3d": echo("category", 3),
        "echo_ratio_3d": echo("ratio", 3),
    }
