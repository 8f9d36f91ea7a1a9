"""The fast kernel against its naive twin, on generated histories: equal to the last bit, in batches of any size."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fraudstream.features.catalogue import FEATURE_NAMES
from fraudstream.features.engine import DUPLICATE, IN_ORDER, LATE, FeatureEngine
from fraudstream.features.reference import TAIL_KNOTS, Reference
from fraudstream.state.event import EVENT_WORDS, NO_PLACE, pack_place
from fraudstream.state.profile import EMPTY, view
from tests.oracle.naive_profile import Event, NaiveProfile

LATENESS = 3600
START = 1_700_000_000
REFERENCE = Reference(
    category=np.array([1, 2, 40_000], np.uint32),
    mean=np.array([2.0, 4.0, 1.0, 3.0]),
    deviation=np.array([0.5, 1.1, 0.3, 1.5]),
    tail=np.cumsum(np.random.default_rng(3).random((4, TAIL_KNOTS)) / 100, axis=1).astype(np.float32),
    device=np.array([2, 3], np.uint32),
    device_users=np.array([5, 2], np.uint32),
    merchant_gain=np.array([0.05]),
)
STATUS = {IN_ORDER: "in order", LATE: "late", DUPLICATE: "duplicate"}

words = st.tuples(
    st.one_of(  # seconds after the previous event: ties, order, late, much later
        st.sampled_from([0, 1, 60, 3599, 3600, 3601, 86_400, 604_800, 2_595_600, -1, -3600, -3601, -3_456_000]),
        st.integers(-5000, 200_000),
    ),
    st.one_of(st.sampled_from([0, 1, 100, 2**32 - 1]), st.integers(0, 500_000)),  # cents
    st.integers(1, 6),  # merchant
    st.integers(0, 200),  # transaction id: small, so that duplicates come
    st.integers(0, 3) | st.integers(0, 2**16 - 1),  # category
    st.integers(0, 3),  # location
    st.integers(0, 3),  # device
    st.sampled_from([NO_PLACE, pack_place(52.5, 13.4), pack_place(-33.9, 151.2), pack_place(90.0, -180.0)]),
    st.integers(0, 2),  # user
)


def events_of(drawn: list[tuple[int, ...]]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    time, rows, users = START, [], []
    for step, cents, merchant, identity, category, location, device, place, user in drawn:
        now = time + step
        time = max(time, now)
        rows.append((now, cents, merchant, identity, identity * 7, category << 16 | location, device, place))
        users.append(user)
    return np.array(rows, np.uint32).reshape(-1, EVENT_WORDS), np.array(users, np.int64)


def in_batches(
    events: NDArray[np.uint32], users: NDArray[np.int64], offsets: NDArray[np.int64], size: int
) -> tuple[NDArray[np.float32], NDArray[np.uint32], NDArray[np.uint8], dict[int, bytes]]:
    engine, profiles = FeatureEngine(LATENESS, REFERENCE), dict[int, bytes]()
    features, sequences, statuses = [], [], []
    for at in range(0, len(events), size):
        cut = slice(at, at + size)
        present, local = np.unique(users[cut], return_inverse=True)
        computed = engine.run(
            [profiles.get(user, EMPTY) for user in present.tolist()], local.astype(np.int64), events[cut], offsets[cut]
        )
        profiles.update(zip(present.tolist(), computed.records, strict=True))
        features.append(computed.features)
        sequences.append(computed.sequences)
        statuses.append(computed.status)
    return np.concatenate(features), np.concatenate(sequences), np.concatenate(statuses), profiles


def assert_equal_to_naive(
    events: NDArray[np.uint32], users: NDArray[np.int64], offsets: NDArray[np.int64], size: int
) -> None:
    features, sequences, statuses, profiles = in_batches(events, users, offsets, size)
    naive = {user: NaiveProfile(LATENESS, REFERENCE) for user in set(users.tolist())}
    for at, user in enumerate(users.tolist()):
        expected, sequence, status = naive[user].process(Event.of(events[at]), int(offsets[at]))
        row = dict(zip(FEATURE_NAMES, features[at].tolist(), strict=True))
        differing = {
            name: (row[name], value) for name, value in expected.items() if row[name] != float(np.float32(value))
        }
        assert not differing, f"event {at}: (kernel, naive) {differing}"
        assert set(row) == set(expected)
        assert [tuple(step) for step in sequences[at].tolist()] == sequence
        assert STATUS[int(statuses[at])] == status
    for user, twin in naive.items():
        assert_same_state(profiles[user], twin)


def assert_same_state(record: bytes, twin: NaiveProfile) -> None:
    profile = view(record)
    assert profile is not None
    assert profile.count == len(twin.stored)
    assert profile.amount_sum == sum(event.cents for event in twin.stored) / 100
    assert profile.newest_s == twin.newest
    assert profile.floor_s == twin.floor
    assert profile.source_offset == twin.offset
    assert profile.hours == tuple(sum(event.hour == hour for event in twin.stored) for hour in range(24))
    assert [Event.of(row) for row in profile.events] == twin.kept


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(words, min_size=1, max_size=60), st.sampled_from([1, 7, 512]))
def test_any_history_gives_the_naive_features_and_state(drawn: list[tuple[int, ...]], size: int) -> None:
    events, users = events_of(drawn)
    assert_equal_to_naive(events, users, np.arange(len(events), dtype=np.int64), size)


@settings(max_examples=40, deadline=None)
@given(st.lists(words, min_size=2, max_size=60), st.data())
def test_a_redelivered_stretch_changes_no_profile(drawn: list[tuple[int, ...]], data: st.DataObject) -> None:
    events, users = events_of(drawn)
    n = len(events)
    back = data.draw(st.integers(1, n))
    again = np.concatenate([np.arange(n), np.arange(n - back, n)])
    _, _, _, once = in_batches(events, users, np.arange(n, dtype=np.int64), 16)
    _, _, statuses, twice = in_batches(events[again], users[again], again.astype(np.int64), 16)
    assert once == twice
    assert (statuses[n:] == DUPLICATE).all()


@pytest.mark.parametrize("size", [1, 37, 512])
def test_a_full_ring_forgets_its_oldest_and_says_so(size: int) -> None:
    random = np.random.default_rng(5)
    n = 700
    events = np.zeros((n, EVENT_WORDS), np.uint32)
    events[:, 0] = START + np.cumsum(random.integers(0, 7000, n)) - random.integers(0, 9000, n)
    events[:, 1] = random.integers(1, 90_000, n)
    events[:, 2] = random.integers(1, 400, n)
    events[:, 3] = random.integers(0, 650, n)
    events[:, 5] = random.integers(0, 4, n) << 16 | random.integers(0, 3, n)
    events[:, 7] = NO_PLACE
    assert_equal_to_naive(events, np.zeros(n, np.int64), np.arange(n, dtype=np.int64), size)
    features, *_ = in_batches(events, np.zeros(n, np.int64), np.arange(n, dtype=np.int64), size)
    assert features[-1, FEATURE_NAMES.index("windows_cut")] > 0


@settings(max_examples=60, deadline=None)
@given(st.lists(words, min_size=1, max_size=80), st.integers(1, 80))
def test_batches_of_any_size_are_bit_identical(drawn: list[tuple[int, ...]], size: int) -> None:
    events, users = events_of(drawn)
    offsets = np.arange(len(events), dtype=np.int64)
    whole, split = in_batches(events, users, offsets, len(events)), in_batches(events, users, offsets, size)
    for at in (0, 1, 2):
        assert np.asarray(whole[at]).tobytes() == np.asarray(split[at]).tobytes()
    assert whole[3] == split[3]


def test_a_late_event_counts_in_its_own_window_as_if_it_had_come_in_order() -> None:
    in_order = [(START + 600 * k, 1000 + k, 1, k, 0, 1 << 16, 0, NO_PLACE) for k in range(6)]
    shuffled = [in_order[k] for k in (0, 1, 3, 4, 2, 5)]
    rows = [np.array(events, np.uint32) for events in (in_order, shuffled)]
    offsets, users = np.arange(6, dtype=np.int64), np.zeros(6, np.int64)
    straight, _, _, first = in_batches(rows[0], users, offsets, 6)
    late, _, status, second = in_batches(rows[1], users, offsets, 6)
    assert late[4].tobytes() == straight[2].tobytes()
    assert late[5].tobytes() == straight[5].tobytes()
    assert first == second
    assert (status == IN_ORDER).all()


def charges(*steps: tuple[int, int]) -> NDArray[np.uint32]:
    """Charges of one merchant from (seconds after the one before, cents)."""
    rows = [(at_s, cents, 7, number, 0, 0, 0, NO_PLACE) for number, (at_s, cents) in enumerate(steps)]
    events = np.array(rows, np.uint32).reshape(-1, EVENT_WORDS)
    events[:, 0] = START + np.cumsum(events[:, 0])
    return events


def of_one_user(events: NDArray[np.uint32]) -> tuple[NDArray[np.uint32], NDArray[np.int64], NDArray[np.int64]]:
    """The events, whose they are, and their offsets."""
    return events, np.zeros(len(events), np.int64), np.arange(len(events), dtype=np.int64)


def values(name: str, events: NDArray[np.uint32]) -> list[float]:
    """One feature of each event of one user."""
    features, *_ = in_batches(*of_one_user(events), len(events))
    return [float(value) for value in features[:, FEATURE_NAMES.index(name)]]


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        pytest.param([(86_400, 2000)] * 5, [0, 0, 1, 1, 1], id="daily"),
        pytest.param([(86_400, 2000), (86_400, 2200), (86_400, 2100)], [0, 0, 1], id="within a tenth"),
        pytest.param([(86_400, 2000), (86_400, 2000), (86_400, 2300)], [0, 0, 0], id="another amount"),
        pytest.param([(0, 2000), (86_400, 2000), (108_000, 2000)], [0, 0, 1], id="a quarter later"),
        pytest.param([(0, 2000), (86_400, 2000), (108_001, 2000)], [0, 0, 0], id="later still"),
        pytest.param([(0, 2000), (3600, 2000), (3600, 2000)], [0, 0, 1], id="hourly"),
        pytest.param([(0, 2000), (2800, 2000), (2800, 2000)], [0, 0, 0], id="in quick succession"),
        pytest.param([(0, 2000), (0, 2000), (0, 2000)], [0, 0, 0], id="at once"),
        pytest.param([(864_000, 2000)] * 5, [0, 0, 1, 0, 0], id="known for a month"),
    ],
)
def test_equal_charges_at_equal_intervals_by_a_new_merchant_stand_out(
    steps: list[tuple[int, int]], expected: list[int]
) -> None:
    events = charges(*steps)
    assert values("charges_are_regular", events) == expected
    assert_equal_to_naive(*of_one_user(events), len(events))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(80_000, 110_000), st.integers(1900, 2150)), min_size=3, max_size=12))
def test_nearly_regular_charges_are_what_the_naive_twin_says(drawn: list[tuple[int, int]]) -> None:
    assert_equal_to_naive(*of_one_user(charges(*drawn)), len(drawn))


def test_an_amount_is_held_against_what_the_user_pays_at_the_merchant() -> None:
    # Without a category the deviation is that of all amounts, 1.5.
    events = charges((86_400, 500), (86_400, 500), (86_400, 500_000), (2_592_000, 500_000))
    beyond = pytest.approx(math.log(5001 / 6) / 1.5 - 2.0, abs=1e-3)
    assert values("amount_beyond_merchant", events) == [0.0, 0.0, beyond, 0.0]
    assert_equal_to_naive(*of_one_user(events), len(events))


def test_where_merchants_have_no_prices_no_amount_is_held_against_them() -> None:
    events, users = of_one_user(charges((86_400, 500), (86_400, 500_000)))[:2]
    for gain, is_held in ((0.05, True), (0.049, False)):
        engine = FeatureEngine(LATENESS, replace(REFERENCE, merchant_gain=np.array([gain])))
        found = engine.run([EMPTY], users, events, np.arange(len(events), dtype=np.int64)).features
        assert bool(found[-1, FEATURE_NAMES.index("amount_beyond_merchant")] > 0) is is_held


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 900_000), st.sampled_from([100, 700, 2000, 90_000, 2_000_000])), min_size=2))
def test_amounts_at_one_merchant_are_held_against_each_other_as_the_naive_twin_does(
    drawn: list[tuple[int, int]],
) -> None:
    assert_equal_to_naive(*of_one_user(charges(*drawn)), 16)
