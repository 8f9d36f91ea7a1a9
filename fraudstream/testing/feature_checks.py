"""The promises of a feature of one's own: equal to its oracle on any history, in batches of any size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fraudstream.features.engine import FeatureEngine
from fraudstream.features.own import OwnFeature
from fraudstream.features.past import Event
from fraudstream.features.windows import DAY_S, HOUR_S, WINDOWS_S
from fraudstream.state.event import EVENT_WORDS, ID_HIGH, ID_LOW, NO_PLACE, TIME, pack_place
from fraudstream.state.profile import EMPTY, SEQUENCE_EVENTS
from fraudstream.testing.checks import CheckFailedError, require, same_bits

EXAMPLES = 200
LATENESS_S = 2 * DAY_S
RELATIVE, ABSOLUTE = 1e-5, 1e-6
"""Features are float32, and a sum may be taken in another order."""
_START_S = 1_700_000_000
_BATCHES = (1, 7)
_RETENTION_S = 30 * DAY_S + LATENESS_S

Words = NDArray[np.uint32]

_event = st.tuples(
    st.one_of(  # seconds from the start until it comes: ties, windows' ends, busy hours, long silences
        st.sampled_from([0, 1, *(window_s + by_s for window_s in WINDOWS_S for by_s in (-1, 0, 1))]),
        st.integers(0, HOUR_S),
        st.integers(0, 60 * DAY_S),
    ),
    st.one_of(st.just(0), st.just(0), st.sampled_from([1, HOUR_S, DAY_S]), st.integers(0, LATENESS_S)),  # how late
    st.one_of(st.sampled_from([0, 1, 100, 2**32 - 1]), st.integers(0, 500_000)),  # cents
    st.integers(1, 3),  # merchant
    st.integers(0, 100),  # transaction id: small, so that duplicates come
    st.integers(0, 3),  # category
    st.integers(0, 3),  # location
    st.integers(0, 3),  # device
    st.sampled_from([NO_PLACE, pack_place(52.5, 13.4), pack_place(-33.9, 151.2)]),
)
_events = st.one_of(st.lists(_event, min_size=1, max_size=8), st.lists(_event, min_size=20, max_size=40))


def check_feature(feature: OwnFeature, *, examples: int = EXAMPLES) -> None:
    """Tries a feature on generated histories of one user, with late, equal-timed and duplicate events.

    - computed: a finite number for every event, nothing raised, the history left as it is
    - oracle: what `compute` says of the window is what `oracle` says of all earlier events, to 1e-5
    - batch invariance: the same bits in batches of any size, and a second time

    Args:
        feature: what is checked; it need not be in the catalogue.
        examples: histories tried.

    Raises:
        CheckFailedError: the first promise that is broken, with the smallest history found that breaks it.
    """
    words = np.empty((0, EVENT_WORDS), np.uint32)

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        report_multiple_bugs=False,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(_events)
    def tried(drawn: list[tuple[int, ...]]) -> None:
        nonlocal words
        words = _packed(drawn)
        _keeps_promises(feature, words)

    try:
        tried()
    except CheckFailedError as failed:
        smallest = _smallest(feature, words, failed)
        raise smallest from smallest.__cause__


def _keeps_promises(feature: OwnFeature, words: Words) -> None:
    whole = _by_engine(feature, words, len(words))
    _equals_oracle(feature, words, whole)
    for size in (*_BATCHES, len(words)):
        problem = f"expected the same bits in batches of {size} as in one of {len(words)}, got others"
        require(same_bits(_by_engine(feature, words, size), whole), "batch invariance", problem)


def _smallest(feature: OwnFeature, words: Words, failed: CheckFailedError) -> CheckFailedError:
    """What the same check says after all events are left out that it does not take to fail.

    Hypothesis would try simpler values too, which takes it up to a minute for a history of 40 events.
    """
    size = len(words) // 2
    while size:
        start = 0
        while start < len(words):
            fewer = np.delete(words, slice(start, start + size), axis=0)
            again = _failure(feature, fewer) if len(fewer) else None
            if again is not None and again.check == failed.check:
                words, failed = fewer, again
            else:
                start += size
        size //= 2
    return failed


def _failure(feature: OwnFeature, words: Words) -> CheckFailedError | None:
    try:
        _keeps_promises(feature, words)
    except CheckFailedError as failed:
        return failed
    return None


def _packed(drawn: Sequence[tuple[int, ...]]) -> Words:
    rows = [
        (_START_S + comes - late, cents, merchant, identity, identity * 7, category << 16 | location, device, place)
        for comes, late, cents, merchant, identity, category, location, device, place in sorted(
            drawn, key=lambda event: event[0]
        )
    ]
    return np.array(rows, np.uint32).reshape(-1, EVENT_WORDS)


def _by_engine(feature: OwnFeature, words: Words, size: int) -> NDArray[np.float32]:
    """The feature of each event as a worker computes it."""
    engine, record, columns = FeatureEngine(LATENESS_S, own=(feature,)), EMPTY, []
    for start in range(0, len(words), size):
        events = words[start : start + size].copy()
        offsets = np.arange(start, start + len(events), dtype=np.int64)
        computed = engine.run([record], np.zeros(len(events), np.int64), events, offsets)
        record = computed.records[0]
        columns.append(computed.features[:, -1])
        if computed.failed:
            first = int(np.flatnonzero(computed.failed[feature.name])[0])
            raise CheckFailedError("computed", _why(feature, words, start + first))
        require(same_bits(events, words[start : start + size]), "computed", "it changed the event that it was given")
    return np.concatenate(columns)


def _equals_oracle(feature: OwnFeature, words: Words, found: NDArray[np.float32]) -> None:
    for at, earlier in enumerate(_earlier(words)):
        event = Event(words[at])
        expected = _told_by_oracle(feature, event, earlier, at)
        require(
            np.isclose(found[at], expected, rtol=RELATIVE, atol=ABSOLUTE),
            "oracle",
            f"event {at}: compute gives {found[at]:g}, the oracle {expected:g}, for {event} after {earlier}",
        )


def _told_by_oracle(feature: OwnFeature, event: Event, earlier: list[Event], at: int) -> float:
    try:
        return float(np.float32(feature.oracle(event, earlier)))
    except Exception as error:
        raised = f"expected a number, the oracle raised {type(error).__name__}: {error}"
        raise CheckFailedError("oracle", f"event {at}: {raised}; for {event} after {earlier}") from error


def _earlier(words: Words) -> list[list[Event]]:
    """What the oracle may look at for each event: all that came before it and is not later, sorted by time."""
    kept: list[Words] = []
    ring: list[Words] = []  # where a profile still recognises duplicates
    newest = 0
    result = []
    for event in words:
        twin = next((other for other in ring if _identity(other) == _identity(event)), None)
        # A duplicate is judged by what preceded its first delivery.
        before = kept if twin is None else kept[: next(at for at, other in enumerate(kept) if other is twin)]
        result.append([Event(other) for other in before if other[TIME] <= event[TIME]])
        if twin is None:
            newest = max(newest, int(event[TIME]))
            for events in (kept, ring):
                events.append(event)
                events.sort(key=lambda other: int(other[TIME]))
            while len(ring) > SEQUENCE_EVENTS and ring[0][TIME] <= newest - _RETENTION_S:
                ring.pop(0)
    return result


def _identity(words: Any) -> tuple[int, int]:
    return int(words[ID_LOW]), int(words[ID_HIGH])


def _why(feature: OwnFeature, words: Words, at: int) -> str:
    """What computing the feature of one event raised or gave, said by computing it once more."""
    from fraudstream.features.past import History

    earlier = _earlier(words)[at]
    past = np.array([event.words for event in earlier], np.uint32).reshape(-1, EVENT_WORDS)
    past.flags.writeable = False
    event = Event(words[at])
    try:
        value = feature.compute(event, History.of(past, event.time_s - feature.window_s))
    except Exception as error:
        return f"event {at}: expected a number, it raised {type(error).__name__}: {error}; for {event} after {earlier}"
    return f"event {at}: expected a finite number, got {value}; for {event} after {earlier}"
