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

SMALL_BLOCK_ROWS = 16
"""For few rows, as requests bring them: less than half the time of a whole block. Only where it gives the same bits."""


class _SmallBlocks:
    """Whether this machine's matrix library gives the same bits in small blocks; None until a warm-up has found out."""

    def __init__(self) -> None:
        self.are_exact: bool | None = None


small_blocks = _SmallBlocks()


def block_rows(rows: int) -> int:
    """How many rows a block has in a batch of so many."""
    return SMALL_BLOCK_ROWS if rows <= SMALL_BLOCK_ROWS and small_blocks.are_exact else BLOCK_ROWS


def padded(rows: NDArray[Any]) -> NDArray[Any]:
    """The rows with rows of zeros behind them, up to a whole number of blocks; C order."""
    missing = -len(rows) % block_rows(len(rows))
    if missing == 0:
        return np.ascontiguousarray(rows)
    result = np.zeros((len(rows) + missing, *rows.shape[1:]), rows.dtype)
    result[: len(rows)] = rows
    return result


def block_tensors(*arrays: NDArray[Any]) -> Iterator[tuple[slice, list[torch.Tensor]]]:
    """Padded arrays of equal length, a block at a time, copied to where torch aligns its memory."""
    size = block_rows(len(arrays[0]))
    for start in range(0, len(arrays[0]), size):
        rows = slice(start, start + size)
        yield rows, [torch.from_numpy(array[rows]).clone() for array in arrays]
