"""Verdicts of a file are, byte for byte, those of its rows as messages, on any number of cores."""

from __future__ import annotations

import time
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from fraudstream.decide.policy import Policy
from fraudstream.features.engine import FeatureEngine
from fraudstream.pipeline import Detector
from fraudstream.score.exchange import OwnEnsemble
from fraudstream.score.scorer import Scored
from fraudstream.training.history import History
from fraudstream.training.judge import judge
from fraudstream.verdict_lines import encoded
from tests.by_messages import judge_messages
from tests.fitted import ALLOWED_LATENESS_S, small_ensemble, small_history, small_stream
from tests.meticulous.test_replay import histories

FLAGGED = b'"flagged":true'


@cache
def detector() -> Detector:
    """Flags a third, so that most of what verdicts can say is said."""
    engine = FeatureEngine(ALLOWED_LATENESS_S, small_stream().reference)
    return Detector(engine, small_ensemble(), Policy(0.3), (0.4, 0.4, 0.2), "m-test")


def by_messages(history: History) -> tuple[list[bytes], list[bytes], int]:
    """Verdicts, their features, and how many rows are refused."""
    outcomes = list(judge_messages(detector(), history))
    emitted = [one for outcome in outcomes for one in outcome.verdicts]
    refused = sum(len(outcome.dead_letters) for outcome in outcomes)
    return [one.value for one in emitted], [one.features for one in emitted], refused


def by_columns(
    history: History, workers: int | None, batch: int, judges: Detector | None = None
) -> tuple[list[bytes], list[bytes], int]:
    """The same of `judge`; what it tells of its progress never goes back and ends with the last row."""
    parts = list(judge(judges or detector(), history, workers=workers, batch=batch))
    done = [at for at, _ in parts]
    assert done == sorted(set(done))
    assert not parts or done[-1] == len(history)
    assert all(judged.verdicts.offsets[-1] < at for at, judged in parts)
    lines = [line for _, judged in parts for line in encoded(judged.verdicts).each()]
    features = [row.tobytes() for _, judged in parts for row in judged.features]
    assert [len(judged) for _, judged in parts] == [len(judged.features) for _, judged in parts]
    return lines, features, len(history) - len(lines)


def spoilt(history: History, rows: list[int]) -> History:
    """The history with a merchant that a worker refuses in these rows."""
    merchants = history.table["merchant"].cast(pa.string()).to_pylist()
    for row in rows:
        if row < len(merchants):
            merchants[row] = "m" * 257 if row % 2 else "Corner\tShop"
    at = history.columns.index("merchant")
    kind = history.table.schema.field("merchant").type
    return History(history.table.set_column(at, "merchant", pa.array(merchants, pa.string()).cast(kind)))


@given(histories(), st.integers(1, 3), st.integers(1, 50), st.lists(st.integers(0, 60), max_size=3))
@settings(max_examples=150, deadline=None)
def test_a_verdict_of_a_file_is_that_of_its_row_as_a_message(
    drawn: History, workers: int, batch: int, refused: list[int]
) -> None:
    history = spoilt(drawn, refused)
    expected = by_messages(history)
    event(f"flagged: {any(FLAGGED in line for line in expected[0])}")
    event(f"refused: {min(expected[2], 2)}")
    assert by_columns(history, workers, batch) == expected


@pytest.mark.parametrize(("workers", "batch"), [(1, 4096), (2, 300), (3, 17), (None, 4096)])
def test_thousands_of_verdicts_are_the_same_on_any_number_of_cores(workers: int | None, batch: int) -> None:
    assert by_columns(small_history(), workers, batch) == by_messages(small_history())


def test_fractions_of_a_second_are_told_as_a_worker_tells_them() -> None:
    table = small_history().table.slice(0, 50)
    times = pa.array(table["timestamp"].cast(pa.int64()).to_numpy() + np.arange(50) * 20_300_700)
    at = table.column_names.index("timestamp")
    history = History(table.set_column(at, "timestamp", times.cast(table["timestamp"].type)))
    assert by_columns(history, 2, 7) == by_messages(history)


def test_nothing_is_judged_of_an_empty_history_or_where_all_is_refused() -> None:
    history = small_history().head(5)
    assert by_columns(history.head(0), 2, 10) == ([], [], 0)
    assert by_columns(spoilt(history, [0, 1, 2, 3, 4]), 2, 10) == by_messages(spoilt(history, [0, 1, 2, 3, 4]))


def test_a_model_of_ones_own_is_asked_for_one_batch_at_a_time_in_order() -> None:
    class Alone:
        """Would be wrong if it were asked twice at a time."""

        name, version, needs = "alone", "1", ("count_1h",)

        def __init__(self) -> None:
            self.busy, self.rows = False, 0

        def score(self, features: Any, _sequences: Any) -> Scored:
            assert not self.busy
            self.busy = True
            time.sleep(0.001)
            self.rows, self.busy = self.rows + len(features), False
            return Scored(np.full(len(features), 0.5), np.zeros(features.shape), {})

    scorer = Alone()
    parts = Detector(detector().engine, OwnEnsemble(scorer), Policy(0.3), (0.4, 0.4, 0.2), "own")
    lines, _, _ = by_columns(small_history(), 3, 50, parts)
    assert len(lines) == 6000
    assert scorer.rows >= 6000
    assert not any(b'"degraded":["' in line for line in lines)
