"""Puts a detector together from settings: feature engine, models and policy."""

from __future__ import annotations

import gc
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from fraudstream.decide.policy import Policy
from fraudstream.errors import SettingsError
from fraudstream.features.engine import FeatureEngine
from fraudstream.heap import steady_heap
from fraudstream.pipeline import Detector, process
from fraudstream.score import artifact
from fraudstream.score.exchange import OwnEnsemble
from fraudstream.score.registry import Registry
from fraudstream.score.scorer import Scorer, find_scorer
from fraudstream.settings import Settings
from fraudstream.state.profile import EMPTY
from fraudstream.wire.records import BatchReader, FetchedBatch

COLLECTOR_THRESHOLDS = (50_000, 20, 100)
"""A batch makes thousands of objects that live until it is sent; looking for cycles among them every 700 finds none."""

_OF_ALL = 1.5
"""A share with which every score lies above the threshold."""


def model_directory(settings: Settings) -> Path:
    """Where the model is that the settings name: MODEL_DIR, the promoted one of MODEL_REGISTRY, or the package's.

    Raises:
        ModelError: the registry cannot be read, or no model is promoted in it.
    """
    if settings.model_registry is not None:
        return Registry(settings.model_registry).promoted_directory()
    return settings.model_dir or artifact.DEFAULT_MODEL


def load_detector(settings: Settings, scorer: Scorer | None = None) -> Detector:
    """Loads the model that the settings name, or the one in the package.

    Args:
        settings: which model, and from where on it flags.
        scorer: a model of one's own in its place; what features compare with still comes from the settings' model.

    Raises:
        ModelError, ModelMismatch: the model cannot be used; says why.
        SettingsError: the settings ask for what only the built-in ensemble has.
    """
    if scorer is None and settings.scorer is not None:
        scorer = find_scorer(settings.scorer, settings)
    if scorer is not None:
        return _own_detector(settings, OwnEnsemble(scorer))
    model = artifact.load(model_directory(settings), settings.ensemble_weights)
    return Detector(
        engine=FeatureEngine(settings.allowed_lateness_s, model.reference),
        ensemble=model.ensemble,
        policy=Policy.of(settings.contamination, settings.contamination_by, model.ensemble),
        weights=settings.ensemble_weights,
        model_version=model.manifest.model_version,
    )


def _own_detector(settings: Settings, ensemble: OwnEnsemble) -> Detector:
    if settings.model_registry is not None or settings.contamination_by != "none":
        raise SettingsError(
            f"scorer {ensemble.version}: expected neither MODEL_REGISTRY nor CONTAMINATION_BY, which belong to the "
            "built-in ensemble; unset them"
        )
    reference = artifact.load_reference(model_directory(settings))
    return Detector(
        engine=FeatureEngine(settings.allowed_lateness_s, reference),
        ensemble=ensemble,
        policy=Policy(settings.contamination),
        weights=settings.ensemble_weights,
        model_version=ensemble.version,
    )


class _Probe:
    """A made-up message for the warm-up."""

    topic = ""
    partition = 0
    offset = 0
    timestamp = 1_700_000_000_000
    key = b"warm-up"
    value = b'{"transaction_id":"w","user_id":"warm-up","amount":1,"merchant":"m","latitude":1,"longitude":1}'


def try_out(detector: Detector) -> None:
    """Compiles and touches everything of a detector once; may run in a thread while another detector judges.

    Raises:
        ModelError: scores depend on the batch on this machine.
    """
    detector.ensemble.warm_up()
    # There and back again: a verdict with its reasons, as a batch, and messages out of such a batch.
    flagging = replace(detector, policy=Policy(contamination=_OF_ALL))
    verdicts = process(flagging, [_Probe()], lambda _partition, _key: EMPTY).verdicts
    ((partition, count, data),) = verdicts.batches(np.arange(1), 0, 0, with_evidence=True)
    came = _Probe()
    fetched = FetchedBatch(
        topic=came.topic,
        partition=partition,
        offset=came.offset,
        timestamp=came.timestamp,
        data=data,
        count=count,
        first_offset=came.offset,
        first_time_ms=came.timestamp,
        is_append_time=True,
        least_offset=came.offset,
    )
    process(detector, BatchReader([fetched]).read(count), lambda _partition, _key: EMPTY)


def time_predictions(detector: Detector, seconds: float) -> list[float]:
    """Judges made-up payments, one after the other, for so long; returns the seconds of each, from bytes to verdict."""
    taken_s: list[float] = []
    ends_s = time.perf_counter() + seconds
    while (started_s := time.perf_counter()) < ends_s:
        process(detector, [_Probe()], lambda _partition, _key: EMPTY)
        taken_s.append(time.perf_counter() - started_s)
    return taken_s


def warm_up(detector: Detector) -> None:
    """Makes a starting process quick and steady: `steady_heap`, `try_out`, and the collector no longer walks through
    what stays for ever.

    Raises:
        ModelError: scores depend on the batch on this machine.
    """
    steady_heap()
    try_out(detector)
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTOR_THRESHOLDS)


if __name__ == "__main__":
    # Installations and images run this once: compiled code stays in the cache for every process to come.
    warm_up(load_detector(Settings.model_construct()))
