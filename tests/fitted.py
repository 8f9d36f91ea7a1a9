"""A small simulated stream and an ensemble fitted to it, made once in a run for all tests that need a model."""

from __future__ import annotations

from functools import cache

from fraudstream.score.ensemble import Ensemble
from fraudstream.training.fit import fit
from fraudstream.training.history import History
from fraudstream.training.reference import fit_reference
from fraudstream.training.replay import Replay, replay_features
from fraudstream.training.simulate import SimulationSpec, simulate

ALLOWED_LATENESS_S = 3600


@cache
def small_history() -> History:
    """6,000 simulated transactions of 60 users."""
    return simulate(SimulationSpec(transactions=6000, users=60, seed=7))


@cache
def small_stream() -> Replay:
    """The features of the small history; do not change its arrays."""
    history = small_history()
    return replay_features(history, ALLOWED_LATENESS_S, fit_reference(history))


@cache
def small_ensemble() -> Ensemble:
    """Fitted to the small stream; do not change it."""
    stream = small_stream()
    return fit(stream.features, stream.sequences, seed=1)
