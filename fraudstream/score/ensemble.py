"""Three models, one score: runs the members, ranks what they say, weighs it, and does without a member that fails."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fraudstream.errors import ModelError
from fraudstream.features.catalogue import model_inputs
from fraudstream.score.autoencoder import Autoencoder
from fraudstream.score.blocks import VECTOR_ROWS, padded
from fraudstream.score.calibration import Calibration, MemberWeights
from fraudstream.score.forest import Forest
from fraudstream.score.lstm import Lstm
from fraudstream.score.probe import probe
from fraudstream.state.event import ABSENT

FOREST, AUTOENCODER, LSTM = MEMBERS = ("forest", "autoencoder", "lstm")
DEFAULT_WEIGHTS: MemberWeights = (0.4, 0.4, 0.2)

log = logging.getLogger(__name__)

_PROBE_ROWS = 265
"""Whole vectors and a rest."""

Raw = NDArray[np.float64]

LeftOut = Callable[[str], NDArray[np.bool_]]
"""Asked with a member's name just before it runs: (n,) the rows that do without it."""


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """What the ensemble says about a batch.

    Attributes:
        anomaly: (n,) share of the training traffic that is less unusual, 0 to 1.
        members: (n, 3) the same for each member alone, in the order of MEMBERS; NaN where it failed.
        surprise: (n, k) what each model input has to do with the autoencoder's score; 0 where that failed.
        degraded: members that failed for at least one row; `degraded_of` tells it for one row.
    """

    anomaly: NDArray[np.float64]
    members: NDArray[np.float64]
    surprise: NDArray[np.float32]
    degraded: tuple[str, ...]

    def degraded_of(self, row: int) -> tuple[str, ...]:
        """Members that are left out of this row's score."""
        if not self.degraded:
            return ()
        return tuple(name for name, rank in zip(MEMBERS, self.members[row], strict=True) if np.isnan(rank))


class Ensemble:
    """Isolation Forest, autoencoder and LSTM behind one calibrated score.

    Args:
        forest: reads the model inputs as they are.
        autoencoder: reads their surprise.
        lstm: reads the sequences.
        reference: (m, 3) raw scores of a sample of training rows; what a rank is a rank of.
        weights: of the three members.
        reference_categories: (m,) category hashes of the reference's rows; None where none is known.

    Raises:
        ModelError: the reference cannot be used, or the categories are not those of its rows.
    """

    def __init__(
        self,
        forest: Forest,
        autoencoder: Autoencoder,
        lstm: Lstm,
        reference: NDArray[np.float64],
        weights: MemberWeights = DEFAULT_WEIGHTS,
        reference_categories: NDArray[np.integer] | None = None,
    ) -> None:
        self.forest = forest
        self.autoencoder = autoencoder
        self.lstm = lstm
        self.calibration = Calibration(reference, weights)
        if reference_categories is None:
            reference_categories = np.full(len(reference), ABSENT)
        if reference_categories.shape != reference.shape[:1]:
            raise ModelError(
                f"expected a category of each of the {len(reference):,} reference rows, got an array of "
                f"{reference_categories.shape}; train a new model"
            )
        self.reference_categories = reference_categories.astype(np.uint16)
        self._complained: set[str] = set()

    def score(
        self, features: NDArray[np.float32], sequences: NDArray[np.uint32], left_out: LeftOut | None = None
    ) -> Scores:
        """Scores a batch; a row gets the same bits whatever batch it comes in.

        Args:
            features: (n, FEATURE_COUNT) of the feature engine.
            sequences: (n, SEQUENCE_STEPS, SEQUENCE_COLUMNS) of the feature engine.
            left_out: rows that do without a member, as if it had failed for them; one that no row needs does not run.

        Raises:
            ModelError: no member is left for a row.
        """
        rows = len(features)
        raw, surprise = self.raw_scores(model_inputs(padded(features))[:rows], sequences, left_out)
        members = np.empty(raw.shape)
        for at in range(len(MEMBERS)):
            members[:, at] = self.calibration.ranks(at, raw[:, at])
        failed: NDArray[np.bool_] = np.isnan(members)
        degraded: tuple[str, ...] = ()
        if failed.any():  # in a batch of few rows each look at an array costs as much as scoring a row
            degraded = self._degraded(failed)
        return Scores(self.calibration.anomaly(members), members, surprise, degraded)

    @staticmethod
    def _degraded(failed: NDArray[np.bool_]) -> tuple[str, ...]:
        if failed.all(axis=1).any():
            raise ModelError(
                "expected a score from at least one of forest, autoencoder and lstm, got none: "
                "the model in MODEL_DIR cannot be used on this machine; train a new one or unset MODEL_DIR"
            )
        return tuple(name for at, name in enumerate(MEMBERS) if failed[:, at].any())

    def reference_anomaly(self) -> NDArray[np.float64]:
        """(m,) the anomaly score of each reference row, of all members."""
        columns = enumerate(self.calibration.reference.T)
        return self.calibration.anomaly(np.stack([self.calibration.ranks(at, raw) for at, raw in columns], axis=1))

    def raw_scores(
        self, inputs: NDArray[np.float32], sequences: NDArray[np.uint32], left_out: LeftOut | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """(n, 3) raw scores of the members, NaN where one fails, and the (n, k) surprise of the inputs."""
        raw, surprise = np.empty((len(inputs), len(MEMBERS))), np.zeros(inputs.shape, np.float32)

        def by_autoencoder() -> Raw:
            scores, residual = self.autoencoder.score(inputs)
            surprise[:] = residual
            surprise[~np.isfinite(residual)] = 0.0
            return scores

        runs: tuple[Callable[[], Raw], ...] = (
            lambda: self.forest.score(inputs),
            by_autoencoder,
            lambda: self.lstm.score(sequences),
        )
        for at, (name, run) in enumerate(zip(MEMBERS, runs, strict=True)):
            without = left_out(name) if left_out is not None else None
            if without is None or not without.any():
                raw[:, at] = self._guarded(name, run, len(inputs))
                continue
            scores = np.full(len(inputs), np.nan) if without.all() else self._guarded(name, run, len(inputs))
            raw[:, at] = np.where(without, np.nan, scores)
            if name == AUTOENCODER:
                surprise[without] = 0.0
        return raw, surprise

    def warm_up(self) -> None:
        """Compiles and touches everything once, so that the first transaction does not wait for it."""
        self.verify_batch_invariance()

    def verify_batch_invariance(self) -> None:
        """Checks on this machine that a row's score does not depend on its batch.

        Raises:
            ModelError: it does, so a redelivered transaction could get another verdict.
        """
        features, sequences = probe(self.autoencoder.transform, self.lstm.encoder, rows=_PROBE_ROWS)
        whole, rows = self.score(features, sequences), np.arange(len(features))
        small = (rows[at : at + VECTOR_ROWS] for at in range(0, len(rows), VECTOR_ROWS))
        for order in (rows[::-1], np.roll(rows, 37), rows[:1], rows[5:42], *small):
            part = self.score(features[order], sequences[order])
            if not (
                np.array_equal(part.anomaly, whole.anomaly[order])
                and np.array_equal(part.members, whole.members[order], equal_nan=True)
                and np.array_equal(part.surprise, whole.surprise[order])
            ):
                raise ModelError(
                    "expected the same score for a transaction in any batch, got another one: the numeric libraries "
                    "of this machine are not exactly repeatable; install another build of numpy and numba"
                )

    def _guarded(self, name: str, run: Callable[[], Raw], rows: int) -> Raw:
        try:
            raw = run()
        except Exception as error:
            self._complain(name, f"{type(error).__name__}: {error}")
            return np.full(rows, np.nan)
        is_number = np.isfinite(raw)
        if is_number.all():
            return raw
        self._complain(name, f"no finite number for {rows - int(is_number.sum())} of {rows} transactions")
        return np.where(is_number, raw, np.nan)

    def _complain(self, name: str, reason: str) -> None:
        """Once for each member: the stream goes on, and every verdict carries the member's name anyway."""
        if name not in self._complained:
            self._complained.add(name)
            log.warning("%s failed and is left out of the score: %s", name, reason)
