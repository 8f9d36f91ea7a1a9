"""Puts a detector together from settings: feature engine, models and policy."""

from __future__ import annotations

import gc
from pathlib import Path

from fraudstream.decide.policy import Policy
from fraudstream.features.engine import FeatureEngine
from fraudstream.pipeline import Detector, process
from fraudstream.score import artifact
from fraudstream.score.registry import Registry
from fraudstream.settings import Settings
from fraudstream.state.profile import EMPTY


def model_directory(settings: Settings) -> Path:
    """Where the model is that the settings name: MODEL_DIR, the promoted one of MODEL_REGISTRY, or the package's.

    Raises:
        ModelError: the registry cannot be read, or no model is promoted in it.
    """
    if settings.model_registry is not None:
        return Registry(settings.model_registry).promoted_directory()
    return settings.model_dir or artifact.DEFAULT_MODEL


def load_detector(settings: Settings) -> Detector:
    """Loads the model that the settings name, or the one in the package.

    Raises:
        ModelError, ModelMismatch: the model cannot be used; says why.
    """
    model = artifact.load(model_directory(settings), settings.ensemble_weights)
    return Detector(
        engine=FeatureEngine(settings.allowed_lateness_s, model.reference),
        ensemble=model.ensemble,
        policy=Policy.of(settings.contamination, settings.contamination_by, model.ensemble),
        weights=settings.ensemble_weights,
        model_version=model.manifest.model_version,
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
    process(detector, [_Probe()], lambda _partition, _key: EMPTY)


def warm_up(detector: Detector) -> None:
    """Makes a starting process quick: `try_out`, and the collector no longer walks through what stays for ever.

    Raises:
        ModelError: scores depend on the batch on this machine.
    """
    try_out(detector)
    gc.collect()
    gc.freeze()


if __name__ == "__main__":
    # Installations and images run this once: compiled code stays in the cache for every process to come.
    warm_up(load_detector(Settings.model_construct()))
