"""Where a demo's transactions come from: the simulator, or a file whose first fifth teaches model and profiles."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from fraudstream.cli.stream_client import Outgoing, outgoing
from fraudstream.errors import DataFileError
from fraudstream.settings import Settings

if TYPE_CHECKING:
    from fraudstream.training.history import History
    from fraudstream.training.replay import Replay

LEARN_SHARE = 5
"""One row in five, the earliest ones, is for learning."""
NEW_USERS_SHARE = 3
"""Of the rows to learn from, the first third only fills the profiles: in it nearly every user is new."""
SIMULATION_SEED = 7
FIT_SEED = 1

Tell = Callable[[str, float], None]
"""Told the name of a step and how much of it is done, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Source:
    """What a demo streams.

    Attributes:
        frauds: transaction_id -> campaign, for the labelled frauds; None where the file has no labels.
        profiles: records that users have before the stream begins, by message key.
        model_dir: a model made for this stream; None: the one of the settings.
    """

    transactions: list[Outgoing]
    frauds: dict[str, str] | None
    profiles: dict[bytes, bytes] = field(default_factory=dict)
    model_dir: Path | None = None


def simulated(transactions: int) -> Source:
    """A stream of the simulator, always the same."""
    from fraudstream.training.simulate import SimulationSpec, simulate

    return _source(simulate(SimulationSpec(transactions=transactions, seed=SIMULATION_SEED)))


def from_file(
    path: Path, columns: Mapping[str, str], transactions: int, settings: Settings, new_model: Path | None, tell: Tell
) -> Source:
    """A file's stream behind its first fifth, from which profiles and a model are made.

    Args:
        columns: our name -> the file's name.
        transactions: at most so many are streamed.
        new_model: where the fitted model goes; None: fits none, as the settings name one.
        tell: told how far it is.

    Raises:
        DataFileError: the file cannot be used.
        ModelError: its first fifth is too short to learn from.
    """
    from fraudstream.training.history import History, read_history
    from fraudstream.training.reference import fit_reference
    from fraudstream.training.replay import replay_features

    tell("reading the file", 0.0)
    history = read_history(path, columns, rows=transactions * LEARN_SHARE // (LEARN_SHARE - 1))
    learn_rows = len(history) // LEARN_SHARE
    if learn_rows == 0:
        raise DataFileError(f"{path}: expected at least {LEARN_SHARE} transactions, got {len(history)}")
    tell("reading the file", 1.0)
    if new_model is not None:
        learnt = history.head(learn_rows)
        replay = replay_features(
            learnt,
            settings.allowed_lateness_s,
            fit_reference(learnt),
            skip_rows=learn_rows // NEW_USERS_SHARE,
            progress=lambda done, of: tell("replaying the first fifth", done / of),
        )
        _fit(replay, settings, new_model, path.name, tell)
    rest = _source(History(history.table.slice(learn_rows)))
    profiles = _profiles(history.head(learn_rows), settings, new_model)
    return Source(rest.transactions, rest.frauds, profiles, new_model)


def _profiles(history: History, settings: Settings, new_model: Path | None) -> dict[bytes, bytes]:
    """What the model that will judge remembers of each user."""
    from fraudstream.detector import load_detector
    from fraudstream.training.backfill import final_profiles

    chosen = settings.model_copy(update={"model_dir": new_model}) if new_model else settings
    return {key: record for some in final_profiles(history, load_detector(chosen).engine) for key, record in some}


def _fit(replay: Replay, settings: Settings, directory: Path, name: str, tell: Tell) -> None:
    from datetime import UTC, datetime

    from fraudstream.score.artifact import save
    from fraudstream.training.default_model import training_facts
    from fraudstream.training.fit import fit

    ensemble = fit(
        replay.features,
        replay.sequences,
        FIT_SEED,
        lambda step, done: tell(f"fitting the {step}" if step != "calibration" else "calibrating", done),
        settings.ensemble_weights,
    )
    save(directory, ensemble, replay.reference, training_facts(replay, 0, FIT_SEED, name, datetime.now(UTC)))


def _source(history: History) -> Source:
    from fraudstream.training.messages import encode_rows

    transactions = outgoing(encode_rows(history))
    return Source(transactions, _frauds(history, transactions))


def _frauds(history: History, transactions: list[Outgoing]) -> dict[str, str] | None:
    if "is_fraud" not in history:
        return None
    rows = history.numbers("is_fraud").nonzero()[0].tolist()
    if "campaign" not in history:
        return {transactions[row].transaction_id: "unnamed" for row in rows}
    campaigns = history.codes("campaign")
    return {transactions[row].transaction_id: campaigns.names[campaigns.codes[row]] for row in rows}
