"""The built-in ensemble in the form of a scorer: to be held against one of one's own, or to be a part of it."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fraudstream.score.scorer import Scorer


def built_in_scorer(model: str | PathLike[str] | None = None) -> Scorer:
    """The three models of a directory made by `fraudstream train`, or of the package.

    Raises:
        ModelError: the model cannot be used; says why.
    """
    from fraudstream.score.artifact import DEFAULT_MODEL, load
    from fraudstream.score.exchange import EnsembleScorer

    found = load(DEFAULT_MODEL if model is None else Path(model))
    return EnsembleScorer(found.ensemble, found.version)
