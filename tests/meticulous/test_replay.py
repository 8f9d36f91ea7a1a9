"""A history is packed column by column and replayed on several cores; neither must ever be seen in what comes out."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from fraudstream.features.engine import DUPLICATE, LATE, ComputedRows, FeatureEngine
from fraudstream.features.own import OwnFeature
from fraudstream.state.event import EVENT_WORDS, pack
from fraudstream.state.profile import EMPTY
from fraudstream.training import replay
from fraudstream.training.cores import Cores, available_cores
from fraudstream.training.files import FIELDS
from fraudstream.training.history import History
from fraudstream.training.packing import pack_history
from fraudstream.training.replay import FeatureStream, replay_features
from fraudstream.transaction import MAX_AMOUNT, Transaction
from tests.fitted import ALLOWED_LATENESS_S, small_history, small_stream
from tests.plain_pack import pack_one

START_S = 1_700_000_000
REFERENCE = small_stream().reference

texts = st.one_of(st.sampled_from(["a", "b", "Café", "日本"]), st.text(min_size=1, max_size=5))
rows: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "transaction_id": st.one_of(st.integers(0, 30).map(str), texts),  # the same again: a duplicate
        "user_id": st.sampled_from(["u", "v", "w", "ü", "alone"]),
        "amount": st.one_of(st.floats(0, MAX_AMOUNT), st.sampled_from([0.0, 0.005, 1.005, 9.99, MAX_AMOUNT])),
        "merchant": texts,
        # Most come in order; some far behind the newest, or at the same second.
        "after_s": st.one_of(st.integers(0, 90_000), st.sampled_from([0, -10, -ALLOWED_LATENESS_S * 2, -3_000_000])),
        "category": st.none() | st.just("") | texts,
        "location": st.none() | st.just("") | texts,
        "device_id": st.none() | st.just("") | texts,
        "place": st.none() | st.tuples(st.floats(-90, 90, width=32), st.floats(-180, 180, width=32)),
    }
)
OPTIONAL = ("category", "location", "device_id", "place")


@st.composite
def histories(draw: st.DrawFn) -> History:
    """A few users' rows, sometimes without some of the optional columns, sometimes in several pieces."""
    drawn = draw(st.lists(rows, max_size=40))
    left_out = draw(st.sets(st.sampled_from(OPTIONAL)))
    times_s = START_S + np.cumsum([row["after_s"] for row in drawn] or [0])
    columns: dict[str, Any] = {name: [row[name] for row in drawn] for name in ("transaction_id", "user_id", "amount")}
    columns |= {"merchant": [row["merchant"] for row in drawn]}
    columns |= {name: [row[name] for row in drawn] for name in OPTIONAL[:3] if name not in left_out}
    if "place" not in left_out:
        places = [row["place"] or (None, None) for row in drawn]
        columns |= {"latitude": [one for one, _ in places], "longitude": [other for _, other in places]}
    columns["timestamp"] = (times_s[: len(drawn)] * 10**9).tolist()
    table = pa.table({name: pa.array(values).cast(FIELDS[name]) for name, values in columns.items()})
    cut = draw(st.integers(0, len(drawn)))
    return History(pa.concat_tables([table.slice(0, cut), table.slice(cut)]))


def transactions(history: History) -> list[Transaction]:
    """The rows as the wire's type."""
    named = [name for name in history.columns if name in Transaction.__struct_fields__ and name != "timestamp"]
    plain = {name: pa.float64() for name in ("latitude", "longitude")}  # the number that a message carries
    columns = [history.table[name].cast(plain.get(name, history.table[name].type)).to_pylist() for name in named]
    return [Transaction(**dict(zip(named, row, strict=True))) for row in zip(*columns, strict=True)]


def one_by_one(history: History) -> tuple[ComputedRows, dict[str, bytes]]:
    """What a worker that reads one message at a time would compute, and the profiles it would hold."""
    engine, profiles = FeatureEngine(ALLOWED_LATENESS_S, REFERENCE), dict[str, bytes]()
    times_s = history.numbers("timestamp") // 10**9
    found = []
    for at, transaction in enumerate(transactions(history)):
        user = transaction.user_id
        words = pack([transaction], times_s[at : at + 1])
        computed = engine.run([profiles.get(user, EMPTY)], np.zeros(1, np.int64), words, np.array([at]))
        profiles[user] = computed.records[0]
        found.append(computed)
    if not found:
        nothing = engine.run([], np.empty(0, np.int64), np.empty((0, EVENT_WORDS), np.uint32), np.empty(0, np.int64))
        return nothing, profiles
    features, sequences, status = (
        np.concatenate([getattr(one, name) for one in found]) for name in ("features", "sequences", "status")
    )
    return ComputedRows(features=features, sequences=sequences, status=status), profiles


def assert_same(found: Any, expected: Any, kept: slice = slice(None)) -> None:
    """Bit for bit: a difference of the last place counts."""
    for name in ("features", "sequences", "status"):
        one, other = getattr(found, name), getattr(expected, name)[kept]
        assert one.dtype == other.dtype
        assert one.shape == other.shape
        assert one.tobytes() == other.tobytes(), name


@given(histories())
@settings(max_examples=200, deadline=None)
def test_the_words_of_a_history_are_those_of_its_rows_as_messages(history: History) -> None:
    rows, times_s = transactions(history), (history.numbers("timestamp") // 10**9).tolist()
    packed = pack_history(history)
    assert [tuple(row) for row in packed.words.tolist()] == list(map(pack_one, rows, times_s))
    np.testing.assert_array_equal(packed.words, pack(rows, times_s))
    assert [packed.names[user] for user in packed.users] == [row.user_id for row in rows]


@given(histories(), st.integers(1, 4), st.integers(1, 50), st.integers(0, 45))
@settings(max_examples=200, deadline=None)
def test_cores_and_batches_are_not_seen_in_a_replay(history: History, workers: int, batch: int, skip: int) -> None:
    expected, profiles = one_by_one(history)
    event(f"late: {bool((expected.status == LATE).any())}")
    event(f"duplicates: {bool((expected.status == DUPLICATE).any())}")
    event(f"users: {len(profiles)}")
    found = replay_features(
        history, ALLOWED_LATENESS_S, REFERENCE, batch=batch, skip_rows=min(skip, len(history)), workers=workers
    )
    assert_same(found, expected, slice(skip, None))
    assert found.profiles == profiles


@given(histories(), st.integers(1, 3), st.integers(1, 50), st.lists(st.integers(0, 40), max_size=3).map(sorted))
@settings(max_examples=100, deadline=None)
def test_a_history_in_stretches_is_the_whole_history(
    history: History, workers: int, batch: int, cuts: list[int]
) -> None:
    expected, profiles = one_by_one(history)
    borders = [0, *(min(cut, len(history)) for cut in cuts), len(history)]
    with Cores(workers) as cores:
        stream = FeatureStream(
            pack_history(history), lambda: FeatureEngine(ALLOWED_LATENESS_S, REFERENCE), cores, {}, batch
        )
        for start, stop in pairwise(borders):
            assert_same(stream.compute(start, stop), expected, slice(start, stop))
        assert stream.profiles() == profiles


@cache
def on_one_core() -> Any:
    """The small history's replay on one core, a batch at a time."""
    return replay_features(small_history(), ALLOWED_LATENESS_S, REFERENCE, workers=1)


@pytest.mark.parametrize(("workers", "batch"), [(2, 4096), (2, 17), (3, 1000), (8, 1), (None, 100_000)])
def test_thousands_of_rows_of_sixty_users_are_the_same_on_any_number_of_cores(workers: int | None, batch: int) -> None:
    found = replay_features(small_history(), ALLOWED_LATENESS_S, REFERENCE, workers=workers, batch=batch)
    assert_same(found, on_one_core())
    assert found.profiles == on_one_core().profiles


def test_profiles_to_begin_with_are_gone_on_from_and_changed_in_place() -> None:
    history = small_history()
    begin, rest = history.head(2500), History(history.table.slice(2500))
    held = replay_features(begin, ALLOWED_LATENESS_S, REFERENCE, workers=2).profiles
    held["somebody else"] = b"kept as it is"
    # The rest counts its offsets anew, so it must not look as if it had been read before.
    engine_sees = replay_features(rest, ALLOWED_LATENESS_S, REFERENCE, workers=1, profiles=dict(held))
    found = replay_features(rest, ALLOWED_LATENESS_S, REFERENCE, workers=3, profiles=held)
    assert_same(found, engine_sees)
    assert found.profiles is held
    assert held == engine_sees.profiles
    assert held["somebody else"] == b"kept as it is"


def test_progress_of_several_cores_never_goes_back_and_ends_with_the_last_row() -> None:
    told: list[tuple[int, int]] = []
    replay_features(
        small_history(), ALLOWED_LATENESS_S, REFERENCE, workers=3, batch=200, progress=lambda *done: told.append(done)
    )
    assert [of for _, of in told] == [6000] * len(told)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[-1][0] == 6000
    assert len(told) > 10


def test_results_come_in_the_order_of_the_tasks_and_none_begins_behind_one_that_failed() -> None:
    with Cores(3) as cores:
        assert list(cores.map([lambda at=at: at for at in range(100)])) == list(range(100))  # type: ignore[misc]
    begun: list[int] = []

    def task(at: int) -> int:
        begun.append(at)
        return 1 // (at - 5)

    with pytest.raises(ZeroDivisionError), Cores(2) as cores:
        list(cores.map([lambda at=at: task(at) for at in range(1000)]))  # type: ignore[misc]
    assert len(begun) < 50
    assert 1 <= available_cores() <= 4096


def test_features_of_ones_own_are_computed_on_one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "OWN_FEATURES", (OwnFeature,))
    with Cores(4) as cores:
        made: list[FeatureEngine] = []

        def make() -> FeatureEngine:
            made.append(FeatureEngine(ALLOWED_LATENESS_S, REFERENCE))
            return made[-1]

        computed = FeatureStream(pack_history(small_history()), make, cores, {}).compute(0, 6000)
    assert len(made) == 1
    assert_same(computed, on_one_core())
