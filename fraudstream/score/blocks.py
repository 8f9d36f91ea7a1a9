"""Rows filled up to whole vectors, so that a row's bits do not depend on the batch it comes in.

numpy's functions take another way for what is left of an array behind its last whole vector. The kernels of the
library need none of this: they go row by row.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

VECTOR_ROWS = 16
"""As many single-precision numbers as the widest vectors hold."""


def padded(rows: NDArray[Any]) -> NDArray[Any]:
    """The rows with rows of zeros behind them, up to a whole number of vectors; C order."""
    missing = -len(rows) % VECTOR_ROWS
    if missing == 0:
        return np.ascontiguousarray(rows)
    result = np.zeros((len(rows) + missing, *rows.shape[1:]), rows.dtype)
    result[: len(rows)] = rows
    return result
