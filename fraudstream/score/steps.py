"""A transaction and the ten before it, as the LSTM reads them: standardised numbers and a category from a vocabulary.

Everything comes from the sequences of the feature engine, so a live profile, a replay and training read the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fraudstream.compiled import compiled
from fraudstream.features.engine import SEQUENCE_CATEGORY, SEQUENCE_CENTS, SEQUENCE_TIME
from fraudstream.features.lifetime import log_of_cents

AMOUNT, GAP, HOUR_SIN, HOUR_COS, IS_THERE = range(5)
STEP_NUMBERS = 5
UNKNOWN_CATEGORY = 0

_DAY_S = 86_400


@dataclass(frozen=True, slots=True, eq=False)
class Steps:
    """Encoded sequences.

    Attributes:
        numbers: (n, steps, STEP_NUMBERS) log amount and log gap to the step before (both standardised, the gap 0 for
            the first step), hour of day on a circle, 1; all 0 for an empty step.
        category: (n, steps) index into the vocabulary from 1, UNKNOWN_CATEGORY for anything else.
        amount_bin: (n, steps) position of the amount among the bins, in bins.
        age_s: (n, steps) how long before the last step; negative for an empty one.
    """

    numbers: NDArray[np.float32]
    category: NDArray[np.int64]
    amount_bin: NDArray[np.float32]
    age_s: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class StepEncoder:
    """Frozen facts of the training stream.

    Attributes:
        vocabulary: (c,) category hashes, ascending.
        scale: mean and deviation of the log amount, mean and deviation of the log gap, log amount where the first
            bin begins, width of a bin.
    """

    vocabulary: NDArray[np.uint32]
    scale: NDArray[np.float64]

    @classmethod
    def fit(cls, sequences: NDArray[np.uint32], categories: int, bins: int) -> StepEncoder:
        """Reads the facts from a sample of sequences: the `categories` most frequent, `bins` over the amounts."""
        hashes, counts = np.unique(sequences[:, -1, SEQUENCE_CATEGORY], return_counts=True)
        frequent = hashes[np.argsort(-counts, kind="stable")][:categories]
        amounts = np.log1p(sequences[:, -1, SEQUENCE_CENTS] / 100.0)
        known = sequences[:, -2, SEQUENCE_TIME] != 0
        times = sequences[known][:, -2:, SEQUENCE_TIME].astype(np.int64)
        gaps = np.log1p(times[:, 1] - times[:, 0]) if known.any() else np.zeros(1)
        low, high = np.quantile(amounts, (0.001, 0.9999))
        width = max(high - low, 1e-3) / (bins - 1)
        scale = (amounts.mean(), max(amounts.std(), 1e-3), gaps.mean(), max(gaps.std(), 1e-3), low, width)
        return cls(np.sort(frequent[frequent != 0]).astype(np.uint32), np.array(scale))

    def __call__(self, sequences: NDArray[np.uint32]) -> Steps:
        """Encodes (n, steps, SEQUENCE_COLUMNS)."""
        shape = sequences.shape[:2]
        steps = Steps(
            numbers=np.zeros((*shape, STEP_NUMBERS), np.float32),
            category=np.zeros(shape, np.int64),
            amount_bin=np.zeros(shape, np.float32),
            age_s=np.full(shape, -1, np.int64),
        )
        _encode(
            np.ascontiguousarray(sequences), self.vocabulary, self.scale,
            steps.numbers, steps.category, steps.amount_bin, steps.age_s,
        )  # fmt: skip
        return steps

    def tensors(self) -> dict[str, NDArray[Any]]:
        """What an artifact keeps."""
        return {"vocabulary": self.vocabulary, "scale": self.scale}


@compiled
def _encode(
    sequences: NDArray[np.uint32],
    vocabulary: NDArray[np.uint32],
    scale: NDArray[np.float64],
    numbers: NDArray[np.float32],
    category: NDArray[np.int64],
    amount_bin: NDArray[np.float32],
    age_s: NDArray[np.int64],
) -> None:
    steps = sequences.shape[1]
    for row in range(len(sequences)):
        now = np.int64(sequences[row, steps - 1, SEQUENCE_TIME])
        for step in range(steps):
            time = np.int64(sequences[row, step, SEQUENCE_TIME])
            if time == 0:
                continue
            amount = log_of_cents(np.int64(sequences[row, step, SEQUENCE_CENTS]))
            angle = (2.0 * math.pi / _DAY_S) * (time % _DAY_S)
            before = np.int64(sequences[row, step - 1, SEQUENCE_TIME]) if step > 0 else np.int64(0)
            if before > 0:
                gap_s = time - before if time > before else np.int64(0)
                numbers[row, step, GAP] = (math.log(1 + gap_s) - scale[2]) / scale[3]
            numbers[row, step, AMOUNT] = (amount - scale[0]) / scale[1]
            numbers[row, step, HOUR_SIN] = math.sin(angle)
            numbers[row, step, HOUR_COS] = math.cos(angle)
            numbers[row, step, IS_THERE] = 1.0
            amount_bin[row, step] = (amount - scale[4]) / scale[5]
            age_s[row, step] = now - time if now > time else np.int64(0)
            known = sequences[row, step, SEQUENCE_CATEGORY]
            at = np.searchsorted(vocabulary, known)
            if at < len(vocabulary) and vocabulary[at] == known:
                category[row, step] = at + 1
