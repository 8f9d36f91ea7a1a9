"""Puts a detector together from settings: feature engine, models and policy."""

from __future__ import annotations

import gc

from fraudstream.decide.policy import Policy
from fraudstream.features.engine import FeatureEngine
from fraudstream.pipeline import Detector, process
from fraudstream.score import artifact
from fraudstream.settings import Settings
from fraudstream.state.profile import EMPTY


def load_detector(settings: Settings) -> Detector:
    """Loads the model that the settings name, or the one in the package.

    Raises:
        ModelError, ModelMismatch: the model cannot be used; says why.
    """
    directory = settings.model_dir or artifact.DEFAULT_MODEL
    model = artifact.load(directory, settings.ensemble_weights)
    return Detector(
        engine=FeatureEngine(settings.allowed_lateness_s),
        ensemble=model.ensemble,
        policy=Policy(settings.contamination),
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


def warm_up(detector: Detector) -> None:
    """Compiles and touches everything once, and keeps the collector from walking through what will stay for ever.

    Raises:
        ModelError: scores depend on the batch on this machine.
    """
    detector.ensemble.warm_up()
    process(detector, [_Probe()], lambda _partition, _key: EMPTY)
    gc.collect()
    gc.freeze()


if __name__ == "__main__":
    # Installations and images run this once: compiled code stays in the cache for every process to come.
    warm_up(load_detector(Settings.model_construct()))
