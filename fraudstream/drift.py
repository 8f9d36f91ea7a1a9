"""How far the last hour's scores and features have moved from the training traffic, measured on a sample.

The reference comes with the model: scores are ranks among training rows, so each tenth of [0, 1] holds a tenth of
them; features have the autoencoder's knots, which are quantiles of every model input.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fraudstream.features.catalogue import MODEL_INPUTS, model_inputs

BINS = 10
LEAST_ROWS = 500
"""Of n rows that did not move, chance alone makes an index of about 9 / n: 0.02 here."""
ROWS_A_BATCH = 16
FOLD_AT_ROWS = 512
BLOCK_S, BLOCKS = 300.0, 12
"""The window is an hour, forgotten in steps of five minutes."""

Cuts = Sequence[NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class DriftReport:
    """What was found.

    Attributes:
        rows: sampled transactions of the window.
        score_psi: None where they are too few.
        feature_psi: by model input.
    """

    rows: int
    score_psi: float | None = None
    feature_psi: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class DriftReference:
    """Bins of the training traffic.

    Attributes:
        cuts: for each model input the lower limits of its bins but the first.
        shares: (1 + inputs, BINS + 1) expected share of each bin, the score's first; 0 where a bin is not used.
    """

    cuts: Cuts
    shares: NDArray[np.float64]

    @classmethod
    def of_knots(cls, knots: NDArray[np.float32], smallest_tail: float) -> DriftReference:
        """Bins with about a tenth of the training rows each, fewer where many values are equal.

        Args:
            knots: (inputs, k) of `TailTransform`: values at tail probabilities evenly spaced in their logarithm.
            smallest_tail: the last of those probabilities.
        """
        tails = np.exp(np.linspace(0.0, np.log(smallest_tail), knots.shape[1]))
        shares = np.zeros((1 + len(knots), BINS + 1))
        shares[0, :BINS] = 1.0 / BINS
        cuts = []
        for row, known in enumerate(knots, start=1):
            found, above = _bins_of(known, tails)
            cuts.append(found)
            shares[row, : len(above) + 1] = -np.diff(np.concatenate([[1.0], above, [0.0]]))
        return cls(cuts, shares)


def _bins_of(known: NDArray[np.float32], tails: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Limits between bins, and the share of training rows at or above each."""
    wanted = known[np.searchsorted(-tails, -np.arange(BINS - 1, 0, -1) / BINS)]
    if known[1] == known[0]:  # many rows have the smallest value: it is a bin of its own
        wanted = np.append(wanted, known[known > known[0]][:1])
    cuts = np.unique(wanted[wanted > known[0]])
    first = np.searchsorted(known, cuts)
    # Among equal knots, or after them, the share lies between those of two knots.
    is_step = (known[first - 1] == known[first - 2]) | (known[np.minimum(first + 1, len(known) - 1)] == known[first])
    return cuts, np.where(is_step, np.sqrt(tails[first] * tails[first - 1]), tails[first])


class Drift:
    """Counts a sample of one worker's traffic in the bins of its model's reference.

    Args:
        reference: of the model in use.
        clock: seconds that only go forward.
    """

    def __init__(self, reference: DriftReference, clock: Callable[[], float]) -> None:
        self._reference = reference
        self._clock = clock
        self._scores: list[NDArray[np.float64]] = []
        self._features: list[NDArray[np.float32]] = []
        self._rows = 0
        self._blocks: deque[tuple[int, NDArray[np.int64]]] = deque()

    def add(self, scores: NDArray[np.float64], features: NDArray[np.float32]) -> None:
        """Takes a few rows of a batch, evenly spaced.

        Args:
            scores: (n,) anomaly scores.
            features: (n, len(CATALOGUE)) of the same rows.
        """
        step = -(-len(scores) // ROWS_A_BATCH)
        self._scores.append(scores[::step].copy())  # not a view, which would keep the whole batch
        self._features.append(features[::step].copy())
        self._rows += len(self._scores[-1])
        if self._rows >= FOLD_AT_ROWS:
            self._fold()

    def report(self) -> DriftReport:
        """The population stability index of each: the sum over bins of (p - q) log(p / q).

        p is the window's share, with half a row added to each bin so that an empty one stays finite; q is the
        reference's. Siddiqi, Credit Risk Scorecards, 2006: below 0.1 is no change, above 0.25 is a large one.
        """
        self._fold()
        counts = sum((counts for _, counts in self._blocks), np.zeros(self._reference.shares.shape, np.int64))
        rows = int(counts[0].sum())
        if rows < LEAST_ROWS:
            return DriftReport(rows)
        expected = self._reference.shares
        used = expected > 0.0
        smoothed = np.where(used, counts + 0.5, 0.0)
        actual = smoothed / smoothed.sum(axis=1, keepdims=True)
        ratio = np.divide(actual, expected, where=used, out=np.ones_like(actual))
        psi = ((actual - expected) * np.log(ratio)).sum(axis=1).tolist()
        names = (feature.name for feature in MODEL_INPUTS)
        return DriftReport(rows, psi[0], dict(zip(names, psi[1:], strict=True)))

    def _fold(self) -> None:
        block = int(self._clock() / BLOCK_S)
        while self._blocks and self._blocks[0][0] <= block - BLOCKS:
            self._blocks.popleft()
        if not self._rows:
            return
        if not self._blocks or self._blocks[-1][0] != block:
            self._blocks.append((block, np.zeros(self._reference.shares.shape, np.int64)))
        counts, width = self._blocks[-1][1], BINS + 1
        scores, inputs = np.concatenate(self._scores), model_inputs(np.concatenate(self._features))
        self._scores, self._features, self._rows = [], [], 0
        counts[0] += np.bincount(np.minimum((scores * BINS).astype(np.int64), BINS - 1), minlength=width)
        for row, cuts in enumerate(self._reference.cuts, start=1):
            counts[row] += np.bincount(np.searchsorted(cuts, inputs[:, row - 1], side="right"), minlength=width)
