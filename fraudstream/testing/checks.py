"""How a broken promise is told: by the name of the check, what was expected and what came."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class CheckFailedError(AssertionError):
    """A feature or scorer does not keep a promise.

    Args:
        check: name of the check, such as `batch invariance`.
        problem: what was expected and what came.
    """

    def __init__(self, check: str, problem: str) -> None:
        super().__init__(f"{check}: {problem}")
        self.check = check


def require(condition: object, check: str, problem: str) -> None:
    """Raises CheckFailedError unless the condition holds."""
    if not condition:
        raise CheckFailedError(check, problem)


def same_bits(one: NDArray[np.generic], other: NDArray[np.generic]) -> bool:
    """Whether two arrays are equal to the last bit."""
    return one.shape == other.shape and one.tobytes() == other.tobytes()
