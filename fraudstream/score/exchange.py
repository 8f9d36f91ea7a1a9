"""A scorer of one's own in the place of the ensemble, and the ensemble in the form of such a scorer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fraudstream.errors import ModelError
from fraudstream.features.catalogue import FEATURE_NAMES, MODEL_INPUTS
from fraudstream.features.engine import SEQUENCE_CENTS, SEQUENCE_COLUMNS, SEQUENCE_STEPS, SEQUENCE_TIME
from fraudstream.score.ensemble import MEMBERS, Ensemble, Scores
from fraudstream.score.scorer import Scored, Scorer

_INPUT_NAMES = tuple(feature.name for feature in MODEL_INPUTS)
_TRIED_ROWS = 67
_START_S = 1_700_000_000


@dataclass(frozen=True, slots=True, eq=False)
class _OwnScores(Scores):
    """Scores of a model without the three members: their scores are NaN, which is no failure."""

    parts: Mapping[str, NDArray[np.bool_]]

    def degraded_of(self, row: int) -> tuple[str, ...]:
        """Parts that are left out of this row's score."""
        return tuple(name for name, rows in self.parts.items() if rows[row])


class OwnEnsemble:
    """Asks a scorer of one's own what the ensemble would be asked, and refuses answers that would spoil verdicts.

    Raises:
        ModelError: the scorer lacks something, or needs features that the catalogue does not have.
    """

    def __init__(self, scorer: Scorer) -> None:
        for name, kind in (("name", str), ("version", str), ("needs", tuple)):
            came = getattr(scorer, name, None)
            if not isinstance(came, kind) or (kind is str and not came):
                raise ModelError(f"scorer: expected {name} to be a {kind.__name__}, got {came!r}")
        if not callable(getattr(scorer, "score", None)):
            raise ModelError(f"scorer {scorer.name!r}: expected a method score(features, sequences), it has none")
        missing = [name for name in scorer.needs if name not in FEATURE_NAMES]
        if missing:
            raise ModelError(
                f"scorer {scorer.name!r}: needs the features {', '.join(missing)}, which the catalogue does not have; "
                "install the package that declares them, or see docs/features.md for those there are"
            )
        self.scorer = scorer
        self.version = f"{scorer.name}-{scorer.version}"
        self._columns = np.array([FEATURE_NAMES.index(name) for name in scorer.needs], np.int64)
        told = [(at, _INPUT_NAMES.index(name)) for at, name in enumerate(scorer.needs) if name in _INPUT_NAMES]
        self._from, self._to = (np.array([pair[side] for pair in told], np.int64) for side in (0, 1))

    def score(
        self,
        features: NDArray[np.float32],
        sequences: NDArray[np.uint32],
        _left_out: Callable[[str], NDArray[np.bool_]] | None = None,
    ) -> Scores:
        """As `Ensemble.score`; there are no members to be left out, so the scorer is always asked as a whole.

        Raises:
            ModelError: the scorer failed, or its answer is not what a `Scorer` promises.
        """
        rows = len(features)
        try:
            found = self.scorer.score(np.ascontiguousarray(features[:, self._columns]), sequences)
        except Exception as error:
            raise ModelError(f"scorer {self.version}: it failed ({type(error).__name__}: {error})") from error
        problem = problem_of(found, rows, len(self.scorer.needs))
        if problem:
            raise ModelError(f"scorer {self.version}: {problem}; see fraudstream.testing.check_scorer")
        surprise = np.zeros((rows, len(MODEL_INPUTS)), np.float32)
        if found.evidence is not None:
            surprise[:, self._to] = found.evidence[:, self._from]
        members = np.full((rows, len(MEMBERS)), np.nan)
        degraded = tuple(name for name, failed in found.degraded.items() if failed.any())
        return _OwnScores(np.asarray(found.anomaly, np.float64), members, surprise, degraded, found.degraded)

    def warm_up(self) -> None:
        """Scores made-up rows once."""
        self.verify_batch_invariance()

    def verify_batch_invariance(self) -> None:
        """Checks on made-up rows that a score does not depend on its batch.

        Raises:
            ModelError: it does, so a redelivered transaction could get another verdict.
        """
        random = np.random.default_rng(0)
        features = random.exponential(2.0, (_TRIED_ROWS, len(FEATURE_NAMES))).astype(np.float32)
        sequences = np.zeros((_TRIED_ROWS, SEQUENCE_STEPS, SEQUENCE_COLUMNS), np.uint32)
        sequences[..., SEQUENCE_TIME] = _START_S + np.cumsum(random.integers(1, 90_000, sequences.shape[:2]), axis=1)
        sequences[..., SEQUENCE_CENTS] = random.integers(1, 90_000, sequences.shape[:2])
        whole, part = self.score(features, sequences), self.score(features[5:9], sequences[5:9])
        if not np.array_equal(whole.anomaly[5:9], part.anomaly):
            raise ModelError(
                f"scorer {self.version}: expected the same score for a transaction in any batch, got another one"
            )


def problem_of(found: Scored, rows: int, needs: int) -> str:
    """What is wrong with an answer for so many rows and needed features; nothing: ''."""
    anomaly = np.asarray(found.anomaly)
    if anomaly.shape != (rows,) or anomaly.dtype.kind != "f":
        return f"anomaly: expected {rows} floats, got an array of {anomaly.shape} {anomaly.dtype}"
    if not np.isfinite(anomaly).all():
        return f"anomaly: expected finite numbers, got {int((~np.isfinite(anomaly)).sum())} others"
    if rows and not (anomaly.min() >= 0.0 and anomaly.max() <= 1.0):
        return f"anomaly: expected shares from 0 to 1, got {anomaly.min():g} to {anomaly.max():g}"
    if found.evidence is not None:
        evidence = np.asarray(found.evidence)
        if evidence.shape != (rows, needs):
            return f"evidence: expected {(rows, needs)} values, one for each needed feature, got {evidence.shape}"
        if not np.isfinite(evidence).all() or (evidence < 0.0).any():
            return "evidence: expected finite numbers that are not negative, got others"
    for name, failed in found.degraded.items():
        if np.asarray(failed).shape != (rows,) or np.asarray(failed).dtype != np.bool_:
            return f"degraded[{name!r}]: expected {rows} booleans, got an array of {np.asarray(failed).shape}"
    return ""


class EnsembleScorer:
    """The built-in ensemble as a `Scorer`, to be held against others or to be a part of one's own.

    Args:
        ensemble: of a loaded model.
        version: of that model.
    """

    name = "ensemble"
    needs = _INPUT_NAMES

    def __init__(self, ensemble: Ensemble, version: str) -> None:
        self.version = version
        self._ensemble = ensemble
        self._columns = np.array([FEATURE_NAMES.index(name) for name in self.needs])

    def score(self, features: NDArray[np.float32], sequences: NDArray[np.uint32]) -> Scored:
        """Scores a batch.

        Raises:
            ModelError: the arrays have another shape, or all three members failed.
        """
        expected = (len(features), len(self.needs)), (len(features), SEQUENCE_STEPS, SEQUENCE_COLUMNS)
        if (features.shape, sequences.shape) != expected:
            raise ModelError(
                f"expected features and sequences of {expected[0]} and {expected[1]}, "
                f"got {features.shape} and {sequences.shape}"
            )
        whole = np.zeros((len(features), len(FEATURE_NAMES)), np.float32)
        whole[:, self._columns] = features
        scores = self._ensemble.score(whole, sequences)
        degraded = {name: np.isnan(scores.members[:, at]) for at, name in enumerate(MEMBERS) if name in scores.degraded}
        return Scored(scores.anomaly, scores.surprise.astype(np.float64), degraded)
