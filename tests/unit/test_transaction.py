"""What is accepted as a transaction, and what a refusal says."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraudstream.dead_letter import REASONS
from fraudstream.errors import RefusedInput
from fraudstream.transaction import MAX_AMOUNT, Transaction, decode_transaction

RECEIVED_S = datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp()
GOOD: dict[str, Any] = {
    "transaction_id": "txn_001",
    "user_id": "user_123",
    "amount": 45.67,
    "merchant": "Starbucks",
    "category": "food",
    "location": "New York",
    "device_id": "device_1234",
    "timestamp": "2026-11-22T10:30:00Z",
}


def wire(**changes: Any) -> bytes:
    return json.dumps(GOOD | changes).encode()


def refusal(data: bytes | None) -> RefusedInput:
    with pytest.raises(RefusedInput) as caught:
        decode_transaction(data).time_s(RECEIVED_S)
    assert caught.value.reason in REASONS
    return caught.value


def test_a_good_transaction_is_read_as_it_is() -> None:
    transaction = decode_transaction(wire())
    assert transaction.amount == 45.67
    assert transaction.device_id == "device_1234"
    assert transaction.time_s(RECEIVED_S) == int(datetime(2026, 11, 22, 10, 30, tzinfo=UTC).timestamp())


def test_a_transaction_without_a_time_gets_the_brokers() -> None:
    assert decode_transaction(wire(timestamp=None)).time_s(RECEIVED_S + 0.9) == int(RECEIVED_S)


@pytest.mark.parametrize("stamp", [1763807400, 1763807400.9, 1763807400123])
def test_epoch_seconds_and_milliseconds_mean_the_same_second(stamp: float) -> None:
    assert decode_transaction(wire(timestamp=stamp)).time_s(RECEIVED_S) == 1763807400


def test_unknown_fields_are_ignored_and_null_optional_fields_are_absent() -> None:
    transaction = decode_transaction(wire(basket=["milk"], category=None))
    assert transaction.category is None
    assert transaction.merchant == "Starbucks"


@pytest.mark.parametrize(
    ("changes", "reason", "says"),
    [
        ({"amount": float("nan")}, "not_finite", "amount: expected a number from 0 to 42949672.95, got nan"),
        ({"amount": float("inf")}, "not_finite", "got inf"),
        ({"amount": -0.01}, "out_of_range", "got -0.01"),
        ({"amount": MAX_AMOUNT + 1}, "out_of_range", "got 42949673.95"),
        ({"amount": "45"}, "wrong_type", 'amount: expected a number from 0 to 42949672.95, got "45"'),
        ({"amount": True}, "wrong_type", "got true"),
        ({"merchant": None}, "wrong_type", "merchant: expected a string of 1 to 256 characters, got null"),
        ({"merchant": ""}, "bad_length", 'got ""'),
        ({"merchant": "x" * 900_000}, "bad_length", "(900,000 characters)"),
        ({"merchant": "a\x00b"}, "control_character", "merchant: expected text without control characters"),
        ({"user_id": 7}, "wrong_type", "user_id: expected a string of 1 to 128 characters, got 7"),
        ({"latitude": 91, "longitude": 0}, "out_of_range", "latitude: expected degrees from -90 to 90, got 91"),
        ({"latitude": 51.5}, "missing_field", "longitude: expected together with its other half"),
        ({"currency": "EURO"}, "bad_length", 'got "EURO"'),
        ({"timestamp": "2026-11-22T10:30:00"}, "naive_time", "timestamp: expected an RFC 3339 time with its offset"),
        ({"timestamp": "1999-12-31T23:59:59Z"}, "absurd_time", "got 1999-12-31T23:59:59Z"),
        ({"timestamp": "2026-11-23T12:00:01Z"}, "absurd_time", "a day after the broker's 2026-11-22T12:00:00Z"),
        ({"timestamp": 1e300}, "absurd_time", "timestamp: expected a time"),
    ],
)
def test_a_refusal_names_field_expectation_and_what_came(changes: dict[str, Any], reason: str, says: str) -> None:
    refused = refusal(wire(**changes))
    assert (refused.reason, says in refused.detail) == (reason, True), refused.detail
    assert len(refused.detail) < 300, "a reason must not carry a whole transaction"


@pytest.mark.parametrize("name", ["transaction_id", "user_id", "amount", "merchant"])
def test_each_required_field_is_asked_for(name: str) -> None:
    refused = refusal(json.dumps({key: value for key, value in GOOD.items() if key != name}).encode())
    assert refused.reason == "missing_field"
    assert refused.detail.startswith(f"{name}: expected ")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (None, "empty_message"),
        (b"", "malformed_json"),
        (wire()[:40], "malformed_json"),
        (b"[]", "wrong_type"),
        (b"null", "wrong_type"),
        (b"\xff" + wire(), "invalid_utf8"),
        (wire().replace(b"Star", b"\xe2\x28"), "invalid_utf8"),
        (wire()[:-1] + b',"amount":1}', "duplicate_key"),
        (wire()[:-1] + b',"x":{"a":1,"a":2}}', "duplicate_key"),
        (b"[" * 100_000, "malformed_json"),
        (wire().replace(b"45.67", b"9" * 5000), "malformed_json"),
        (wire().replace(b"45.67", b"1e999"), "not_finite"),
    ],
)
def test_what_is_no_json_object_is_refused(data: bytes | None, reason: str) -> None:
    assert refusal(data).reason == reason


@given(st.binary(max_size=300))
def test_no_bytes_ever_raise_anything_but_a_refusal(data: bytes) -> None:
    with pytest.raises(RefusedInput):
        decode_transaction(data)


@given(st.integers(0, len(wire()) - 1), st.integers(0, 255))
def test_one_changed_byte_is_read_or_refused(at: int, byte: int) -> None:
    data = bytearray(wire())
    data[at] = byte
    try:
        result: Transaction | str = decode_transaction(bytes(data))
    except RefusedInput as refused:
        result = refused.reason
    assert isinstance(result, Transaction) or result in REASONS
