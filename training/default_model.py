"""Makes the model that ships with the package: `python -m fraudstream.training.default_model`.

It has only ever seen simulated users, so that a worker scores from the first second; `fraudstream train` replaces it
by one that knows the real traffic.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from fraudstream.score.artifact import DEFAULT_MODEL, Manifest, TrainingFacts, save
from fraudstream.settings import Settings
from fraudstream.training.fit import Progress, fit
from fraudstream.training.reference import fit_reference
from fraudstream.training.replay import Replay, replay_features
from fraudstream.training.simulate import SimulationSpec, simulate

SPEC = SimulationSpec(transactions=120_000, seed=20_250_106)
SEED = 1
WARM_UP = timedelta(days=20)
"""In the first days of the stream every user is new; what such days look like is not what a model should call usual."""


def make(directory: Path = DEFAULT_MODEL, spec: SimulationSpec = SPEC, progress: Progress | None = None) -> Manifest:
    """Simulates, replays, fits and saves.

    Args:
        directory: where the model goes.
        spec: the stream to learn from.
        progress: told how far the fit is.
    """
    history, since = simulate(spec), spec.start + WARM_UP
    reference = fit_reference(history.between(since))
    replay = replay_features(history, int(Settings.model_fields["allowed_lateness_s"].default), reference)
    first = int(np.searchsorted(replay.time_s, since.timestamp()))
    ensemble = fit(replay.features[first:], replay.sequences[first:], SEED, progress)
    created_at = _moment(replay.time_s[-1])  # the stream's end and not today: the same code makes the same bytes
    facts = training_facts(replay, first, SEED, f"simulated, seed {spec.seed}", created_at)
    return save(directory, ensemble, reference, facts)


def training_facts(replay: Replay, first: int, seed: int, source: str, created_at: datetime) -> TrainingFacts:
    """The manifest's facts about a fit to the rows of a replay from `first` on."""
    return TrainingFacts(
        first_event_time=_moment(replay.time_s[first]),
        last_event_time=_moment(replay.time_s[-1]),
        rows=len(replay) - first,
        seed=seed,
        source=source,
        created_at=created_at,
    )


def _moment(time_s: np.int64) -> datetime:
    return datetime.fromtimestamp(int(time_s), UTC)


if __name__ == "__main__":
    made = make()
    sys.stdout.write(f"{DEFAULT_MODEL}: {made.model_version}, {made.training.rows:,} simulated transactions\n")
