"""Isolation Forest as flat arrays (Liu, Ting, Zhou 2008): every tree is a perfect binary tree of the same depth.

A leaf above the last level is repeated in all leaves below it, so scoring walks a fixed number of steps without child
pointers. How scikit-learn's forest becomes this one stands in fraudstream.training.convert.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fraudstream.compiled import compiled
from fraudstream.score.blocks import padded

EULER_GAMMA = 0.5772156649015329


@dataclass(frozen=True, slots=True, eq=False)
class Forest:
    """A fitted Isolation Forest.

    Attributes:
        feature: (trees, 2^depth - 1) column that each inner node looks at, in heap order.
        threshold: (trees, 2^depth - 1) a value above it goes right.
        path: (trees, 2^depth) expected path length of a row that ends in this leaf.
        normaliser: path lengths of all trees, summed, that count as an average row.
    """

    feature: NDArray[np.int16]
    threshold: NDArray[np.float32]
    path: NDArray[np.float64]
    normaliser: float

    def score(self, inputs: NDArray[np.float32]) -> NDArray[np.float64]:
        """Anomaly score of each row, 0 to 1; high is unusual: scikit-learn's `-score_samples`.

        Args:
            inputs: (n, k) model inputs.
        """
        total = np.zeros(len(inputs))
        _walk(np.ascontiguousarray(inputs), self.feature, self.threshold, self.path, total)
        scores: NDArray[np.float64] = 2.0 ** -(padded(total) / self.normaliser)
        return scores[: len(inputs)]

    def tensors(self) -> dict[str, NDArray[Any]]:
        """What an artifact keeps."""
        return {
            "feature": self.feature,
            "threshold": self.threshold,
            "path": self.path,
            "normaliser": np.array([self.normaliser]),
        }

    @classmethod
    def from_tensors(cls, tensors: dict[str, NDArray[Any]]) -> Forest:
        """The reverse of `tensors`.

        Raises:
            ValueError: their shapes do not make perfect trees.
        """
        feature, threshold, path = tensors["feature"], tensors["threshold"], tensors["path"]
        trees, inner = feature.shape
        if threshold.shape != (trees, inner) or path.shape != (trees, inner + 1) or feature.min(initial=0) < 0:
            raise ValueError(f"forest: {feature.shape}, {threshold.shape} and {path.shape} are no perfect trees")
        return cls(feature, threshold, path, float(tensors["normaliser"][0]))


def average_path_length(rows: int) -> float:
    """Mean path length of an unsuccessful search in a binary search tree of `rows` (equation 1 of the paper)."""
    if rows <= 1:
        return 0.0
    if rows == 2:  # noqa: PLR2004
        return 1.0
    return float(2.0 * (np.log(rows - 1.0) + EULER_GAMMA) - 2.0 * (rows - 1.0) / rows)


@compiled
def _walk(
    inputs: NDArray[np.float32],
    feature: NDArray[np.int16],
    threshold: NDArray[np.float32],
    path: NDArray[np.float64],
    total: NDArray[np.float64],
) -> None:
    # Without signs: every signed place is first asked whether it counts from the end, which takes as long as the walk.
    inner, rows, one = np.uint32(feature.shape[1]), len(inputs), np.uint32(1)
    nodes = np.empty(rows, np.uint32)
    for tree in range(len(feature)):
        # The tree stays in the cache while all rows pass through it, level by level: no row waits for another one.
        features, thresholds, paths = feature[tree], threshold[tree], path[tree]
        nodes[:] = 0
        level = one
        while level <= inner:
            for row in range(rows):
                node = nodes[row]
                goes_right = inputs[row, np.uint16(features[node])] > thresholds[node]
                nodes[row] = (node << one) + one + np.uint32(goes_right)
            level <<= one
        for row in range(rows):
            total[row] += paths[nodes[row] - inner]
