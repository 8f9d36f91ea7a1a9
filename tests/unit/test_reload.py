"""A model that is replaced is gone, and what a reload waits for is the batch that is judged now, no more."""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fraudstream.adapters.metrics import Metrics
from fraudstream.agents.reload import ModelReload
from fraudstream.agents.scoring import Scoring
from fraudstream.detector import load_detector, warm_up
from fraudstream.score.artifact import DEFAULT_MODEL, TENSOR_FILE
from fraudstream.score.ensemble import Ensemble
from fraudstream.score.promotions import Promotions
from fraudstream.score.registry import PROMOTED_FILE, Registry
from fraudstream.settings import Settings, load_settings
from tests.models import other_model
from tests.unit.test_scoring import PARTITIONS, LedgerProducer, LedgerProducers, MemoryStore, chunk_of, scoring_of


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    registry = Registry(tmp_path / "registry")
    registry.promote(str(DEFAULT_MODEL))
    return registry


@pytest.fixture
def settings(registry: Registry) -> Settings:
    return load_settings(model_registry=registry.directory)


def scoring_with(settings: Settings) -> Scoring:
    producers = LedgerProducers({number: LedgerProducer() for number in range(PARTITIONS)})
    return scoring_of(load_detector(settings), producers, MemoryStore())


def parameter_of(scoring: Scoring) -> NDArray[np.float32]:
    """Something that lives as long as the model does."""
    ensemble = scoring.detector.ensemble
    assert isinstance(ensemble, Ensemble)
    return ensemble.lstm.parameters["amount.weight"]


async def test_the_replaced_model_does_not_stay_in_memory(
    settings: Settings, registry: Registry, tmp_path: Path
) -> None:
    scoring = scoring_with(settings)
    warm_up(scoring.detector)  # which freezes what there is, the first model with it
    scoring.hand_over(chunk_of(0))
    await scoring.take()
    reload = ModelReload(settings, scoring, Metrics())
    replaced = weakref.ref(parameter_of(scoring))
    gc.disable()  # by its references alone: a collector does not look at what is frozen
    try:
        for number in (1, 2):
            await asyncio.to_thread(registry.promote, str(other_model(tmp_path / f"model-{number}", number)))
            assert await reload.look()
            assert replaced() is None
            replaced = weakref.ref(parameter_of(scoring))
    finally:
        gc.enable()
        gc.unfreeze()
    assert scoring.detector.model_version == registry.promotions().version


async def test_a_look_at_an_unchanged_registry_keeps_the_very_detector(settings: Settings) -> None:
    scoring = scoring_with(settings)
    before = scoring.detector
    assert not await ModelReload(settings, scoring, Metrics()).look()
    assert scoring.detector is before


async def test_a_model_that_failed_is_not_tried_at_every_look_but_another_one_is(
    settings: Settings, registry: Registry, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scoring, metrics = scoring_with(settings), Metrics()
    reload = ModelReload(settings, scoring, metrics)
    broken, _ = registry.add(other_model(tmp_path / "broken", 3))
    (registry.entry(broken).directory / TENSOR_FILE).write_bytes(b"not a model")
    (registry.directory / PROMOTED_FILE).write_bytes(Promotions(broken).encoded())  # `promote` would refuse
    with caplog.at_level(logging.ERROR):
        for _ in range(5):
            assert not await reload.look()
    assert [record.getMessage().count(broken) > 0 for record in caplog.records] == [True]
    assert b"fraudstream_model_reload_failures_total 1.0" in metrics.text()
    assert broken in (reload.problem or "")
    registry.promote(str(other_model(tmp_path / "good", 4)))
    assert await reload.look()
    assert reload.problem is None
    assert scoring.detector.model_version == registry.promotions().version


async def test_a_swap_waits_for_the_batch_that_is_judged(settings: Settings, tmp_path: Path) -> None:
    scoring = scoring_with(settings)
    other = load_detector(load_settings(model_dir=other_model(tmp_path / "model")))
    seen: list[str] = []
    scoring._observe = lambda _outcome: seen.append(scoring.detector.model_version)
    first = scoring.detector.model_version
    for at in range(220):  # more than one slice: the event loop is let go in between
        scoring.hand_over(chunk_of(at))
    taking = asyncio.create_task(scoring.take())
    await asyncio.sleep(0)
    await scoring.swap(other)
    scoring.hand_over(chunk_of(220))
    await scoring.take()
    await taking
    assert len(seen) > 2
    assert seen == [first] * (len(seen) - 1) + [other.model_version]
