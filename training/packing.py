"""A history's columns as the words that the feature kernel reads; each distinct text is hashed once.

Equal, bit for bit, to making a `Transaction` of every row and packing these.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fraudstream.state.event import ABSENT, EventColumns, hash16, hash32, identities_of, words_of
from fraudstream.training.history import History
from fraudstream.training.times import NS_PER_S


@dataclass(frozen=True, slots=True, eq=False)
class PackedHistory:
    """What replay needs of a history, one entry for each row.

    Attributes:
        words: (n, EVENT_WORDS) the transactions packed.
        users: (n,) whose each is, as a place in `names`.
        names: user ids; some may have no row.
    """

    words: NDArray[np.uint32]
    users: NDArray[np.int32]
    names: list[str]

    def __len__(self) -> int:
        return len(self.words)


def pack_history(history: History) -> PackedHistory:
    """The rows of a history as words, and whose they are."""
    users = history.codes("user_id")
    words = words_of(
        EventColumns(
            times_s=history.numbers("timestamp") // NS_PER_S,
            amounts=history.numbers("amount"),
            identities=_identities(history.table["transaction_id"]),
            merchants=text_hashes(history, "merchant", hash32),
            categories=text_hashes(history, "category", hash16),
            locations=text_hashes(history, "location", hash16),
            devices=text_hashes(history, "device_id", hash32),
            latitudes=_degrees(history, "latitude"),
            longitudes=_degrees(history, "longitude"),
        )
    )
    return PackedHistory(words, users.codes, users.names)


def text_hashes(history: History, name: str, hash_of: Callable[[str], int]) -> NDArray[np.int64]:
    """(n,) hashes of a text column, `ABSENT` where there is no text or no column."""
    if name not in history:
        return np.full(len(history), ABSENT, np.int64)
    codes, names = history.codes(name)
    # The code of nothing is -1, the last.
    hashes = np.array([*(hash_of(text) if text else ABSENT for text in names), ABSENT], np.int64)
    return np.asarray(hashes[codes])


def _identities(column: pa.ChunkedArray) -> NDArray[np.uint64]:
    texts = column.cast(pa.binary())  # the bytes as they are, without a str of each
    parts = [identities_of(chunk.to_numpy(zero_copy_only=False)) for chunk in texts.chunks]
    return np.concatenate([np.empty(0, np.uint64), *parts])


def _degrees(history: History, name: str) -> NDArray[np.float64]:
    """Float32 widened to float64 is the number that a message carries."""
    if name not in history:
        return np.full(len(history), np.nan)
    return np.asarray(history.numbers(name), np.float64)
