"""Where the texts of a batch's transactions lie, so that kernels copy them without an object for each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from fraudstream.compiled import compiled
from fraudstream.wire.numbers import put

TEXT_COLUMNS = 4
TRANSACTION_ID, USER_ID, KEY, SOURCE = range(TEXT_COLUMNS)
"""Columns of `Texts.spans`: the two ids as they stand in JSON, without quotes; the message's key; the transaction's
bytes, as evidence keeps them."""

TERMINATOR = b"\0"
"""Stands behind each text that a kernel reads: no token of JSON holds it."""
PADDING = bytes(32)
"""Stands behind the last one: as far as a kernel reads at once."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(list[str]).decode


class Texts(NamedTuple):
    """Texts of n transactions in one buffer.

    Attributes:
        blob: (bytes,) holds them all, and may hold more.
        spans: (n, 4, 2) first byte of each text, and the byte behind its last.
    """

    blob: NDArray[np.uint8]
    spans: NDArray[np.int64]

    def of(self, column: int) -> list[bytes]:
        """One of the texts of each transaction."""
        whole = self.blob.tobytes()
        return [whole[start:end] for start, end in self.spans[:, column].tolist()]

    def strings(self, column: int) -> list[str]:
        """One of the ids of each transaction."""
        texts = self.of(column)
        return _decode(b'["' + b'","'.join(texts) + b'"]') if texts else []

    def replaced(self, rows: Sequence[int], texts: Texts) -> Texts:
        """The same, but for the texts of some transactions."""
        blob, spans = np.concatenate((self.blob, texts.blob)), self.spans.copy()
        blob.flags.writeable = False  # as all others: to a kernel one that can be written is of another type
        spans[rows] = texts.spans + len(self.blob)
        return Texts(blob, spans)


def texts_of(*columns: Sequence[bytes]) -> Texts:
    """Texts that are at hand as objects, in the order of the columns."""
    blob, spans = joined(chain.from_iterable(columns))
    return Texts(blob, np.ascontiguousarray(spans.reshape(len(columns), -1, 2).swapaxes(0, 1)))


def joined(texts: Iterable[bytes]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Texts one behind the other, (bytes,), and where each lies, (n, 2)."""
    parts = list(texts)
    sizes = np.fromiter([len(part) for part in parts], np.int64, len(parts))
    ends = np.cumsum(sizes)
    return np.frombuffer(b"".join(parts), np.uint8), np.stack((ends - sizes, ends), axis=1)


def json_texts(texts: Sequence[str]) -> list[bytes]:
    """Each as it stands in JSON between its quotes, as the ids in `Texts` do."""
    whole: bytes = _encode(texts)
    if not texts or b"\\" in whole:  # with a backslash a quote may be a part of a text
        return [_encode(text)[1:-1] for text in texts]
    return whole[2:-2].split(b'","')


@compiled
def gathered(
    blob: NDArray[np.uint8], spans: NDArray[np.int64], rows: NDArray[np.int64]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The texts of some rows in a buffer of their own, (bytes,), and where they lie there; spans are (n, texts, 2)."""
    size = 0
    for row in rows:
        for text in range(spans.shape[1]):
            size += spans[row, text, 1] - spans[row, text, 0]
    own, places = np.empty(size, np.uint8), np.empty((len(rows), spans.shape[1], 2), np.int64)
    at = 0
    for place in range(len(rows)):
        for text in range(spans.shape[1]):
            start, end = spans[rows[place], text, 0], spans[rows[place], text, 1]
            places[place, text, 0] = at
            at = places[place, text, 1] = put(own, at, blob, start, end)
    return own, places
