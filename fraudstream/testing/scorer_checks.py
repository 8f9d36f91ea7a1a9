"""The promises of a `Scorer`, tried on made-up transactions; the built-in ensemble is held to the same."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fraudstream.errors import ModelError
from fraudstream.features.catalogue import FEATURE_NAMES
from fraudstream.features.engine import SEQUENCE_CATEGORY, SEQUENCE_CENTS, SEQUENCE_COLUMNS, SEQUENCE_STEPS
from fraudstream.features.engine import SEQUENCE_TIME as TIME
from fraudstream.score.exchange import problem_of
from fraudstream.score.scorer import Scored, Scorer
from fraudstream.testing.checks import CheckFailedError, require, same_bits

ROWS = 129
SPOILT_ROW = 40
_START_S = 1_700_000_000

Features = NDArray[np.float32]
Sequences = NDArray[np.uint32]


def check_scorer(scorer: Scorer, features: Features | None = None, sequences: Sequences | None = None) -> None:
    """Tries everything that a worker relies on.

    - declared: a name, a version, and needed features that the catalogue has, each once
    - answers: one share from 0 to 1 for each transaction, finite; evidence and degraded parts of the right shape
    - empty batch: no transactions, no scores, no error
    - determinism: the same rows get the same bits again
    - inputs untouched: the arrays belong to the caller
    - batch invariance: a row gets the same bits alone, in a part, and in another order
    - degraded: where a row's features are NaN, that row is scored without what failed and names it, and no other
      row changes
    - shape errors: arrays that do not fit raise ModelError

    Args:
        scorer: what is checked.
        features: (n, len(needs)) to try it on, 100 rows or more; absent: made-up ones.
        sequences: (n, 11, 3) of the same rows.

    Raises:
        CheckFailedError: the first promise that is broken.
    """
    _declared(scorer)
    made_features, made_sequences = made_up(len(scorer.needs))
    features = made_features if features is None else features
    sequences = made_sequences[np.arange(len(features)) % ROWS] if sequences is None else sequences
    whole = _answer(scorer, features, sequences)
    _empty(scorer, features, sequences)
    _deterministic(scorer, features, sequences, whole)
    _batch_invariant(scorer, features, sequences, whole)
    if scorer.needs:
        _degraded(scorer, features, sequences, whole)
    _shape_errors(scorer, features, sequences)


def made_up(needs: int, rows: int = ROWS) -> tuple[Features, Sequences]:
    """Features and sequences like those of a stream, always the same ones: zeros, small values and large ones."""
    random = np.random.default_rng(11)
    size = random.choice(np.array([0.0, 0.5, 3.0, 100.0]), (rows, needs))
    features = (random.exponential(1.0, (rows, needs)) * size).astype(np.float32)
    sequences = np.zeros((rows, SEQUENCE_STEPS, SEQUENCE_COLUMNS), np.uint32)
    sequences[..., TIME] = _START_S + np.cumsum(random.integers(1, 200_000, sequences.shape[:2]), axis=1)
    sequences[..., SEQUENCE_CENTS] = random.integers(1, 200_000, sequences.shape[:2])
    sequences[..., SEQUENCE_CATEGORY] = random.integers(0, 2**16, sequences.shape[:2])
    for row in range(0, rows, 3):  # users who are new
        sequences[row, : random.integers(1, SEQUENCE_STEPS)] = 0
    return features, sequences


def _declared(scorer: Scorer) -> None:
    for field in ("name", "version"):
        came = getattr(scorer, field, None)
        require(isinstance(came, str) and came, "declared", f"expected a text as {field}, got {came!r}")
    needs = getattr(scorer, "needs", None)
    require(isinstance(needs, tuple), "declared", f"expected a tuple of feature names as needs, got {needs!r}")
    unknown = [name for name in scorer.needs if name not in FEATURE_NAMES]
    require(not unknown, "declared", f"needs {', '.join(map(str, unknown))}, which the catalogue does not have")
    require(len(set(scorer.needs)) == len(scorer.needs), "declared", "expected each needed feature once")


def _answer(scorer: Scorer, features: Features, sequences: Sequences, check: str = "answers") -> Scored:
    given = features.copy(), sequences.copy()
    try:
        found = scorer.score(*given)
    except Exception as error:
        raise CheckFailedError(check, f"expected scores, it raised {type(error).__name__}: {error}") from error
    is_same = same_bits(given[0], features) and same_bits(given[1], sequences)
    require(is_same, "inputs untouched", "expected the arrays as they were given, it changed them")
    require(hasattr(found, "anomaly"), check, f"expected a Scored, got {type(found).__name__}")
    problem = problem_of(found, len(features), len(scorer.needs))
    require(not problem, check, problem)
    return found


def _empty(scorer: Scorer, features: Features, sequences: Sequences) -> None:
    _answer(scorer, features[:0], sequences[:0], "empty batch")


def _deterministic(scorer: Scorer, features: Features, sequences: Sequences, whole: Scored) -> None:
    again = _answer(scorer, features, sequences)
    _require_same(again, whole, np.arange(len(features)), "determinism", "expected the same bits for the same rows")


def _batch_invariant(scorer: Scorer, features: Features, sequences: Sequences, whole: Scored) -> None:
    rows = np.arange(len(features))
    for order in (rows[::-1], rows[5:42], np.roll(rows, 37), *(rows[at : at + 1] for at in (0, 17, len(rows) - 1))):
        part = _answer(scorer, np.ascontiguousarray(features[order]), np.ascontiguousarray(sequences[order]))
        problem = f"expected a row's bits in a batch of {len(order)} as in one of {len(rows)}, got others"
        _require_same(part, whole, order, "batch invariance", problem)


def _degraded(scorer: Scorer, features: Features, sequences: Sequences, whole: Scored) -> None:
    spoilt = features.copy()
    spoilt[SPOILT_ROW] = np.nan
    found = _answer(scorer, spoilt, sequences, "degraded")
    others = np.delete(np.arange(len(features)), SPOILT_ROW)
    _require_same(_part(found, others), whole, others, "degraded", "a row with NaN changed the scores of others")
    names = [name for name, rows in found.degraded.items() if rows[SPOILT_ROW]]
    require(names, "degraded", "a row whose features are NaN was scored as if they were numbers; name what failed")


def _shape_errors(scorer: Scorer, features: Features, sequences: Sequences) -> None:
    too_wide = np.concatenate([features, np.zeros((len(features), 1), np.float32)], axis=1)
    wrong: tuple[tuple[str, Callable[[], Scored]], ...] = (
        ("one feature too many", lambda: scorer.score(too_wide, sequences)),
        ("sequences of fewer rows", lambda: scorer.score(features, sequences[:-1])),
    )
    for what, call in wrong:
        try:
            call()
        except ModelError:
            continue
        except Exception as error:
            raise CheckFailedError(
                "shape errors", f"{what}: expected ModelError, got {type(error).__name__}: {error}"
            ) from error
        raise CheckFailedError("shape errors", f"{what}: expected ModelError, it gave scores")


def _part(scored: Scored, rows: NDArray[np.int64]) -> Scored:
    evidence = None if scored.evidence is None else scored.evidence[rows]
    return Scored(scored.anomaly[rows], evidence, {name: failed[rows] for name, failed in scored.degraded.items()})


def _require_same(found: Scored, whole: Scored, rows: NDArray[np.int64], check: str, problem: str) -> None:
    """`found` must hold what `whole` holds in these rows."""
    expected = _part(whole, rows)
    require(same_bits(found.anomaly, expected.anomaly), check, problem)
    one, other = found.evidence, expected.evidence
    is_same = one is other if one is None or other is None else same_bits(one, other)
    require(is_same, check, f"{problem} (evidence)")
    for name in found.degraded.keys() | expected.degraded.keys():
        none = np.zeros(len(rows), np.bool_)
        one_part, other_part = found.degraded.get(name, none), expected.degraded.get(name, none)
        require(np.array_equal(one_part, other_part), check, f"{problem} (degraded: {name})")
