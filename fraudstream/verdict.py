"""The verdict on the wire: one for every transaction, the same bytes however often the transaction is delivered."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec

NORMAL = "normal"
NOTHING_FOUND = "No specific risk factors identified"

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class Reason(msgspec.Struct, frozen=True, gc=False):
    """Why a transaction stands out; the contributions of a verdict's reasons sum to its anomaly_score.

    Attributes:
        code: what kind of anomaly, one of the codes of docs/reasons.md.
        feature: the catalogue's feature that says most of it, `sequence` for the LSTM, `other` for the rest.
        value: what people read of it: the amount itself where the feature is a logarithm of it.
        unit: of value and usual.
        usual: what is usual for this user; null where nothing is known or it means nothing.
        contribution: this reason's part of the score.
        text: one sentence to read out.
    """

    code: str
    feature: str
    value: float
    unit: str
    usual: float | None
    contribution: float
    text: str


class MemberScores(msgspec.Struct, frozen=True, gc=False):
    """What each model says: the share of reference traffic that it finds less unusual; null where it failed, and where
    a model of one's own scores in the place of the three.

    Attributes:
        forest: of the Isolation Forest.
        autoencoder: of the autoencoder.
        lstm: of the LSTM.
    """

    forest: Share | None
    autoencoder: Share | None
    lstm: Share | None


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """The answer to one transaction.

    Attributes:
        transaction_id: of the transaction; the verdict's own identity as well.
        user_id: of the transaction.
        anomaly_score: share of the training traffic that is less unusual than this, 0 to 1.
        anomaly_type: `normal`, or the leading reason's code.
        confidence: how sure the verdict is: the score where flagged, 1 - score where not.
        explanation: the reasons as text, or that there are none.
        flagged: whether the score exceeds the threshold.
        threshold: the one that was applied, of the category where it has its own.
        reasons: why it is flagged, the leading one first, then by contribution; empty where it is not.
        members: what each model says.
        model_version: of the model that judged.
        event_time: when the payment happened, in UTC: the transaction's timestamp, or the broker's time without one.
        timestamp: the broker's time of the transaction; for /predict, the time of the answer.
        processing_time_ms: time spent on the request; null in the stream, where every delivery must be identical.
        source_partition: of the transaction in its topic (with KEYING=payload, in APP_ID-rekeyed); null for /predict.
        source_offset: of the transaction in its partition; null for /predict.
        late: the event came later than the declared lateness.
        duplicate: this transaction_id was seen before; state was not changed again.
        degraded: models that failed and are left out of the score, and features of one's own that failed.
    """

    transaction_id: str
    user_id: str
    anomaly_score: Share
    anomaly_type: str
    confidence: Share
    explanation: str
    flagged: bool
    threshold: Share
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
