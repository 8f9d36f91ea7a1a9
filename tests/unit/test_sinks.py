"""Sinks see what was committed, in order, and neither a slow one nor a broken one holds up anything."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import pytest

from fraudstream.adapters.metrics import Metrics
from fraudstream.agents.sinks import MOST_AT_ONCE, Sinks
from fraudstream.detector import load_detector
from fraudstream.emitted import Emitted
from fraudstream.errors import SettingsError
from fraudstream.pipeline import Detector
from fraudstream.settings import load_settings
from fraudstream.verdict import Verdict
from tests.unit.test_scoring import PARTITIONS, LedgerProducer, LedgerProducers, MemoryStore, chunk_of, scoring_of


@pytest.fixture(scope="module")
def detector() -> Detector:
    return load_detector(load_settings())


class Collector:
    """A sink that keeps what it gets, once it may."""

    def __init__(self) -> None:
        self.got: list[Verdict] = []
        self.batches: list[int] = []
        self.may_go = asyncio.Event()
        self.may_go.set()
        self.is_closed = False

    async def __call__(self, verdicts: Sequence[Verdict]) -> None:
        await self.may_go.wait()
        self.got += verdicts
        self.batches.append(len(verdicts))

    async def close(self) -> None:
        self.is_closed = True


class Broken(Collector):
    async def __call__(self, verdicts: Sequence[Verdict]) -> None:
        await super().__call__(verdicts)
        if len(self.batches) == 1:
            raise RuntimeError("the case tool is down")


def counted(metrics: Metrics) -> dict[tuple[str, str], float]:
    return {
        (sample.labels["sink"], sample.labels["outcome"]): sample.value
        for family in metrics.sink_verdicts.collect()
        for sample in family.samples
        if sample.name.endswith("_total") and sample.value
    }


async def emitted(detector: Detector, chunks: int, sinks: Sinks | None = None) -> tuple[list[Emitted], list[int]]:
    """What a worker hands over of so many chunks, and how much was committed each time."""
    producers = LedgerProducers({number: LedgerProducer() for number in range(PARTITIONS)})
    scoring = scoring_of(detector, producers, MemoryStore())
    seen: list[Emitted] = []
    committed: list[int] = []

    def hand_over(verdicts: list[Emitted]) -> None:
        seen.extend(verdicts)
        committed.append(sum(len(made[0]) for producer in producers.values() for made in producer.commits))
        assert len(seen) <= committed[-1], "expected nothing before it is committed"
        if sinks is not None:
            sinks.offer(verdicts)

    scoring.on_verdicts_committed = hand_over
    for at in range(chunks):
        scoring.hand_over(chunk_of(at))
        await scoring.take()
        await asyncio.sleep(0.03)
    await scoring.settle()
    return seen, committed


async def test_a_sink_gets_every_committed_verdict_typed_and_in_order(detector: Detector) -> None:
    sink, metrics = Collector(), Metrics()
    sinks = Sinks([sink], 1000, metrics)
    tasks = [asyncio.ensure_future(run) for run in sinks.runs()]
    seen, committed = await emitted(detector, 6, sinks)
    await sinks.stop()
    assert len(committed) > 1
    assert len(seen) == 60
    assert [(one.source_partition, one.source_offset) for one in sink.got] == [
        (at % PARTITIONS, offset) for at in range(6) for offset in range(at * 10, at * 10 + 10)
    ]
    assert counted(metrics) == {("Collector-0", "delivered"): 60}
    assert sink.is_closed
    for task in tasks:
        task.cancel()


async def test_a_slow_sink_loses_what_has_no_room_and_another_gets_all(
    detector: Detector, caplog: pytest.LogCaptureFixture
) -> None:
    slow, quick, metrics = Collector(), Collector(), Metrics()
    slow.may_go.clear()
    sinks = Sinks([slow, quick], 25, metrics)
    tasks = [asyncio.ensure_future(run) for run in sinks.runs()]
    seen, _ = await emitted(detector, 6)
    for at in range(0, 60, 10):
        sinks.offer(seen[at : at + 10])
        await asyncio.sleep(0.01)
    slow.may_go.set()
    await sinks.stop()
    assert [one.source_offset for one in slow.got] == [one.source_offset for one in quick.got[:25]]
    assert len(quick.got) == 60
    assert counted(metrics) == {
        ("Collector-0", "delivered"): 25,
        ("Collector-0", "dropped"): 35,
        ("Collector-1", "delivered"): 60,
    }
    assert caplog.text.count("verdicts are dropped for it") == 1
    for task in tasks:
        task.cancel()


async def test_what_a_sink_raises_is_counted_and_logged_and_it_goes_on(
    detector: Detector, caplog: pytest.LogCaptureFixture
) -> None:
    sink, metrics = Broken(), Metrics()
    sinks = Sinks([sink], 1000, metrics)
    tasks = [asyncio.ensure_future(run) for run in sinks.runs()]
    seen, _ = await emitted(detector, 3)
    with caplog.at_level(logging.ERROR):
        for at in range(0, 30, 10):
            sinks.offer(seen[at : at + 10])
            await asyncio.sleep(0.01)
    await sinks.stop()
    assert counted(metrics) == {("Broken-0", "failed"): 10, ("Broken-0", "delivered"): 20}
    assert "the case tool is down" in caplog.text
    for task in tasks:
        task.cancel()


async def test_a_large_micro_batch_comes_in_parts(detector: Detector) -> None:
    sink = Collector()
    sinks = Sinks([sink], 10_000, Metrics())
    tasks = [asyncio.ensure_future(run) for run in sinks.runs()]
    seen, _ = await emitted(detector, 1)
    sinks.offer((seen * 300)[:2500])
    await sinks.stop()
    assert sink.batches == [MOST_AT_ONCE, MOST_AT_ONCE, 2500 - 2 * MOST_AT_ONCE]
    for task in tasks:
        task.cancel()


async def test_a_worker_without_sinks_keeps_no_verdicts(detector: Detector) -> None:
    producers = LedgerProducers({number: LedgerProducer() for number in range(PARTITIONS)})
    scoring = scoring_of(detector, producers, MemoryStore())
    scoring.hand_over(chunk_of(0))
    await scoring.take()
    assert not Sinks([], 10, Metrics())
    assert scoring._uncommitted == []


@pytest.mark.parametrize("wrong", [print, lambda _verdicts: None, "sink", object()])
def test_what_is_no_async_function_is_refused_at_the_start(wrong: Any) -> None:
    with pytest.raises(SettingsError, match="sinks: expected async functions"):
        Sinks([wrong], 10, Metrics())
