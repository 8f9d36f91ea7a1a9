"""A feature of one's own: what is refused when it is declared, and that the public check sees each broken promise."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from fraudstream.errors import FeatureError
from fraudstream.features import own
from fraudstream.features.catalogue import FEATURE_NAMES
from fraudstream.features.engine import FeatureEngine
from fraudstream.features.own import OwnFeature
from fraudstream.features.past import Event, History
from fraudstream.state.event import EVENT_WORDS, hash16, hash32, pack
from fraudstream.state.profile import EMPTY
from fraudstream.testing import CheckFailedError, check_feature
from fraudstream.transaction import Transaction

DAY_S = 86_400


def same_merchant(event: Event, history: History) -> float:
    """Sum at this merchant within a day."""
    return float(history.amounts[history.merchants == event.merchant].sum())


def same_merchant_plainly(event: Event, earlier: Sequence[Event]) -> float:
    total = 0.0
    for other in earlier:
        if other.time_s > event.time_s - DAY_S and other.merchant == event.merchant:
            total += other.amount
    return total


def feature(compute: Callable[[Event, History], float] = same_merchant, **fields: Any) -> OwnFeature:
    declared: dict[str, Any] = {
        "name": "merchant_sum_24h",
        "unit": "currency",
        "formula": "sum of the amounts at this merchant in 24 h",
        "doc": "What the user paid here within a day.",
        "reason": "unusual_merchant",
        "risk": None,
        "compute": compute,
        "oracle": same_merchant_plainly,
        "window_s": DAY_S,
    }
    return OwnFeature(**(declared | fields))


def test_a_feature_that_keeps_its_promises_passes() -> None:
    check_feature(feature())


def raises(_event: Event, history: History) -> float:
    return 1.0 / len(history)


def not_finite(event: Event, history: History) -> float:
    return same_merchant(event, history) if len(history) else float("nan")


def forgets_equal_times(event: Event, history: History) -> float:
    kept = history.times_s < event.time_s
    return float(history.amounts[kept & (history.merchants == event.merchant)].sum())


def changes_the_history(event: Event, history: History) -> float:
    history.words[:] = 0
    return 0.0


def counts_its_calls() -> Callable[[Event, History], float]:
    calls = itertools.count()
    return lambda event, history: same_merchant(event, history) + 1e-7 * (next(calls) % 2)


BROKEN = [
    pytest.param(feature(raises), "computed", "ZeroDivisionError", id="raises"),
    pytest.param(feature(not_finite), "computed", "got nan", id="not finite"),
    pytest.param(feature(changes_the_history), "computed", "read-only", id="changes the history"),
    pytest.param(feature(forgets_equal_times), "oracle", "compute gives", id="forgets equal times"),
    pytest.param(feature(window_s=DAY_S // 2), "oracle", "compute gives", id="too short"),
    pytest.param(feature(window_s=2 * DAY_S), "oracle", "compute gives", id="too long"),
]


@pytest.mark.parametrize(("broken", "check", "says"), BROKEN)
def test_the_check_sees_what_a_feature_breaks(broken: OwnFeature, check: str, says: str) -> None:
    with pytest.raises(CheckFailedError, match=says) as failed:
        check_feature(broken)
    assert failed.value.check == check


def counts(window_s: int) -> Callable[[Event, Sequence[Event]], float]:
    return lambda event, earlier: float(sum(other.time_s > event.time_s - window_s for other in earlier))


def test_a_broken_promise_is_told_with_the_fewest_events() -> None:
    eight = feature(lambda _event, history: float(min(len(history), 8)), oracle=counts(3600), window_s=3600)
    with pytest.raises(CheckFailedError) as failed:
        check_feature(eight)
    assert str(failed.value).count("Event(") == 1 + 9, failed.value


@pytest.mark.parametrize("window_s", [3600, DAY_S, 7 * DAY_S, 30 * DAY_S])
def test_the_check_sees_a_window_that_is_a_second_too_short(window_s: int) -> None:
    short = feature(lambda _event, history: float(len(history)), oracle=counts(window_s + 1), window_s=window_s)
    with pytest.raises(CheckFailedError, match="compute gives"):
        check_feature(short)


def test_an_oracle_that_raises_is_told_with_the_history_it_was_given() -> None:
    def mean(_event: Event, earlier: Sequence[Event]) -> float:
        return sum(other.amount for other in earlier) / len(earlier)

    with pytest.raises(CheckFailedError, match=r"the oracle raised ZeroDivisionError: .* after \[\]") as failed:
        check_feature(feature(oracle=mean))
    assert failed.value.check == "oracle"
    assert isinstance(failed.value.__cause__, ZeroDivisionError)


def test_the_check_sees_a_feature_with_a_memory() -> None:
    zero = feature(counts_its_calls(), oracle=same_merchant_plainly)
    with pytest.raises(CheckFailedError) as failed:
        check_feature(zero)
    assert failed.value.check == "batch invariance"


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"name": "Merchant Sum"}, "lower-case"),
        ({"name": "log_amount"}, "the catalogue has a feature of this name"),
        ({"unit": ""}, "unit: expected a text"),
        ({"compute": 3}, "compute: expected a function, got int"),
        ({"window_s": 31 * DAY_S}, "30 days"),
        ({"window_s": 0}, "window_s"),
        ({"risk": "high"}, "says: expected the sentence"),
        ({"risk": "high", "says": "{value} of {usual_day}"}, "usual_day"),
        ({"risk": "high", "says": "{value"}, "format string"),
        ({"weight": 0}, "weight: expected 1 or more"),
    ],
)
def test_a_feature_that_cannot_be_is_refused_with_what_to_do(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(FeatureError, match=says):
        feature(**fields)


def test_a_feature_that_comes_after_the_catalogue_is_refused_and_told_how() -> None:
    assert FEATURE_NAMES  # the catalogue is made
    with pytest.raises(FeatureError, match=r"entry point in the group 'fraudstream.features'.*register_features"):
        own.register_features([feature()])


def test_only_features_can_be_registered() -> None:
    with pytest.raises(FeatureError, match="expected OwnFeature objects, got str"):
        own.register_features(["merchant_tempo"])  # type: ignore[list-item]


def transactions(rows: int) -> list[Transaction]:
    return [
        Transaction(f"t{at}", "u", 10.0 + at, f"m{at % 2}", "food", "Rome", "d1", None, 41.9, 12.5)
        for at in range(rows)
    ]


def packed(rows: list[Transaction]) -> np.ndarray[Any, np.dtype[np.uint32]]:
    return pack(rows, [1_700_000_000 + 60 * at for at in range(len(rows))])


def test_what_a_feature_sees_are_the_transactions_own_words() -> None:
    seen: list[tuple[Event, History]] = []

    def look(event: Event, history: History) -> float:
        seen.append((event, history))
        return 0.0

    rows = transactions(3)
    words = packed(rows)
    users, offsets = np.zeros(3, np.int64), np.arange(3, dtype=np.int64)
    FeatureEngine(0, own=(feature(look),)).run([EMPTY], users, words, offsets)
    event, history = seen[-1]
    assert (event.amount, event.time_s) == (12.0, 1_700_000_120)
    assert (event.merchant, event.category, event.location, event.device) == (
        hash32("m0"),
        hash16("food"),
        hash16("Rome"),
        hash32("d1"),
    )
    assert (event.latitude, event.longitude) == (41.9, 12.5)
    assert history.amounts.tolist() == [10.0, 11.0]
    assert history.times_s.tolist() == [1_700_000_000, 1_700_000_060]
    assert history.merchants.tolist() == [hash32("m0"), hash32("m1")]
    assert history.categories.tolist() == [hash16("food")] * 2
    assert history.locations.tolist() == [hash16("Rome")] * 2
    assert history.devices.tolist() == [hash32("d1")] * 2
    assert history.latitudes.tolist() == [41.9] * 2
    assert history.longitudes.tolist() == [12.5] * 2
    without = Event(packed([Transaction("t", "u", 1.0, "m")])[0])
    assert np.isnan([without.latitude, without.longitude]).all()
    assert (without.category, without.location, without.device) == (0, 0, 0)


def test_a_feature_that_fails_counts_as_zero_and_is_named(caplog: pytest.LogCaptureFixture) -> None:
    rows = packed(transactions(3))
    engine = FeatureEngine(0, own=(feature(raises, name="broken"), feature(lambda *_: 7.0, name="well")))
    with caplog.at_level(logging.WARNING):
        computed = engine.run([EMPTY], np.zeros(3, np.int64), rows, np.arange(3, dtype=np.int64))
    assert computed.features[:, -2:].tolist() == [[0.0, 7.0], [1.0, 7.0], [0.5, 7.0]]
    assert [computed.failed_of(row) for row in range(3)] == [("broken",), (), ()]
    assert "feature broken failed" in caplog.text


def test_the_built_in_columns_are_the_same_bits_with_a_feature_of_ones_own_beside_them() -> None:
    random = np.random.default_rng(1)
    rows = random.integers(1, 2**31, (400, EVENT_WORDS)).astype(np.uint32)
    rows[:, 0] = 1_700_000_000 + np.cumsum(random.integers(0, 9000, 400))
    arguments = ([EMPTY, EMPTY], random.integers(0, 2, 400), rows, np.arange(400, dtype=np.int64))
    without, beside = FeatureEngine(0).run(*arguments), FeatureEngine(0, own=(feature(),)).run(*arguments)
    assert beside.features[:, : without.features.shape[1]].tobytes() == without.features.tobytes()
    assert (beside.records, beside.status.tolist()) == (without.records, without.status.tolist())
