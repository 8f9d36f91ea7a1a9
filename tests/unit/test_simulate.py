"""The simulated stream: its size and order, the habits of honest users, and the signature of each campaign."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from fraudstream.errors import SettingsError
from fraudstream.training.history import History
from fraudstream.training.places import distance_km
from fraudstream.training.simulate import CAMPAIGN_NAMES, SMALLEST_BUDGET, SimulationSpec, simulate
from tests.datasets import data_set

FASTEST_FLIGHT_KMH = 900
DAY_S = 86_400
SPEC = SimulationSpec(transactions=60_000, seed=11)


@dataclass(frozen=True)
class Columns:
    """A stream as numpy columns; texts as codes, -1 being none."""

    history: History

    @cached_property
    def user(self) -> NDArray[np.int32]:
        return self.history.codes("user_id").codes

    @cached_property
    def merchant(self) -> NDArray[np.int32]:
        return self.history.codes("merchant").codes

    @cached_property
    def category(self) -> NDArray[np.object_]:
        codes, names = self.history.codes("category")
        return np.array(names, object)[codes]

    @cached_property
    def device(self) -> NDArray[np.int32]:
        return self.history.codes("device_id").codes

    @cached_property
    def campaign(self) -> NDArray[np.object_]:
        codes, names = self.history.codes("campaign")
        return np.array(names, object)[codes]

    @cached_property
    def amount(self) -> NDArray[np.float64]:
        return self.history.numbers("amount")

    @cached_property
    def latitude(self) -> NDArray[np.float32]:
        return self.history.numbers("latitude")

    @cached_property
    def longitude(self) -> NDArray[np.float32]:
        return self.history.numbers("longitude")

    @cached_property
    def time_s(self) -> NDArray[np.int64]:
        return np.asarray(self.history.numbers("timestamp") // 1_000_000_000)

    @cached_property
    def hour(self) -> NDArray[np.int64]:
        return np.asarray(self.time_s % DAY_S // 3600)

    @cached_property
    def honest(self) -> NDArray[np.bool_]:
        return np.asarray(self.history.numbers("is_fraud") == 0)

    @cached_property
    def in_person(self) -> NDArray[np.bool_]:
        return ~np.isnan(self.latitude)

    def distance_km(self, first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.float64]:
        """Between the places of rows."""
        return distance_km(self.latitude[first], self.longitude[first], self.latitude[second], self.longitude[second])

    def episodes(self, campaign: str) -> list[NDArray[np.int64]]:
        """Rows of the campaign by victim, in the order of time; in these streams nobody is a victim of it twice."""
        rows = np.flatnonzero(self.campaign == campaign)
        return [rows[self.user[rows] == user] for user in np.unique(self.user[rows])]

    def honest_rows(self, user: int) -> NDArray[np.int64]:
        return np.flatnonzero(self.honest & (self.user == user))


@pytest.fixture(scope="module")
def stream() -> Columns:
    return Columns(simulate(SPEC))


# The table


@pytest.mark.parametrize("transactions", [1, 2, 13, 1000, 20_000])
@pytest.mark.parametrize("fraud_rate", [0.0, 0.007, 0.3])
@pytest.mark.parametrize(("users", "days"), [(None, 60), (1, 1), (40, 10)])
def test_a_stream_has_exactly_the_asked_rows_and_frauds(
    transactions: int, fraud_rate: float, users: int | None, days: int
) -> None:
    history = simulate(SimulationSpec(transactions, users, seed=3, days=days, fraud_rate=fraud_rate))
    history.table.validate(full=True)
    assert len(history) == transactions
    assert int(history.numbers("is_fraud").sum()) == round(transactions * fraud_rate)
    assert sum(history.frauds_by_campaign().values()) == round(transactions * fraud_rate)


def test_a_stream_is_sorted_by_time_and_stays_within_its_days() -> None:
    start = datetime(2024, 2, 28, 17, 30, tzinfo=UTC)
    times_s = Columns(simulate(SimulationSpec(5000, seed=1, start=start, days=7, fraud_rate=0.05))).time_s
    assert np.all(np.diff(times_s) >= 0)
    assert times_s[0] >= start.timestamp()
    assert times_s[-1] < start.timestamp() + 7 * DAY_S
    assert times_s[-1] - times_s[0] > 6 * DAY_S


def test_transaction_ids_are_unique_and_differ_between_seeds(stream: Columns) -> None:
    ids = set(stream.history.table["transaction_id"].to_pylist())
    others = set(simulate(SimulationSpec(20_000, seed=12)).table["transaction_id"].to_pylist())
    assert len(ids) == SPEC.transactions
    assert not ids & others


def test_the_same_spec_gives_the_same_bytes_whatever_the_hash_seed() -> None:
    program = (
        "import hashlib, pyarrow as pa\n"
        "from fraudstream.training.simulate import SimulationSpec, simulate\n"
        "sink = pa.BufferOutputStream()\n"
        "table = simulate(SimulationSpec(5000, seed=SEED)).table\n"
        "with pa.ipc.new_stream(sink, table.schema) as writer: writer.write_table(table)\n"
        "print(hashlib.sha256(sink.getvalue()).hexdigest())\n"
    )

    def digest(seed: int, hash_seed: str) -> str:
        return subprocess.run(
            [sys.executable, "-c", program.replace("SEED", str(seed))],
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(Path(__file__).parents[2])},
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    first = digest(4, "1")
    assert first == digest(4, "2")
    assert first != digest(5, "1")


def test_the_schema_is_that_of_the_labelled_data_sets(stream: Columns) -> None:
    theirs = pq.read_schema(data_set("sparkov_a.parquet")).remove_metadata()
    ours = stream.history.table.schema
    assert pa.schema([ours.field(name) for name in theirs.names]) == theirs
    assert [name for name in ours.names if name in theirs.names] == theirs.names
    assert set(ours.names) - set(theirs.names) == {"device_id", "currency", "campaign"}


def test_amounts_have_two_decimals_and_only_online_merchants_have_no_place(stream: Columns) -> None:
    table = stream.history.table
    assert np.array_equal(stream.amount, np.round(stream.amount, 2))
    assert stream.amount.min() > 0
    assert np.array_equal(stream.in_person, table["location"].is_valid().to_numpy())
    assert np.array_equal(stream.in_person, table["longitude"].is_valid().to_numpy())
    of_online_merchants = np.isin(stream.merchant, stream.merchant[~stream.in_person])
    assert np.array_equal(of_online_merchants, ~stream.in_person), "a merchant has a place always or never"
    assert 0.2 < 1 - stream.in_person.mean() < 0.5


def test_twenty_thousand_rows_cost_less_than_a_second() -> None:
    simulate(SimulationSpec(100))  # first use imports what pyarrow wants to know about pandas
    began_s = time.process_time()
    simulate(SimulationSpec(20_000))
    assert time.process_time() - began_s < 1


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"transactions": 0}, "transactions"),
        ({"users": 0}, "users"),
        ({"seed": -1}, "seed"),
        ({"days": 0}, "days"),
        ({"fraud_rate": 0.5}, "fraud_rate"),
        ({"fraud_rate": float("nan")}, "fraud_rate"),
        ({"start": datetime(2025, 1, 6)}, "start"),  # noqa: DTZ001 a time without offset is the wrong value here
    ],
)
def test_a_spec_out_of_range_is_refused_by_name(wrong: dict[str, object], named: str) -> None:
    with pytest.raises(SettingsError, match=rf"^{named}: expected"):
        SimulationSpec(**wrong)  # type: ignore[arg-type]


# Honest users


def test_honest_users_never_outrun_an_aeroplane_but_some_do_travel(stream: Columns) -> None:
    rows = np.flatnonzero(stream.honest & stream.in_person)
    rows = rows[np.argsort(stream.user[rows], kind="stable")]
    there, here = rows[:-1], rows[1:]
    same_user = stream.user[there] == stream.user[here]
    there, here = there[same_user], here[same_user]
    km = stream.distance_km(there, here)
    hours = (stream.time_s[here] - stream.time_s[there]) / 3600
    assert np.all(km <= FASTEST_FLIGHT_KMH * hours)
    assert np.sum(km > 500) > 50


def test_honest_users_buy_near_their_home(stream: Columns) -> None:
    rows = np.flatnonzero(stream.honest & stream.in_person)
    medians = []
    for user in np.unique(stream.user[rows]):
        own = rows[stream.user[rows] == user]
        home = np.median(stream.latitude[own]), np.median(stream.longitude[own])
        km = distance_km(stream.latitude[own], stream.longitude[own], np.array(home[0]), np.array(home[1]))
        medians.append(np.median(km))
    assert np.mean(np.array(medians) < 15) > 0.95


def test_honest_users_have_few_devices_and_seldom_a_new_one(stream: Columns) -> None:
    rows = stream.honest & (stream.device >= 0)
    pairs = np.unique(np.stack([stream.user[rows], stream.device[rows]]), axis=1)
    devices_of_user = np.bincount(pairs[0])
    assert devices_of_user.max() <= 3
    assert 0.3 < np.mean(devices_of_user >= 2) < 0.6
    assert 0.01 < np.mean(devices_of_user == 3) < 0.1
    assert np.bincount(pairs[1]).max() == 1, "a device belongs to one user"


def test_a_device_is_seen_online_always_and_in_shops_unless_the_card_is_in_hand(stream: Columns) -> None:
    seen = stream.device[stream.honest] >= 0
    in_person = stream.in_person[stream.honest]
    assert seen[~in_person].all()
    assert 0.5 < seen[in_person].mean() < 0.7


def test_a_replaced_phone_is_not_seen_again() -> None:
    stream = Columns(simulate(SimulationSpec(30_000, users=100, seed=2, days=365, fraud_rate=0)))
    replaced = 0
    for user in np.unique(stream.user):
        own = np.flatnonzero((stream.user == user) & (stream.device >= 0))
        spans = [own[stream.device[own] == device][[0, -1]] for device in np.unique(stream.device[own])]
        replaced += any(one[1] < other[0] for one in spans for other in spans)
    assert replaced > 20


def test_users_keep_their_favourite_merchants(stream: Columns) -> None:
    shares = []
    groceries = stream.honest & (stream.category == "groceries") & stream.in_person
    for user in np.flatnonzero(np.bincount(stream.user[groceries]) >= 20):
        visits = np.sort(np.unique(stream.merchant[groceries & (stream.user == user)], return_counts=True)[1])[::-1]
        shares.append(visits[0] / visits.sum())
    assert len(shares) > 30
    assert np.median(shares) > 0.45


def test_users_keep_their_level_of_spending(stream: Columns) -> None:
    """The two halves of a user's time agree on how much more than others the user pays for groceries."""
    groceries = stream.honest & (stream.category == "groceries")
    half = stream.time_s > np.median(stream.time_s)
    users = [user for user in np.unique(stream.user) if np.sum(groceries & (stream.user == user)) >= 16]
    means = [
        [np.log(stream.amount[groceries & (stream.user == user) & (half == later)]).mean() for user in users]
        for later in (False, True)
    ]
    assert len(users) > 100
    assert np.corrcoef(means[0], means[1])[0, 1] > 0.6


def test_users_have_hours_of_their_own_and_busier_weekends(stream: Columns) -> None:
    busy = np.flatnonzero(np.bincount(stream.user[stream.honest]) >= 100)
    by_hour = np.array([np.bincount(stream.hour[stream.honest_rows(int(user))], minlength=24) for user in busy])
    quietest_six = np.sort(by_hour, axis=1)[:, :6].sum(axis=1) / by_hour.sum(axis=1)
    assert np.median(quietest_six) < 0.03
    weekday = (stream.time_s // DAY_S + 3) % 7
    whole_weeks = stream.honest & (stream.time_s < stream.time_s[0] + 56 * DAY_S)
    per_day = np.bincount(weekday[whole_weeks], minlength=7)
    assert per_day[5:].min() > 1.05 * per_day[:5].max()


def test_few_users_make_many_purchases(stream: Columns) -> None:
    purchases = np.sort(np.bincount(stream.user[stream.honest]))
    busiest = purchases[-len(purchases) // 10 :].sum() / purchases.sum()
    assert 0.25 < busiest < 0.6


# Campaigns


@pytest.mark.parametrize("seed", range(5))
def test_every_campaign_occurs_in_twenty_thousand_transactions(seed: int) -> None:
    assert set(simulate(SimulationSpec(20_000, seed=seed)).frauds_by_campaign()) == set(CAMPAIGN_NAMES)


@pytest.mark.parametrize("seed", range(5))
def test_every_campaign_occurs_as_soon_as_one_episode_of_each_fits(seed: int) -> None:
    spec = SimulationSpec(20_000, seed=seed, fraud_rate=SMALLEST_BUDGET / 20_000)
    assert set(simulate(spec).frauds_by_campaign()) == set(CAMPAIGN_NAMES)


def test_no_campaign_takes_most_of_the_frauds(stream: Columns) -> None:
    counts = stream.history.frauds_by_campaign()
    assert set(counts) == set(CAMPAIGN_NAMES)
    assert max(counts.values()) < 0.4 * sum(counts.values())


def test_card_testing_is_a_burst_of_tiny_amounts_and_then_a_large_one(stream: Columns) -> None:
    episodes = stream.episodes("card_testing")
    assert len(episodes) >= 5
    for rows in episodes:
        assert len(rows) >= 5
        assert stream.time_s[rows[-1]] - stream.time_s[rows[0]] < 3600
        assert stream.amount[rows[:-1]].max() < 5
        assert stream.amount[rows[-1]] >= 250
        assert not stream.in_person[rows].any()


def test_account_takeover_is_a_new_device_at_a_rare_hour_buying_dear_things(stream: Columns) -> None:
    episodes = stream.episodes("account_takeover")
    assert len(episodes) >= 5
    hour_shares, ratios, known_merchants = [], [], []
    for rows in episodes:
        own = stream.honest_rows(int(stream.user[rows[0]]))
        assert stream.device[rows[0]] >= 0
        assert not np.isin(stream.device[rows], stream.device[own]).any()
        assert len(np.unique(stream.device[rows])) == 1
        assert set(stream.category[rows]) <= {"electronics", "jewelry", "gift_cards"}
        hour_shares.append(np.mean(np.isin(stream.hour[own], stream.hour[rows])))
        ratios.append(np.median(stream.amount[rows]) / np.median(stream.amount[own]))
        known_merchants.append(np.isin(stream.merchant[rows], stream.merchant[own]).mean())
    assert np.median(hour_shares) < 0.05
    assert np.median(ratios) > 4
    assert np.mean(known_merchants) < 0.2


def test_impossible_travel_outruns_every_aeroplane(stream: Columns) -> None:
    rows = np.flatnonzero(stream.campaign == "impossible_travel")
    assert len(rows) >= 10
    for row in rows:
        own = stream.honest_rows(int(stream.user[row]))
        before = own[stream.in_person[own] & (stream.time_s[own] <= stream.time_s[row])]
        km = stream.distance_km(before[-1:], np.array([row]))[0]
        hours = (stream.time_s[row] - stream.time_s[before[-1]]) / 3600
        assert hours < 1.5
        assert km > 2_400, "another region, not the next city"
        assert km > FASTEST_FLIGHT_KMH * hours


def test_victims_of_a_merchant_compromise_had_all_been_at_one_merchant(stream: Columns) -> None:
    rows = np.flatnonzero(stream.campaign == "merchant_compromise")
    judged = 0
    for device in np.unique(stream.device[rows]):  # a ring's device serves one episode
        charges = rows[stream.device[rows] == device]
        visited = []
        for user in np.unique(stream.user[charges]):
            own = stream.honest_rows(int(user))
            first_charge_s = stream.time_s[charges[stream.user[charges] == user]].min()
            visited.append(set(stream.merchant[own[stream.time_s[own] < first_charge_s]].tolist()))
        assert set.intersection(*visited)
        judged += len(visited) >= 3
    assert judged >= 2


def test_an_amount_spike_is_more_than_the_user_ever_paid_at_a_merchant_the_user_knows(stream: Columns) -> None:
    rows = np.flatnonzero(stream.campaign == "amount_spike")
    assert len(rows) >= 10
    for row in rows:
        own = stream.honest_rows(int(stream.user[row]))
        assert stream.amount[row] > stream.amount[own].max()
        assert stream.amount[row] > 5 * stream.amount[own].mean()
        assert stream.merchant[row] in stream.merchant[own]


def test_a_slow_drain_is_a_daily_moderate_charge_at_one_odd_merchant_for_weeks(stream: Columns) -> None:
    episodes = stream.episodes("slow_drain")
    assert len(episodes) >= 2
    known, shares_of_category = 0, []
    for rows in episodes:
        own = stream.honest_rows(int(stream.user[rows[0]]))
        days = np.diff(stream.time_s[rows]) / DAY_S
        assert len(rows) >= 14
        assert len(np.unique(stream.merchant[rows])) == 1
        assert np.all((days > 0.9) & (days < 1.1))
        assert stream.amount[rows].max() < 1.3 * stream.amount[rows].min() < 90
        known += int(stream.merchant[rows[0]] in stream.merchant[own])
        shares_of_category.append(np.mean(stream.category[own] == stream.category[rows[0]]))
    assert known <= len(episodes) / 3
    assert np.median(shares_of_category) < 0.03


def test_frauds_leave_the_first_days_free(stream: Columns) -> None:
    """Victims have a history before the first fraud, else nothing about it would be unusual."""
    first_fraud_s = stream.time_s[~stream.honest].min()
    assert first_fraud_s > stream.time_s[0] + 8 * DAY_S
