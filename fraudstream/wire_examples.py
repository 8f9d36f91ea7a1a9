"""One example of each message, made of the types that real messages are made of, so that none can lack a field."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from fraudstream.dead_letter import DeadLetter
from fraudstream.decide import codes
from fraudstream.errors import RefusedInput
from fraudstream.label import Label
from fraudstream.transaction import Transaction, decode_transaction, encode_transaction
from fraudstream.verdict import NORMAL, NOTHING_FOUND, MemberScores, Reason, Verdict, encode_verdict

PAYMENT = Transaction(
    transaction_id="txn_001",
    user_id="user_123",
    amount=45.67,
    merchant="Starbucks",
    category="food",
    location="New York",
    device_id="device_1234",
    timestamp=datetime(2026, 11, 22, 10, 30, tzinfo=UTC),
)
JUDGED = Verdict(
    transaction_id=PAYMENT.transaction_id,
    user_id=PAYMENT.user_id,
    anomaly_score=0.15,
    anomaly_type=NORMAL,
    confidence=0.85,
    explanation=NOTHING_FOUND,
    flagged=False,
    threshold=0.9,
    reasons=(),
    members=MemberScores(0.12, 0.2, 0.1),
    model_version="m-3f2a9c1e",
    event_time=datetime(2026, 11, 22, 10, 30, tzinfo=UTC),
    timestamp=datetime(2026, 11, 22, 10, 30, 1, tzinfo=UTC),
    processing_time_ms=None,
    source_partition=2,
    source_offset=4711,
    late=False,
    duplicate=False,
    degraded=(),
)
STOLEN = msgspec.structs.replace(
    JUDGED,
    transaction_id="txn_009",
    anomaly_score=0.969553,
    anomaly_type=codes.AMOUNT_FOR_USER,
    confidence=0.969553,
    explanation="Amount 912.40 is 14 times this user's usual 64.75; Smaller signals together",
    flagged=True,
    reasons=(
        Reason(
            code=codes.AMOUNT_FOR_USER,
            feature="amount_to_mean_lifetime",
            value=912.4,
            unit="currency",
            usual=64.75,
            contribution=0.845106,
            text="Amount 912.40 is 14 times this user's usual 64.75",
        ),
        Reason(
            code=codes.OTHER_SIGNALS,
            feature="other",
            value=5.0,
            unit="signals",
            usual=None,
            contribution=0.124447,
            text="Smaller signals together",
        ),
    ),
    members=MemberScores(0.967429, 0.975797, 0.883138),
    event_time=datetime(2026, 11, 23, 3, 0, tzinfo=UTC),
    timestamp=datetime(2026, 11, 23, 3, 0, 1, tzinfo=UTC),
    source_offset=4893,
)
UNREADABLE = b'{"transaction_id":"txn_002","user_id":"user_123","amount":"45.67","merchant":"Starbucks"}'


def transaction_example() -> dict[str, Any]:
    """A transaction as one would send it, without the fields that are absent."""
    sent = msgspec.json.decode(encode_transaction(PAYMENT))
    return {"name": "payment", "payload": {name: value for name, value in sent.items() if value is not None}}


def verdict_example() -> dict[str, Any]:
    """A verdict on that transaction."""
    return {"name": "ordinary", "payload": msgspec.json.decode(encode_verdict(JUDGED))}


def alert_example() -> dict[str, Any]:
    """A verdict that is flagged, with its reasons."""
    return {"name": "stolen card", "payload": msgspec.json.decode(encode_verdict(STOLEN))}


def label_example() -> dict[str, Any]:
    """A label on that transaction."""
    label = Label(
        transaction_id=STOLEN.transaction_id,
        user_id=STOLEN.user_id,
        is_fraud=True,
        reported_at=datetime(2026, 12, 12, 9, 0, tzinfo=UTC),
        source="chargeback",
    )
    return {"name": "chargeback", "payload": msgspec.json.decode(msgspec.json.encode(label))}


def dead_letter_example(topic: str) -> dict[str, Any]:
    """A message with text in place of a number, and what is said of it.

    Args:
        topic: of the transactions.

    Raises:
        ValueError: the example can be read, so it is none.
    """
    try:
        decode_transaction(UNREADABLE)
    except RefusedInput as refused:
        letter = DeadLetter.of(topic, 2, 4712, b"user_123", UNREADABLE, refused)
        headers = {name: text.decode() for name, text in letter.headers()}
        return {"name": "text in place of a number", "headers": headers, "payload": UNREADABLE.decode()}
    raise ValueError(f"expected a message that cannot be read, got {UNREADABLE!r}")
