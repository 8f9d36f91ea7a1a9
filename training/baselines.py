"""What every model must be shown beside: one-line rules, and well-known detectors on the very inputs the models read.

No label is read here either. Each baseline is its library's own code with the settings below; nothing is tuned to lose.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest

from fraudstream.features.catalogue import index_of, model_inputs
from fraudstream.training.convert import from_sklearn
from fraudstream.training.half_space import CompiledTrees
from fraudstream.training.metrics import Floats, Ints

RAW_TREES = 200
HISTOGRAM_BINS = 50
HALF_SPACE_TREES, HALF_SPACE_HEIGHT, HALF_SPACE_WINDOW = 50, 8, 250
"""Height and window are those of river, the window the paper's too; twice its 25 trees, because more judge better."""

_BLOCK_ROWS = 100_000
_DAY_S = 86_400
_ADVANCE_ROWS = 10_000
_TAUGHT_WINDOWS = 4

Stage = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
"""Shows a step: its name and how many rows it has; what it gives is told how many are done."""


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Transactions as baselines see them.

    Attributes:
        amount: (n,) in main units.
        time_s: (n,) seconds since 1970, ascending.
        features: (n, FEATURE_COUNT) of the feature engine.
    """

    amount: Floats
    time_s: Ints
    features: NDArray[np.float32]


def baseline_scores(sample: Rows, judged: Rows, seed: int, stage: Stage) -> Iterator[tuple[str, Floats]]:
    """Name and scores (judged,) of each baseline, higher is more suspicious, one after the other.

    Args:
        sample: rows from before the judged ones, to fit to.
        judged: what is scored.
        seed: of everything random.
        stage: shows the steps that take long.
    """
    yield "amount", judged.amount
    yield "amount_to_mean_30d", judged.features[:, index_of("amount_to_mean_30d")].astype(np.float64)
    yield "sum_24h", judged.features[:, index_of("sum_24h")].astype(np.float64)
    with stage("isolation forest on amount and hour", len(judged.amount)):
        yield "isolation_forest_raw", isolation_forest_raw(sample, judged, seed)
    fit_to, inputs = model_inputs(sample.features), model_inputs(judged.features)
    with stage("ECOD", len(inputs)) as advance:
        yield "ecod", ecod(fit_to, inputs, advance)
    with stage("HBOS", len(inputs)):
        yield "hbos", hbos(fit_to, inputs)
    with stage("half-space trees", len(inputs)) as advance:
        yield "half_space_trees", half_space_trees(fit_to, inputs, seed, advance)


BASELINES = ("amount", "amount_to_mean_30d", "sum_24h", "isolation_forest_raw", "ecod", "hbos", "half_space_trees")
"""Names of all baselines, in the order of `baseline_scores`."""


def isolation_forest_raw(sample: Rows, judged: Rows, seed: int) -> Floats:
    """An Isolation Forest that knows no history: log amount, and the hour as a point on a circle."""
    forest = IsolationForest(n_estimators=RAW_TREES, max_samples=min(256, len(sample.amount)), random_state=seed)
    return from_sklearn(forest.fit(_raw(sample))).score(_raw(judged))


def _raw(rows: Rows) -> NDArray[np.float32]:
    angle = 2.0 * np.pi * (rows.time_s % _DAY_S) / _DAY_S
    return np.stack([np.log1p(rows.amount), np.sin(angle), np.cos(angle)], axis=1).astype(np.float32)


def ecod(fit_to: NDArray[np.float32], inputs: NDArray[np.float32], advance: Callable[[int], None]) -> Floats:
    """ECOD: sums the log tail probabilities of all inputs (Li et al., 2022).

    pyod ranks judged rows among sample and judged rows together; that is done in blocks, so that memory stays bounded.
    """
    from pyod.models.ecod import ECOD  # type: ignore[import-untyped]

    detector = ECOD().fit(fit_to)
    scores = np.empty(len(inputs))
    for start in range(0, len(inputs), _BLOCK_ROWS):
        block = slice(start, start + _BLOCK_ROWS)
        scores[block] = detector.decision_function(inputs[block])
        advance(min(start + _BLOCK_ROWS, len(inputs)))
    return scores


def hbos(fit_to: NDArray[np.float32], inputs: NDArray[np.float32]) -> Floats:
    """HBOS: sums the log densities of a histogram of each input (Goldstein, Dengel, 2012)."""
    from pyod.models.hbos import HBOS  # type: ignore[import-untyped]

    detector = HBOS(n_bins=HISTOGRAM_BINS).fit(fit_to)
    blocks = range(0, len(inputs), _BLOCK_ROWS)
    return np.concatenate([detector.decision_function(inputs[start : start + _BLOCK_ROWS]) for start in blocks])


def half_space_trees(
    fit_to: NDArray[np.float32], inputs: NDArray[np.float32], seed: int, advance: Callable[[int], None]
) -> Floats:
    """Half-Space Trees, as a stream: each row is scored, then learnt (Tan, Ting, Liu, 2011).

    Inputs are scaled to the sample's range; what lies beyond it falls into the outermost leaf. Before the first judged
    row the trees have seen the end of the sample: they forget all but the last window anyway. river builds and teaches
    them; from then on compiled code walks them, to the same scores.
    """
    from river.anomaly import HalfSpaceTrees

    low, high = fit_to.min(axis=0), fit_to.max(axis=0)
    span = np.where(high > low, high - low, np.float32(1.0))
    trees = HalfSpaceTrees(HALF_SPACE_TREES, HALF_SPACE_HEIGHT, HALF_SPACE_WINDOW, seed=seed)
    columns = list(range(inputs.shape[1]))
    for row in ((fit_to[-_TAUGHT_WINDOWS * HALF_SPACE_WINDOW :] - low) / span).tolist():
        trees.learn_one(dict(zip(columns, row, strict=True)))  # type: ignore[no-untyped-call]
    walked, scores = CompiledTrees(trees, min(len(fit_to), _TAUGHT_WINDOWS * HALF_SPACE_WINDOW)), np.empty(len(inputs))
    for start in range(0, len(inputs), _ADVANCE_ROWS):
        block = slice(start, start + _ADVANCE_ROWS)
        scores[block] = walked.score_and_learn(((inputs[block] - low) / span).astype(np.float64))
        advance(min(start + _ADVANCE_ROWS, len(inputs)))
    return scores
