"""The verdict on the wire: one for every transaction, the same bytes however often the transaction is delivered."""

from __future__ import annotations

from datetime import datetime

import msgspec

NORMAL = "normal"
NOTHING_FOUND = "No specific risk factors identified"


class Reason(msgspec.Struct, frozen=True, gc=False):
    """Why a transaction stands out.

    Attributes:
        code: what kind of anomaly, one of the reason codes, or that of a feature of one's own.
        feature: the catalogue's feature that stands out, or `sequence` for the LSTM.
        value: its value for this transaction, in the catalogue's unit.
        share: this reason's part of the score, all of a verdict's reasons sum to at most 1.
        text: one sentence to read out.
    """

    code: str
    feature: str
    value: float
    share: float
    text: str


class MemberScores(msgspec.Struct, frozen=True, gc=False):
    """What each model says: the share of reference traffic that it finds less unusual; null where it failed,
    and where another model than the built-in ensemble scores."""

    forest: float | None
    autoencoder: float | None
    lstm: float | None


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """The answer to one transaction.

    Attributes:
        anomaly_score: share of the training traffic that is less unusual than this, 0 to 1.
        anomaly_type: `normal`, or the leading reason's code.
        confidence: how sure the verdict is: the score where flagged, 1 - score where not.
        flagged: whether the score exceeds the threshold.
        threshold: the one that was applied, of the category where it has its own.
        timestamp: the broker's time of the transaction; for /predict, the time of the answer.
        processing_time_ms: time spent on the request; null in the stream, where every delivery must be identical.
        late: the event came later than the declared lateness.
        duplicate: this transaction_id was seen before; state was not changed again.
        degraded: models that failed and are left out of the score, and features of one's own that failed.
    """

    transaction_id: str
    user_id: str
    anomaly_score: float
    anomaly_type: str
    confidence: float
    explanation: str
    flagged: bool
    threshold: float
    reasons: tuple[Reason, ...]
    members: MemberScores
    model_version: str
    event_time: datetime
    timestamp: datetime
    processing_time_ms: float | None
    source_partition: int | None
    source_offset: int | None
    late: bool
    duplicate: bool
    degraded: tuple[str, ...]


encode_verdict = msgspec.json.Encoder().encode
decode_verdict = msgspec.json.Decoder(Verdict).decode
