"""A model: the largest of a few features that are z-scores already, ranked among those of ordinary traffic."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fraudstream import RankTable, Scored, Settings
from fraudstream.errors import ModelError

REFERENCE = Path(__file__).with_name("reference.json")
"""Scores of ordinary traffic, made by `python -m zscore_scorer`: what a share is a share of."""


class ZScores:
    """Scores by the largest z-score.

    Args:
        reference: (m,) raw scores of ordinary traffic.
    """

    name = "zscore"
    version = "1"
    needs = ("amount_z", "amount_z_category", "category_rarity", "hour_rarity")

    def __init__(self, reference: NDArray[np.float64]) -> None:
        self._ranks = RankTable.of(reference)

    def score(self, features: NDArray[np.float32], sequences: NDArray[np.uint32]) -> Scored:
        """Scores each row by itself: what is not a number is left out, and the verdict says so."""
        if features.shape != (len(sequences), len(self.needs)):
            raise ModelError(f"expected {len(self.needs)} features of {len(sequences)} rows, got {features.shape}")
        failed = np.isnan(features)
        high = np.where(failed, 0.0, features).astype(np.float64).clip(0.0)
        degraded = {name: failed[:, at] for at, name in enumerate(self.needs) if failed[:, at].any()}
        return Scored(self._ranks(raw_scores(high)), evidence=high**2, degraded=degraded)


def raw_scores(high: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) from (n, needs) z-scores that are not negative."""
    largest: NDArray[np.float64] = high.max(axis=1)
    return largest


def load(_settings: Settings) -> ZScores:
    """What the entry point names: makes the scorer of a process."""
    return ZScores(np.array(json.loads(REFERENCE.read_text(encoding="utf-8"))))


def fit(transactions: Any, quantiles: int = 501) -> list[float]:
    """Raw scores of ordinary traffic, thinned out; `transactions` as `Detector.score` takes them."""
    from fraudstream import Detector

    detector = Detector.load()
    features = detector.score(transactions).features
    columns = [detector.feature_names.index(name) for name in ZScores.needs]
    raw = raw_scores(features[:, columns].astype(np.float64).clip(0.0))
    return [round(value, 6) for value in np.quantile(raw, np.linspace(0.0, 1.0, quantiles)).tolist()]
