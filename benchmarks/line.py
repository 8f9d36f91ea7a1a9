"""A straight line through measured points, and how well its slope is known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MOST_CORRELATED = 0.95


@dataclass(frozen=True, slots=True)
class Line:
    """y = intercept + slope · x.

    Attributes:
        slope_error: standard error of the slope. Where neighbours resemble each other it is widened by
            √((1 + ρ) / (1 - ρ)), ρ the correlation of neighbouring residuals: they tell less than so many points would.
    """

    intercept: float
    slope: float
    slope_error: float

    @classmethod
    def through(cls, xs: Sequence[float], ys: Sequence[float]) -> Line:
        """The line of least squares through at least three points, in the order of x.

        Raises:
            ValueError: fewer points, or all of them at one x.
        """
        x, y = np.asarray(xs, np.float64), np.asarray(ys, np.float64)
        if len(x) < 3 or np.ptp(x) == 0:  # noqa: PLR2004  two points leave no residual
            raise ValueError(f"expected at least three points at several places, got {len(x)}")
        apart = x - x.mean()
        squares = float(apart @ apart)
        slope = float(apart @ y) / squares
        intercept = float(y.mean() - slope * x.mean())
        residuals = y - intercept - slope * x
        left = float(residuals @ residuals)
        error = math.sqrt(left / (len(x) - 2) / squares)
        neighbours = float(residuals[1:] @ residuals[:-1]) / left if left > 0 else 0.0
        alike = min(max(neighbours, 0.0), MOST_CORRELATED)
        return cls(intercept, slope, error * math.sqrt((1 + alike) / (1 - alike)))

    def at(self, x: float) -> float:
        """The line's y."""
        return self.intercept + self.slope * x
