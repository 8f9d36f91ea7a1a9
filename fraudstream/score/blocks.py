"""Fixed-size blocks of rows, so that a row's score has the same bits whatever batch it comes in.

Matrix products choose their inner order by the shape of the whole matrix, and vector loops treat the rest of an array
differently from its body. With one shape and no rest, a row's bits depend on the row alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

BLOCK_ROWS = 128
"""Half as many cost 3 µs a row more in full batches, twice as many save nothing; a batch of one pays for all."""


def padded(rows: NDArray[Any]) -> NDArray[Any]:
    """The rows with rows of zeros behind them, up to a whole number of blocks; C order."""
    missing = -len(rows) % BLOCK_ROWS
    if missing == 0:
        return np.ascontiguousarray(rows)
    result = np.zeros((len(rows) + missing, *rows.shape[1:]), rows.dtype)
    result[: len(rows)] = rows
    return result


def block_tensors(*arrays: NDArray[Any]) -> Iterator[tuple[slice, list[torch.Tensor]]]:
    """Padded arrays of equal length, a block at a time, copied to where torch aligns its memory."""
    for start in range(0, len(arrays[0]), BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        yield rows, [torch.from_numpy(array[rows]).clone() for array in arrays]
