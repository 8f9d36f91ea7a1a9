"""The verdicts of a batch, column by column: as objects for who asks one question, as JSON for the stream.

The bytes are those of `encode_verdict`. A kernel writes them from columns, because an object with its parts and two
datetimes for each transaction costs twenty times as much.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from fraudstream.decide.reasons import explanation_of
from fraudstream.verdict import NORMAL, MemberScores, Reason, Verdict
from fraudstream.wire.texts import TRANSACTION_ID, USER_ID, Texts, joined
from fraudstream.wire.verdict_kernel import FIXED_BYTES, MARKS, OF_TYPE, TOLD, write_verdicts

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class VerdictColumns:
    """What n verdicts are made of; numbers are rounded as they are sent.

    Attributes:
        texts: hold the ids of the transactions and of their users.
        anomaly: (n,)
        confidence: (n,)
        flagged: (n,)
        thresholds: (n,)
        reasons: of those that are flagged, by row.
        members: (n, 3) ranks of forest, autoencoder and lstm, NaN where one failed.
        event_s: (n,) event times, seconds since 1970.
        received_ms: (n,) the broker's times, or those of the questions.
        partitions: (n,)
        offsets: (n,)
        late: (n,)
        duplicate: (n,)
        degraded: what is left out, by row; nothing is of the others.
        source: whether they came from a stream; then partitions and offsets mean something.
    """

    texts: Texts
    anomaly: NDArray[np.float64]
    confidence: NDArray[np.float64]
    flagged: NDArray[np.bool_]
    thresholds: NDArray[np.float64]
    reasons: Mapping[int, tuple[Reason, ...]]
    members: NDArray[np.float64]
    model_version: str
    event_s: NDArray[np.int64]
    received_ms: NDArray[np.int64]
    partitions: NDArray[np.int64]
    offsets: NDArray[np.int64]
    late: NDArray[np.bool_]
    duplicate: NDArray[np.bool_]
    degraded: Mapping[int, tuple[str, ...]]
    source: bool = True

    def __len__(self) -> int:
        return len(self.anomaly)

    def type_of(self, row: int) -> str:
        """Its anomaly type."""
        reasons = self.reasons.get(row)
        return reasons[0].code if reasons else NORMAL

    def explanation_of(self, row: int) -> str:
        """Its reasons in one line."""
        return explanation_of(self.reasons.get(row, ()))


class Lines(NamedTuple):
    """Verdicts as JSON, one behind the other.

    Attributes:
        blob: (bytes,) nothing but them.
        spans: (n, 2) first byte of each, and the byte behind its last.
    """

    blob: NDArray[np.uint8]
    spans: NDArray[np.int64]

    def each(self) -> list[bytes]:
        """One by one."""
        whole = self.blob.tobytes()
        return [whole[start:end] for start, end in self.spans.tolist()]


def verdicts_of(columns: VerdictColumns) -> Iterator[Verdict]:
    """The verdicts as objects."""
    transaction_ids, user_ids = map(columns.texts.strings, (TRANSACTION_ID, USER_ID))
    for at, anomaly in enumerate(columns.anomaly.tolist()):
        yield Verdict(
            transaction_id=transaction_ids[at],
            user_id=user_ids[at],
            anomaly_score=anomaly,
            anomaly_type=columns.type_of(at),
            confidence=float(columns.confidence[at]),
            explanation=columns.explanation_of(at),
            flagged=bool(columns.flagged[at]),
            threshold=float(columns.thresholds[at]),
            reasons=columns.reasons.get(at, ()),
            members=MemberScores(*(None if rank != rank else rank for rank in columns.members[at].tolist())),  # noqa: PLR0124
            model_version=columns.model_version,
            event_time=_EPOCH + timedelta(seconds=int(columns.event_s[at])),
            timestamp=_EPOCH + timedelta(milliseconds=int(columns.received_ms[at])),
            processing_time_ms=None,
            source_partition=int(columns.partitions[at]) if columns.source else None,
            source_offset=int(columns.offsets[at]) if columns.source else None,
            late=bool(columns.late[at]),
            duplicate=bool(columns.duplicate[at]),
            degraded=columns.degraded.get(at, ()),
        )


def encoded(columns: VerdictColumns) -> Lines:
    """The same as JSON, byte for byte what `encode_verdict` makes of the objects; of a stream only."""
    piece_of, texts = _pieces(columns)
    pieces, piece_spans = joined(texts)
    version = np.frombuffer(_encode(columns.model_version), np.uint8)
    ids = columns.texts.spans[:, : USER_ID + 1]
    size = int((ids[..., 1] - ids[..., 0]).sum() + (piece_spans[:, 1] - piece_spans[:, 0])[piece_of].sum())
    blob = np.empty(size + len(columns) * (FIXED_BYTES + len(version)), np.uint8)
    spans = np.zeros((len(columns), 2), np.int64)
    write_verdicts(
        *columns.texts,
        columns.anomaly, columns.confidence, columns.members,
        pieces, piece_spans, piece_of, version,
        columns.event_s, columns.received_ms, columns.partitions, columns.offsets,
        blob, spans,
    )  # fmt: skip
    return Lines(blob[: spans[-1, 1] if len(spans) else 0], spans)


def _pieces(columns: VerdictColumns) -> tuple[NDArray[np.int64], list[bytes]]:
    """Which pieces each verdict has, (n, 3), and the pieces: nearly all verdicts share theirs with others."""
    thresholds = columns.thresholds.tolist()
    texts = [_NORMAL, _NO_MARKS]
    place_of = {threshold: at for at, threshold in enumerate(dict.fromkeys(thresholds), len(texts))}
    texts += [_told((), False, threshold) for threshold in place_of]
    piece_of = np.empty((len(columns), 3), np.int64)
    piece_of[:, OF_TYPE], piece_of[:, TOLD], piece_of[:, MARKS] = 0, [place_of[each] for each in thresholds], 1
    for row in np.flatnonzero(columns.flagged).tolist():
        reasons = columns.reasons.get(row, ())
        piece_of[row, OF_TYPE], piece_of[row, TOLD] = len(texts), len(texts) + 1
        texts += [_encode(columns.type_of(row)), _told(reasons, True, thresholds[row])]
    for row in {*np.flatnonzero(columns.late | columns.duplicate).tolist(), *columns.degraded}:
        piece_of[row, MARKS] = len(texts)
        marks = _marks(bool(columns.late[row]), bool(columns.duplicate[row]), columns.degraded.get(row, ()))
        texts.append(marks)
    return piece_of, texts


def _told(reasons: tuple[Reason, ...], flagged: bool, threshold: float) -> bytes:
    """From the explanation to the reasons, without the name of the first."""
    said = (explanation_of(reasons), flagged, threshold, reasons)
    return b'%b,"flagged":%b,"threshold":%b,"reasons":%b' % tuple(map(_encode, said))


def _marks(late: bool, duplicate: bool, degraded: tuple[str, ...]) -> bytes:
    """From `late` to the end, without its name."""
    return b'%b,"duplicate":%b,"degraded":%b' % tuple(map(_encode, (late, duplicate, degraded)))


_NORMAL, _NO_MARKS = _encode(NORMAL), _marks(False, False, ())
