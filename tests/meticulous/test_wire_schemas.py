"""transaction.json and the decoder accept the same messages, but for the exceptions that docs/topics.md lists."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import assume, event, example, given, settings

from fraudstream.errors import RefusedInput
from fraudstream.transaction import EARLIEST_S, MAX_AMOUNT, MILLISECONDS_FROM, decode_transaction
from tests.odd_transactions import BASE, NOW_S, transactions
from tests.wire import is_valid_transaction


def refusal(message: bytes) -> str | None:
    """The worker's reason to refuse a message, None where it reads it."""
    try:
        decode_transaction(message).time_s(NOW_S)
    except RefusedInput as refused:
        return refused.reason
    return None


@given(transactions())
@settings(max_examples=3_000, deadline=None)
@example(None)
@example([BASE])
@example("text")
@example(1)
@example({**BASE, "latitude": 1.5})
@example({**BASE, "latitude": 1.5, "longitude": None})
@example({**BASE, "latitude": 1.5, "longitude": 2})
@example({**BASE, "merchant": "a\n"})
@example({**BASE, "timestamp": True})
@example({**BASE, "timestamp": EARLIEST_S - 0.001})
@example({**BASE, "timestamp": EARLIEST_S})
@example({**BASE, "timestamp": MILLISECONDS_FROM})
@example({**BASE, "timestamp": EARLIEST_S * 1000 - 1})
@example({**BASE, "timestamp": EARLIEST_S * 1000})
@example({**BASE, "amount": MAX_AMOUNT})
def test_schema_and_decoder_accept_the_same(fields: Any) -> None:
    reason = refusal(json.dumps(fields).encode())
    accepted = is_valid_transaction(fields)
    assume(not (accepted and reason == "absurd_time" and beyond_a_schema(fields["timestamp"])))
    event(f"{'accepted' if accepted else 'refused'}: {reason}")
    assert accepted is (reason is None), f"schema {accepted}, decoder {reason or True}: {fields!r}"


def beyond_a_schema(stamp: object) -> bool:
    """Whether a time is one of those that only the decoder can refuse: no day of its month, in 1999, or to come."""
    if isinstance(stamp, str):
        return stamp.startswith("1999") or stamp[8:10] in {"29", "30", "31"}
    return isinstance(stamp, int | float) and stamp > (NOW_S * 1000 if stamp >= MILLISECONDS_FROM else NOW_S)


REFUSED_BEYOND_THE_SCHEMA = {
    "a key twice": (b'{"transaction_id":"t","user_id":"u","amount":1,"merchant":"m","amount":1}', "duplicate_key"),
    "a key twice, deep": (b'{"transaction_id":"t","user_id":"u","amount":1,"merchant":"m","x":{"a":1,"a":1}}', None),
    "half a surrogate": (b'{"transaction_id":"t","user_id":"u","amount":1,"merchant":"\\ud800"}', "malformed_json"),
    "no such day": (json.dumps({**BASE, "timestamp": "2026-02-30T00:00:00Z"}).encode(), "absurd_time"),
    "not yet 2000": (json.dumps({**BASE, "timestamp": "1999-12-31T23:59:59Z"}).encode(), "absurd_time"),
    "in two days": (json.dumps({**BASE, "timestamp": NOW_S + 2 * 86_400}).encode(), "absurd_time"),
    "deep": (json.dumps(BASE)[:-1].encode() + b',"x":' + b"[" * 20_000 + b"]" * 20_000 + b"}", "malformed_json"),
}


@pytest.mark.parametrize("name", REFUSED_BEYOND_THE_SCHEMA)
def test_what_only_the_decoder_can_refuse(name: str) -> None:
    message, reason = REFUSED_BEYOND_THE_SCHEMA[name]
    assert refusal(message) == (reason or "duplicate_key")
    if name not in {"deep", "half a surrogate"}:  # some readers of JSON refuse these before any schema does
        assert is_valid_transaction(json.loads(message))


@pytest.mark.parametrize("stamp", ["2026-01-01 00:00:00Z", "2026-01-01T00:00:00+0100"])
def test_what_is_read_and_not_promised(stamp: str) -> None:
    fields = {**BASE, "timestamp": stamp}
    assert refusal(json.dumps(fields).encode()) is None
    assert not is_valid_transaction(fields)


def test_the_last_hours_of_1999_may_be_2000_in_utc() -> None:
    fields = {**BASE, "timestamp": "1999-12-31T23:30:00-05:00"}
    assert refusal(json.dumps(fields).encode()) is None
    assert is_valid_transaction(fields)
