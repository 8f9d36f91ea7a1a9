"""The small stream judged by its small ensemble, made once in a run for all tests of what follows from a judgement."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from fraudstream.score.artifact import save
from fraudstream.training.default_model import training_facts
from fraudstream.training.evaluate import Judged, Order, judge_model
from fraudstream.training.history import write
from tests.fitted import ALLOWED_LATENESS_S, small_ensemble, small_history, small_stream

LEARNT_FROM_ROW = 1500
SINCE = "2025-02-05"


@contextmanager
def silent(_what: str, _total: int) -> Iterator[Callable[[int], None]]:
    """A stage that is not shown."""
    yield lambda _done: None


def small_order(directory: Path) -> Order:
    """Writes the small stream and its model into the directory."""
    stream = small_stream()
    write(small_history(), directory / "small.parquet")
    facts = training_facts(stream, LEARNT_FROM_ROW, 1, "small.parquet", datetime(2025, 3, 7, tzinfo=UTC))
    save(directory / "model", small_ensemble(), stream.reference, facts)
    return Order(
        model=directory / "model",
        source=directory / "small.parquet",
        since=SINCE,
        draws=30,
        allowed_lateness_s=ALLOWED_LATENESS_S,
    )


@cache
def small_judged() -> tuple[Order, Judged]:
    """The order and what came of it; its files are gone. Do not change the arrays."""
    with TemporaryDirectory() as directory:
        order = small_order(Path(directory))
        return order, judge_model(order, silent)
