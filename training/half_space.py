"""Half-Space Trees that river has built, walked by compiled code: river's scores bit for bit, many times sooner."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fraudstream.compiled import compiled
from fraudstream.training.metrics import Floats

if TYPE_CHECKING:
    from river.anomaly import HalfSpaceTrees

SPARSE_SHARE = 0.1
"""Below a node with less than this share of a window the walk ends, in river as in the paper."""


class CompiledTrees:
    """Takes over river's trees as they stand; each row is scored, then learnt.

    Args:
        trees: that have learnt `seen` rows, at least one, with the columns' numbers as names.
        seen: how many rows that is.
    """

    def __init__(self, trees: HalfSpaceTrees, seen: int) -> None:
        nodes = 2 ** (trees.height + 1) - 1
        self._feature = np.zeros((trees.n_trees, nodes), np.int64)
        self._threshold = np.zeros((trees.n_trees, nodes))
        self._recent = np.zeros((trees.n_trees, nodes))  # of the last window that is complete
        self._current = np.zeros((trees.n_trees, nodes))
        self._height, self._window, self._seen = trees.height, trees.window_size, seen
        for tree, root in enumerate(trees.trees):
            self._copy(tree, 0, root)

    def score_and_learn(self, rows: NDArray[np.float64]) -> Floats:
        """Scores (n,) of rows (n, columns), one after the other."""
        scores = np.zeros(len(rows))
        arrays = (self._feature, self._threshold, self._recent, self._current)
        _walk(*arrays, rows, self._height, self._window, self._seen, SPARSE_SHARE * self._window, scores)
        self._seen += len(rows)
        return scores

    def _copy(self, tree: int, at: int, node: object) -> None:
        """A node and all below it; the children of the node at i stand at 2 i + 1 and 2 i + 2."""
        self._recent[tree, at] = node.r_mass  # type: ignore[attr-defined]
        self._current[tree, at] = node.l_mass  # type: ignore[attr-defined]
        if 2 * at + 2 < self._feature.shape[1]:
            self._feature[tree, at] = node.feature  # type: ignore[attr-defined]
            self._threshold[tree, at] = node.threshold  # type: ignore[attr-defined]
            for side, child in enumerate(node.children, start=1):  # type: ignore[attr-defined]
                self._copy(tree, 2 * at + side, child)


@compiled
def _walk(
    feature: NDArray[np.int64],
    threshold: Floats,
    recent: Floats,
    current: Floats,
    rows: Floats,
    height: int,
    window: int,
    seen: int,
    sparse: float,
    scores: Floats,
) -> None:
    """Masses are whole numbers far below 2**53, so their sums are exact in any order."""
    trees, nodes = feature.shape
    most = float(trees * window * nodes)
    for row in range(len(rows)):
        total = 0.0
        for tree in range(trees):
            node, power, is_dense = 0, 1.0, True
            for _ in range(height):
                total += recent[tree, node] * power
                is_dense = recent[tree, node] >= sparse
                if not is_dense:
                    break
                is_left = rows[row, feature[tree, node]] < threshold[tree, node]
                node, power = 2 * node + (1 if is_left else 2), 2.0 * power
            if is_dense:
                total += recent[tree, node] * power
        if seen >= window:
            scores[row] = 1.0 - total / most
        for tree in range(trees):
            node = 0
            for _ in range(height):
                current[tree, node] += 1.0
                is_left = rows[row, feature[tree, node]] < threshold[tree, node]
                node = 2 * node + (1 if is_left else 2)
            current[tree, node] += 1.0
        seen += 1
        if seen % window == 0:
            recent[:] = current
            current[:] = 0.0
