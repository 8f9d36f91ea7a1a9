"""Carries a scikit-learn Isolation Forest over into the arrays that fraudstream scores with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest

from fraudstream.score.forest import Forest, average_path_length


def from_sklearn(forest: IsolationForest, columns: NDArray[np.int64] | None = None) -> Forest:
    """The same forest as perfect binary trees; its scores are `-forest.score_samples`, bit for bit.

    Args:
        forest: fitted, with every tree looking at all columns (max_features=1.0).
        columns: which model input each column of the fit was; None: the same.
    """
    trees = [estimator.tree_ for estimator in forest.estimators_]
    depth = max(tree.max_depth for tree in trees)
    inner = 2**depth - 1
    feature = np.zeros((len(trees), inner), np.int16)
    # Below a leaf all nodes send their rows left; which way does not matter, the leaves there are all the same.
    threshold = np.full((len(trees), inner), np.inf, np.float32)
    path = np.zeros((len(trees), inner + 1))
    for at, tree in enumerate(trees):
        _unfold(tree, depth, feature[at], threshold[at], path[at])
    normaliser = len(trees) * average_path_length(int(forest.max_samples_))
    if columns is not None:
        feature = columns[feature].astype(np.int16)
    return Forest(feature, threshold, path, float(normaliser))


def _unfold(
    tree: object, depth: int, feature: NDArray[np.int16], threshold: NDArray[np.float32], path: NDArray[np.float64]
) -> None:
    inner = len(feature)
    open_nodes = [(0, 0, 0)]  # of scikit-learn, place in the heap, depth
    while open_nodes:
        node, place, level = open_nodes.pop()
        left, right = int(tree.children_left[node]), int(tree.children_right[node])  # type: ignore[attr-defined]
        if left < 0:
            first = last = place
            for _ in range(depth - level):
                first, last = 2 * first + 1, 2 * last + 2
            rows = int(tree.n_node_samples[node])  # type: ignore[attr-defined]
            # In scikit-learn's order of adding, so that sums have the same bits.
            path[first - inner : last - inner + 1] = (level + 1.0) + average_path_length(rows) - 1.0
        else:
            feature[place] = tree.feature[node]  # type: ignore[attr-defined]
            threshold[place] = _rounded_down(float(tree.threshold[node]))  # type: ignore[attr-defined]
            open_nodes += [(left, 2 * place + 1, level + 1), (right, 2 * place + 2, level + 1)]


def _rounded_down(threshold: float) -> np.float32:
    """The largest float32 not above it: `x <= threshold` stays the same for every float32 x."""
    nearest = np.float32(threshold)
    return nearest if float(nearest) <= threshold else np.nextafter(nearest, np.float32(-np.inf))
