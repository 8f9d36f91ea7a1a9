"""Verdicts as JSON, a batch at a time; the fields and their order are those of `Verdict`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fraudstream.compiled import Int, compiled
from fraudstream.wire.numbers import (
    NUMBER_BYTES,
    TIME_BYTES,
    Bytes,
    put,
    put_int,
    put_share,
    put_time,
    put_whole,
)
from fraudstream.wire.texts import TRANSACTION_ID, USER_ID

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

OF_TYPE, TOLD, MARKS = range(3)
"""Pieces of a verdict that are the same for nearly all: its anomaly type; explanation, threshold and reasons; what is
special about its transaction."""


def _text(text: str) -> Bytes:
    return np.frombuffer(text.encode(), np.uint8)


_TRANSACTION = _text('{"transaction_id":"')
_USER = _text('","user_id":"')
_SCORE = _text('","anomaly_score":')
_TYPE = _text(',"anomaly_type":')
_CONFIDENCE = _text(',"confidence":')
_EXPLANATION = _text(',"explanation":')
_FOREST = _text(',"members":{"forest":')
_AUTOENCODER = _text(',"autoencoder":')
_LSTM = _text(',"lstm":')
_MODEL = _text('},"model_version":')
_EVENT_TIME = _text(',"event_time":')
_TIMESTAMP = _text(',"timestamp":')
_PARTITION = _text(',"processing_time_ms":null,"source_partition":')
_OFFSET = _text(',"source_offset":')
_LATE = _text(',"late":')
_END = _text("}")

_SHARE_BYTES = 8
FIXED_BYTES = (
    sum(map(len, (_TRANSACTION, _USER, _SCORE, _TYPE, _CONFIDENCE, _EXPLANATION, _FOREST, _AUTOENCODER, _LSTM)))
    + sum(map(len, (_MODEL, _EVENT_TIME, _TIMESTAMP, _PARTITION, _OFFSET, _LATE, _END)))
    + 5 * _SHARE_BYTES
    + 2 * TIME_BYTES
    + 2 * NUMBER_BYTES
)
"""What a verdict needs at most beside its ids, its pieces and the model's version."""


@compiled
def write_verdicts(
    blob: Bytes,
    spans: Ints,
    anomaly: Floats,
    confidence: Floats,
    members: Floats,
    pieces: Bytes,
    piece_spans: Ints,
    piece_of: Ints,
    model_version: Bytes,
    event_s: Ints,
    received_ms: Ints,
    partitions: Ints,
    offsets: Ints,
    out: Bytes,
    out_spans: Ints,
) -> None:
    """Writes n verdicts one behind the other.

    Args:
        blob: with `spans` (n, columns, 2) as in `Texts`.
        anomaly: (n,) rounded, as `confidence` (n,) and `members` (n, 3), NaN where one failed.
        pieces: with `piece_spans` (pieces, 2) and `piece_of` (n, 3), which of them each verdict has.
        out: (bytes,) large enough.
        out_spans: (n, 2) where each verdict is.
    """
    at = 0
    for row in range(len(anomaly)):
        out_spans[row, 0] = at
        at = put_whole(out, at, _TRANSACTION)
        at = put(out, at, blob, spans[row, TRANSACTION_ID, 0], spans[row, TRANSACTION_ID, 1])
        at = put_whole(out, at, _USER)
        at = put(out, at, blob, spans[row, USER_ID, 0], spans[row, USER_ID, 1])
        at = put_whole(out, at, _SCORE)
        at = put_share(out, at, anomaly[row])
        at = put_whole(out, at, _TYPE)
        at = _put_piece(out, at, pieces, piece_spans, piece_of[row, OF_TYPE])
        at = put_whole(out, at, _CONFIDENCE)
        at = put_share(out, at, confidence[row])
        at = put_whole(out, at, _EXPLANATION)
        at = _put_piece(out, at, pieces, piece_spans, piece_of[row, TOLD])
        at = put_whole(out, at, _FOREST)
        at = put_share(out, at, members[row, 0])
        at = put_whole(out, at, _AUTOENCODER)
        at = put_share(out, at, members[row, 1])
        at = put_whole(out, at, _LSTM)
        at = put_share(out, at, members[row, 2])
        at = put_whole(out, at, _MODEL)
        at = put_whole(out, at, model_version)
        at = put_whole(out, at, _EVENT_TIME)
        at = put_time(out, at, event_s[row] * 1000)
        at = put_whole(out, at, _TIMESTAMP)
        at = put_time(out, at, received_ms[row])
        at = put_whole(out, at, _PARTITION)
        at = put_int(out, at, partitions[row])
        at = put_whole(out, at, _OFFSET)
        at = put_int(out, at, offsets[row])
        at = put_whole(out, at, _LATE)
        at = _put_piece(out, at, pieces, piece_spans, piece_of[row, MARKS])
        at = put_whole(out, at, _END)
        out_spans[row, 1] = at


@compiled
def _put_piece(out: Bytes, at: Int, pieces: Bytes, piece_spans: Ints, which: Int) -> Int:
    return put(out, at, pieces, piece_spans[which, 0], piece_spans[which, 1])
