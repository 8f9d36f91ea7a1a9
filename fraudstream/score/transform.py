"""Turns each model input into its surprise: -log of the share of training rows that lie as high or higher.

Only the upper side counts, because inputs are turned so that high is suspicious. Half of all rows are below log 2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fraudstream.compiled import compiled, inlined

SMALLEST_TAIL = 1e-3
"""Rarer values count the same: one input must not outshout all others."""

KNOTS = 256


@dataclass(frozen=True, slots=True, eq=False)
class TailTransform:
    """Frozen reference quantiles of each input, evenly spaced in -log of the upper tail.

    Attributes:
        knots: (k, KNOTS) column by column the values at tail probabilities 1 down to SMALLEST_TAIL.
    """

    knots: NDArray[np.float32]

    @classmethod
    def fit(cls, inputs: NDArray[np.float32]) -> TailTransform:
        """Takes the quantiles of a reference sample (n, k)."""
        levels = 1.0 - np.exp(-np.linspace(0.0, -math.log(SMALLEST_TAIL), KNOTS))
        knots = np.quantile(inputs, levels, axis=0, method="higher").T
        return cls(np.ascontiguousarray(knots, np.float32))

    def __call__(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Surprise of every value, (n, k) in nats, 0 to -log(SMALLEST_TAIL)."""
        result = np.empty(inputs.shape, np.float32)
        _tail(np.ascontiguousarray(inputs), self.knots, -math.log(SMALLEST_TAIL) / (KNOTS - 1), result)
        return result


@compiled
def _tail(inputs: NDArray[np.float32], knots: NDArray[np.float32], step: float, result: NDArray[np.float32]) -> None:
    last = knots.shape[1] - 1
    below = np.empty(inputs.shape[1], np.uint64)
    for row in range(inputs.shape[0]):
        _count_below(inputs[row], knots, below)
        for column in range(inputs.shape[1]):
            value, known = inputs[row, column], knots[column]
            if np.isnan(value):
                result[row, column] = np.nan
                continue
            # The first knot that is not below the value: of a run of equal knots the one with the largest tail.
            low = np.int64(below[column])
            if low > last:
                result[row, column] = np.float32(last * step)
            elif low == 0 or known[low] == value:
                result[row, column] = np.float32(low * step)
            else:
                lower, upper = np.float64(known[low - 1]), np.float64(known[low])
                part = (np.float64(value) - lower) / (upper - lower)
                result[row, column] = np.float32((low - 1 + part) * step)


@inlined
def _count_below(row: NDArray[np.float32], knots: NDArray[np.float32], below: NDArray[np.uint64]) -> None:
    """How many knots are below each input: halved step by step for all inputs at once, as none depends on another."""
    one = np.uint64(1)
    left = np.uint64(knots.shape[1])
    below[:] = 0
    while left > one:
        half = left >> one
        for column in range(len(row)):
            at = below[column]
            below[column] = at + half * np.uint64(knots[column, at + half - one] < row[column])
        left -= half
    for column in range(len(row)):
        below[column] += np.uint64(knots[column, below[column]] < row[column])
