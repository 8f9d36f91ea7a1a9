"""What a raw score means: its rank among reference scores, and the rank of the members' weighted say among its kind.

A member says -log(1 - rank): one in a thousand counts twice as much as one in thirty. The says are squared before they
are weighted, as in a quadratic mean: each member is blind to some fraud, and must not talk down another that is sure.
Above CERTAIN_RANK the reference holds too few rows to tell more, and one member alone must not decide.

The second step makes contamination mean what it says: of the training traffic a share c scores above 1 - c, whatever
the weights are and whichever members are left.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fraudstream.compiled import compiled
from fraudstream.errors import ModelError

CERTAIN_RANK = 0.999
BEYOND_CERTAIN = 100.0
"""Nats for a rank of 1 more: the order among the most unusual stays, worth a tenth of a nat in all."""

MemberWeights = tuple[float, float, float]
"""Of forest, autoencoder and lstm; the scale does not matter."""


@dataclass(frozen=True, slots=True, eq=False)
class RankTable:
    """The distribution of a reference sample, kept whole, because frauds sit in its last half per cent.

    Attributes:
        values: knots, ascending; a value that came more than once is two knots.
        ranks: rank of each knot, the middle of the sample's i-th value being (i + 0.5) / n.
        scale: a value this far beyond the last knot uses up half of what is left to rank 1.
    """

    values: NDArray[np.float64]
    ranks: NDArray[np.float64]
    scale: float

    @classmethod
    def of(cls, sample: NDArray[np.float64]) -> RankTable:
        """Builds the table from a sample (n,) of finite values."""
        unique, counts = np.unique(sample, return_counts=True)
        last = np.cumsum(counts) - 1
        order = np.stack([last - counts + 1, last], axis=1)  # (values, first and last place in the sorted sample)
        is_knot = np.stack([np.ones(len(unique), np.bool_), counts > 1], axis=1)
        values = np.repeat(unique, 2).reshape(-1, 2)[is_knot]
        ranks = ((order + 0.5) / len(sample))[is_knot]
        spread = float(unique[-1] - np.median(sample))
        return cls(values, ranks, spread if spread > 0.0 else 1.0)

    def __call__(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Rank in [0, 1] of each value; strictly increasing above the smallest, also beyond the largest; NaN stays.

        A value that came more than once in the sample gets the lowest rank of its kind.
        """
        result = np.empty(len(values))
        _ranks(np.ascontiguousarray(values, np.float64), self.values, self.ranks, self.scale, result)
        return result


class Calibration:
    """Turns raw scores of the members into ranks and one anomaly score.

    Args:
        reference: (m, members) raw scores of a sample of training rows.
        weights: of the members in the reference's order.

    Raises:
        ModelError: the reference holds nothing, or values that are not finite.
    """

    def __init__(self, reference: NDArray[np.float64], weights: MemberWeights) -> None:
        if reference.ndim != 2 or reference.shape[1] != len(weights) or not reference.size:  # noqa: PLR2004
            raise ModelError(f"expected reference scores of {len(weights)} members, got an array of {reference.shape}")
        if not np.isfinite(reference).all():
            raise ModelError("expected finite reference scores, got others: fitting went astray; train a new model")
        self.reference = reference
        self.weights = np.asarray(weights, np.float64)
        self._tables = [RankTable.of(column) for column in reference.T]
        ranks = np.stack([table(column) for table, column in zip(self._tables, reference.T, strict=True)], axis=1)
        self._all_weights = self._weights_of((1 << len(self._tables)) - 1)
        # One table for each set of members that may be left, indexed by its bits: [0] is never asked.
        self._combined = [
            RankTable.of(_combined(ranks, self._weights_of(left))) for left in range(1, 1 << len(self._tables))
        ]

    def ranks(self, member: int, raw: NDArray[np.float64]) -> NDArray[np.float64]:
        """Rank of one member's raw scores among its reference."""
        return self._tables[member](raw)

    def anomaly(self, ranks: NDArray[np.float64]) -> NDArray[np.float64]:
        """One score in [0, 1] from (n, members) ranks.

        A NaN is left out and the other weights count the more; a row without any rank becomes NaN.
        """
        is_missing = np.isnan(ranks)
        if not is_missing.any():
            return self._combined[-1](_combined(ranks, self._all_weights))
        bits = 1 << np.arange(ranks.shape[1])
        left = ~is_missing @ bits
        result = np.full(len(ranks), np.nan)
        for which in np.unique(left[left > 0]):
            rows = left == which
            result[rows] = self._combined[which - 1](_combined(ranks[rows], self._weights_of(which)))
        return result

    def _weights_of(self, left: int) -> NDArray[np.float64]:
        is_left = (left >> np.arange(len(self.weights)) & 1).astype(np.float64)
        weights: NDArray[np.float64] = is_left * self.weights
        if weights.sum() == 0.0:  # only members without weight are left: better an even say than none
            weights = is_left
        return np.asarray(weights / weights.sum())


@compiled
def say(rank: float) -> float:
    """What a member with this rank says, in nats; strictly increasing."""
    if rank <= CERTAIN_RANK:
        return -math.log(1.0 - rank)
    return -math.log(1.0 - CERTAIN_RANK) + BEYOND_CERTAIN * (rank - CERTAIN_RANK)


def _combined(ranks: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    total = np.zeros(len(ranks))
    _add_up(np.ascontiguousarray(ranks), weights, total)
    return total


@compiled
def _add_up(ranks: NDArray[np.float64], weights: NDArray[np.float64], total: NDArray[np.float64]) -> None:
    # Row by row in scalars: a row's bits must not depend on the number of rows.
    for row in range(len(ranks)):
        for member in range(len(weights)):
            if weights[member] > 0.0:
                total[row] += weights[member] * say(ranks[row, member]) ** 2


@compiled
def _ranks(
    values: NDArray[np.float64],
    knots: NDArray[np.float64],
    ranks: NDArray[np.float64],
    scale: float,
    result: NDArray[np.float64],
) -> None:
    last = len(knots) - 1
    for row in range(len(values)):
        value = values[row]
        if np.isnan(value):
            result[row] = np.nan
            continue
        at = np.searchsorted(knots, value)
        if at > last:
            beyond = (value - knots[last]) / scale
            # An infinite value is 1; written so that it never becomes infinity over infinity.
            result[row] = ranks[last] + (1.0 - ranks[last]) * (1.0 - 1.0 / (1.0 + beyond))
        elif knots[at] == value:
            result[row] = ranks[at]
        elif at == 0:
            result[row] = 0.0
        else:
            part = (value - knots[at - 1]) / (knots[at] - knots[at - 1])
            result[row] = ranks[at - 1] + part * (ranks[at] - ranks[at - 1])
