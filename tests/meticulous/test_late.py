"""A stream that comes shuffled: within the declared lateness nobody can tell; beyond it is marked; twice is once."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fraudstream.features.catalogue import FEATURE_NAMES
from fraudstream.features.engine import DUPLICATE, IN_ORDER, LATE
from fraudstream.state.event import EVENT_WORDS, NO_PLACE, TIME
from fraudstream.state.profile import without_offset
from tests.meticulous.test_features import LATENESS, REFERENCE, START, assert_same_state, in_batches
from tests.oracle.naive_profile import Event, NaiveProfile

stream = st.lists(
    st.tuples(
        st.one_of(st.integers(1, 900), st.sampled_from([1, 3600, 86_400])),  # seconds after the one before
        st.integers(0, LATENESS),  # seconds that it is under way
        st.integers(1, 90_000),  # cents
        st.integers(1, 5),  # merchant
        st.integers(0, 3),  # category
        st.integers(0, 2),  # device
    ),
    min_size=2,
    max_size=40,
)
Drawn = list[tuple[int, int, int, int, int, int]]


def in_event_order(drawn: Drawn) -> NDArray[np.uint32]:
    """Events of one user; no two at the same second, because then there is no order to restore."""
    rows, now = [], START
    for number, (step, _, cents, merchant, category, device) in enumerate(drawn):
        now += step
        rows.append((now, cents, merchant, number, number * 7, category << 16, device, NO_PLACE))
    return np.array(rows, np.uint32).reshape(-1, EVENT_WORDS)


def in_order_of_arrival(events: NDArray[np.uint32], drawn: Drawn, stretch: int = 1) -> NDArray[np.uint32]:
    """The same events as they arrive, each delayed by its own time."""
    delays = np.array([delay for _, delay, *_ in drawn], np.int64) * stretch
    return events[np.argsort(events[:, TIME] + delays, kind="stable")]


def judged(events: NDArray[np.uint32], size: int = 7) -> tuple[NDArray[np.float32], NDArray[np.uint8], bytes]:
    """Features, status and the last state of one user's events as they come."""
    numbers = np.arange(len(events), dtype=np.int64)
    features, _, status, profiles = in_batches(events, np.zeros(len(events), np.int64), numbers, size)
    return features, status, profiles[0]


def oracle_of(events: NDArray[np.uint32]) -> NaiveProfile:
    """What a list of the events gives, taken in the order of their times."""
    oracle = NaiveProfile(LATENESS, REFERENCE)
    for number, event in enumerate(sorted(map(Event.of, events), key=lambda one: one.time)):
        oracle.remember(event, number)
    return oracle


@settings(max_examples=80, deadline=None)
@given(stream, st.sampled_from([1, 7, 512]))
def test_a_stream_shuffled_within_the_bound_ends_in_the_state_of_the_events_in_order(drawn: Drawn, size: int) -> None:
    events = in_event_order(drawn)
    _, status, state = judged(in_order_of_arrival(events, drawn), size)
    assert (status == IN_ORDER).all()
    assert_same_state(state, oracle_of(events))


@settings(max_examples=60, deadline=None)
@given(stream)
def test_each_event_of_a_shuffled_stream_has_the_features_of_the_oracle_in_event_order(drawn: Drawn) -> None:
    arrived = in_order_of_arrival(in_event_order(drawn), drawn)
    features, _, _ = judged(arrived)
    for at, event in enumerate(arrived):
        # What the event can know: everything before it in time that has arrived, in the order of its time.
        known = arrived[:at][arrived[:at, TIME] < event[TIME]]
        expected, _, status = oracle_of(known).process(Event.of(event), len(known))
        assert status == "in order"
        assert dict(zip(FEATURE_NAMES, features[at].tolist(), strict=True)) == {
            name: float(np.float32(value)) for name, value in expected.items()
        }, f"arrival {at}"


@settings(max_examples=60, deadline=None)
@given(stream, st.integers(2, 200))
def test_an_event_is_marked_late_exactly_where_it_comes_beyond_the_bound(drawn: Drawn, stretch: int) -> None:
    arrived = in_order_of_arrival(in_event_order(drawn), drawn, stretch)
    _, status, _ = judged(arrived)
    newest = np.maximum.accumulate(arrived[:, TIME].astype(np.int64))
    is_late = newest - arrived[:, TIME] > LATENESS
    assert [value == LATE for value in status.tolist()] == is_late.tolist()
    assert set(status.tolist()) <= {IN_ORDER, LATE}


@settings(max_examples=80, deadline=None)
@given(stream, st.data())
def test_what_comes_twice_is_marked_and_has_no_second_effect(drawn: Drawn, data: st.DataObject) -> None:
    arrived = in_order_of_arrival(in_event_order(drawn), drawn)
    again = data.draw(st.lists(st.integers(0, len(arrived) - 1), min_size=1, max_size=10))
    # Each repeat comes some time after the first, as another message with an offset of its own.
    places = sorted((data.draw(st.integers(first + 1, len(arrived))), first) for first in again)
    rows, repeats = list(range(len(arrived))), list[int]()
    for shift, (place, first) in enumerate(places):
        rows.insert(place + shift, first)
        repeats.append(place + shift)
    features, status, state = judged(arrived[rows])
    assert [at for at, value in enumerate(status.tolist()) if value == DUPLICATE] == repeats
    once_features, _, once = judged(arrived)
    kept = [at for at in range(len(rows)) if at not in set(repeats)]
    assert features[kept].tobytes() == once_features.tobytes(), "a repeat changed how others are judged"
    assert without_offset(state) == without_offset(once)  # a repeat moves the offset on, and nothing else
