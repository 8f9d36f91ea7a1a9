"""The threshold policy: when a score is an anomaly, for everybody or for each category, and how sure a verdict is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from fraudstream.features.reference import HASHES

if TYPE_CHECKING:
    from fraudstream.score.ensemble import Ensemble

Segments = Literal["none", "category"]
"""Of which traffic the contamination is a share: of all of it, or of that of each category."""

FEWEST_ABOVE = 25
"""Reference rows of a category that must lie above a threshold of its own: the share is then known to about one part
in five (1 / sqrt(25)), and a category's alert rate is not made by a handful of its payments."""


@dataclass(frozen=True, slots=True, eq=False)
class Policy:
    """Flags the most unusual share of ordinary traffic.

    Attributes:
        contamination: share of the training traffic that is flagged.
        by_category: category hash -> threshold of the categories that have one of their own; None: nobody asked.
    """

    contamination: float
    by_category: Mapping[int, float] | None = None
    _table: NDArray[np.float64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        table = np.full(HASHES if self.by_category else 1, self.threshold)
        for category, threshold in (self.by_category or {}).items():
            table[category] = threshold
        object.__setattr__(self, "_table", table)

    @classmethod
    def of(cls, contamination: float, segments: Segments, ensemble: Ensemble) -> Policy:
        """The policy for a model; what its categories need is read from its reference rows.

        The share holds for scores of all members. Where one failed, it holds overall and about so in a category.
        """
        if segments == "none":
            return cls(contamination)
        return cls(contamination, dict(_thresholds(contamination, ensemble)))

    @property
    def threshold(self) -> float:
        """A score above this is an anomaly: scores are shares of the training traffic, so it is 1 - contamination.

        Categories may have one of their own, see `thresholds`.
        """
        return 1.0 - self.contamination

    def thresholds(self, category: NDArray[np.integer]) -> NDArray[np.float64]:
        """The threshold that applies to each transaction, (n,) from (n,) category hashes, `ABSENT` for none."""
        return self._table[category] if self.by_category else np.full(len(category), self.threshold)

    def confidence(self, scores: NDArray[np.float64], thresholds: NDArray[np.float64]) -> NDArray[np.float64]:
        """How sure each verdict is, (n,) from (n,) and (n,): the share of training traffic that speaks for it.

        A flagged transaction is as sure as the share that is less unusual, the score; a normal one as sure as the
        share that is more unusual, 1 - score. So .15 gives .85, and a normal score just below the threshold little.
        """
        return np.where(scores > thresholds, scores, 1.0 - scores)


def _thresholds(contamination: float, ensemble: Ensemble) -> Iterator[tuple[int, float]]:
    scores, category = ensemble.reference_anomaly(), ensemble.reference_categories
    known, rows = np.unique(category, return_counts=True)
    for one in known[rows * contamination >= FEWEST_ABOVE].tolist():
        # The middle of the i-th of n is (i + 0.5) / n, as it is in a RankTable.
        yield one, float(np.quantile(scores[category == one], 1.0 - contamination, method="hazen"))
