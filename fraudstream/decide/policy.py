"""The threshold policy: when a score is an anomaly, and how sure a verdict is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Policy:
    """Flags the most unusual share of ordinary traffic.

    Attributes:
        contamination: share of the training traffic that is flagged.
    """

    contamination: float

    @property
    def threshold(self) -> float:
        """A score above this is an anomaly: scores are shares of the training traffic, so it is 1 - contamination."""
        return 1.0 - self.contamination

    def confidence(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """How sure each verdict is, (n,) from (n,): the share of training traffic that speaks for it.

        A flagged transaction is as sure as the share that is less unusual, the score; a normal one as sure as the
        share that is more unusual, 1 - score. So .15 gives .85, and a normal score just below the threshold little.
        """
        return np.where(scores > self.threshold, scores, 1.0 - scores)
