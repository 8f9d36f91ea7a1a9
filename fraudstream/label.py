"""The label on the wire: what a transaction turned out to be, and how bytes become one or are refused with a reason."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import msgspec

from fraudstream.errors import RefusedInput
from fraudstream.transaction import CONTROL_CHARACTER, EARLIEST_S, AwareTime, Identifier, Text


class Label(msgspec.Struct, frozen=True, gc=False):
    """What a transaction turned out to be; unknown fields are ignored.

    Attributes:
        transaction_id: which transaction.
        user_id: whose; also the message key.
        is_fraud: true for fraud, false where somebody made sure that it is none.
        reported_at: when that was known; RFC 3339 with its offset.
        source: who says so, in your words, such as chargeback.
    """

    transaction_id: Identifier
    user_id: Identifier
    is_fraud: bool
    reported_at: AwareTime
    source: Text


_decode = msgspec.json.Decoder(Label).decode
_REASONS = (
    (re.compile(r"missing required field"), "missing_field"),
    (re.compile(r"timezone"), "naive_time"),
    (re.compile(r"RFC3339|Timestamp"), "absurd_time"),
    (re.compile(r"length"), "bad_length"),
)


def decode_label(key: bytes | None, value: bytes | None) -> Label:
    """Reads one JSON label.

    Raises:
        RefusedInput: with a stable reason code and a sentence on what was expected and what came.
    """
    if value is None:
        raise RefusedInput("empty_message", "message: expected a label as JSON, got a message without a value")
    try:
        label = _decode(value)
    except msgspec.ValidationError as error:
        reason = next((reason for said, reason in _REASONS if said.search(str(error))), "wrong_type")
        raise RefusedInput(reason, f"message: expected a label as JSON, got one that says {error}") from None
    except UnicodeDecodeError as error:
        raise RefusedInput("invalid_utf8", f"message: expected UTF-8, got a wrong byte at {error.start}") from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise RefusedInput("malformed_json", f"message: expected a label as JSON, got {error}") from None
    if any(map(CONTROL_CHARACTER.search, (label.transaction_id, label.user_id, label.source))):
        raise RefusedInput("control_character", "message: expected texts without control characters, got some")
    if label.reported_at < datetime.fromtimestamp(EARLIEST_S, UTC):
        raise RefusedInput(
            "absurd_time", f"reported_at: expected a time from 2000-01-01 on, got {label.reported_at.isoformat()}"
        )
    if key != label.user_id.encode():
        raise RefusedInput("key_mismatch", "key: expected the label's user_id, got another one")
    return label
