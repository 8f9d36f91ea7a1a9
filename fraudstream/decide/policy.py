"""The threshold policy: when a score is an anomaly, and how sure a verdict is."""

from __future__ import annotations

from dataclasses import dataclass


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

    def confidence(self, score: float) -> float:
        """How sure the verdict is: the share of training traffic that would have to be wrong for another one.

        A flagged transaction is as sure as the share that is less unusual, the score; a normal one as sure as the
        share that is more unusual, 1 - score. So .15 gives .85, and a normal score just below the threshold little.
        """
        return score if score > self.threshold else 1.0 - score
