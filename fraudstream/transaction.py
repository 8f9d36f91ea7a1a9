"""The transaction on the wire: its fields and limits, and how bytes become one or are refused with a clear reason.

The good case costs about a microsecond; only a message that fails is read a second time, slowly, to say what is wrong.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec

from fraudstream.errors import RefusedInput

MAX_AMOUNT = 42_949_672.95
"""Largest amount in main units: 2^32 - 1 cents, what a profile can hold exactly."""

MAX_ID_CHARS = 128
MAX_TEXT_CHARS = 256

EARLIEST_S = 946_684_800
"""2000-01-01: a card payment before it is a mistake in the clock or in the unit."""

FUTURE_TOLERANCE_S = 86_400
"""An event time may be this far after the broker's time; further would push real events out of every window."""

LAST_S = 2**32 - 1 - FUTURE_TOLERANCE_S
"""A day before February 2106: as far as the event times in a profile go, the broker's time may be."""

MILLISECONDS_FROM = 100_000_000_000
"""An epoch time from here on is in milliseconds: read as seconds it would lie after the year 5100."""

# What a JSON Schema says beyond what msgspec checks; the decoder checks it by its own, faster way.
# "not" and no anchors: in some languages `$` also matches before a line's end.
SCHEMA_OF_TEXT: dict[str, Any] = {"not": {"pattern": r"[\x00-\x1f\x7f]"}}
_SCHEMA_OF_TIME: dict[str, Any] = {
    "pattern": "^(1999|[2-9][0-9]{3})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
    "[Tt]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]+)?([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$"
}
_SCHEMA_OF_EPOCH: dict[str, Any] = {
    "anyOf": [
        {"title": "seconds", "minimum": EARLIEST_S, "exclusiveMaximum": MILLISECONDS_FROM},
        {"title": "milliseconds", "minimum": EARLIEST_S * 1000},
    ]
}

Identifier = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ID_CHARS, extra_json_schema=SCHEMA_OF_TEXT)]
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_TEXT_CHARS, extra_json_schema=SCHEMA_OF_TEXT)]
Amount = Annotated[float, msgspec.Meta(ge=0, le=MAX_AMOUNT)]
Latitude = Annotated[float, msgspec.Meta(ge=-90, le=90)]
Longitude = Annotated[float, msgspec.Meta(ge=-180, le=180)]
Currency = Annotated[str, msgspec.Meta(min_length=3, max_length=3, extra_json_schema=SCHEMA_OF_TEXT)]
AwareTime = Annotated[datetime, msgspec.Meta(tz=True, extra_json_schema=_SCHEMA_OF_TIME)]
EpochSeconds = Annotated[int, msgspec.Meta(extra_json_schema=_SCHEMA_OF_EPOCH)]
EpochFraction = Annotated[float, msgspec.Meta(extra_json_schema=_SCHEMA_OF_EPOCH)]


class Transaction(msgspec.Struct, frozen=True, gc=False):
    """A card transaction as users produce it; unknown fields are ignored, a null optional field is an absent one.

    Attributes:
        transaction_id: the transaction's name; one that the user's profile still holds marks a duplicate.
        user_id: whose card it is; also the message key, so that one partition holds all of a user.
        amount: in main units of the currency; amounts are not converted between currencies.
        merchant: where the money goes; the same text is the same merchant.
        category: kind of merchant, in your words.
        location: place in your words, such as a city.
        device_id: what the payment was made with.
        timestamp: event time; RFC 3339 with its offset, or epoch seconds or milliseconds; absent: the broker's time.
        latitude: degrees north; together with the longitude.
        longitude: degrees east; together with the latitude.
        currency: three letters (ISO 4217).
    """

    transaction_id: Identifier
    user_id: Identifier
    amount: Amount
    merchant: Text
    category: Text | None = None
    location: Text | None = None
    device_id: Text | None = None
    timestamp: AwareTime | EpochSeconds | EpochFraction | None = None
    latitude: Latitude | None = None
    longitude: Longitude | None = None
    currency: Currency | None = None

    def time_s(self, received_s: float) -> int:
        """Event time in whole seconds since 1970; the broker's time where the transaction names none.

        Raises:
            RefusedInput: the time lies before 2000 or more than a day after `received_s`, or that is no
                time that a broker can have.
        """
        if not -1 < received_s <= LAST_S:  # a message without a time has -1 ms
            raise RefusedInput(
                "absurd_time",
                f"message: expected a broker's time from 1970 to 2106, got {_iso(received_s)}; where producers give "
                "their messages a time, it is in milliseconds since 1970",
            )
        stamp = self.timestamp
        if stamp is None:
            return int(received_s)
        if isinstance(stamp, datetime):
            second = math.floor(stamp.timestamp())
        else:
            second = math.floor(stamp / 1000 if stamp >= MILLISECONDS_FROM else stamp)
        if EARLIEST_S <= second <= received_s + FUTURE_TOLERANCE_S:
            return second
        raise RefusedInput(
            "absurd_time",
            f"timestamp: expected a time from 2000-01-01 to a day after the broker's "
            f"{_iso(received_s)}, got {_iso(second)}",
        )


@dataclass(frozen=True, slots=True)
class _Field:
    types: tuple[type, ...]
    expected: str


_ID_FIELD = _Field((str,), f"a string of 1 to {MAX_ID_CHARS} characters")
_TEXT_FIELD = _Field((str,), f"a string of 1 to {MAX_TEXT_CHARS} characters")
_FIELDS = {
    "transaction_id": _ID_FIELD,
    "user_id": _ID_FIELD,
    "amount": _Field((int, float), f"a number from 0 to {MAX_AMOUNT:.2f}"),
    "merchant": _TEXT_FIELD,
    "category": _TEXT_FIELD,
    "location": _TEXT_FIELD,
    "device_id": _TEXT_FIELD,
    "timestamp": _Field((str, int, float), "an RFC 3339 time with its offset (2026-11-22T10:30:00Z) or epoch seconds"),
    "latitude": _Field((int, float), "degrees from -90 to 90"),
    "longitude": _Field((int, float), "degrees from -180 to 180"),
    "currency": _Field((str,), "a code of 3 letters (ISO 4217)"),
}
_REQUIRED = ("transaction_id", "user_id", "amount", "merchant")

_SHOWN_CHARS = 60
_ERROR_FIELD = re.compile(r"`\$\.(\w+)`")
CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_decode = msgspec.json.Decoder(Transaction).decode
encode_transaction = msgspec.json.Encoder().encode


def decode_transaction(data: bytes | None) -> Transaction:
    """Reads one JSON transaction.

    Raises:
        RefusedInput: with a stable reason code and a sentence naming the field, what was expected and what came.
    """
    if data is None:
        raise RefusedInput("empty_message", "message: expected a JSON object, got a message without a value")
    try:
        transaction = _decode(data)
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise _explain(data, error) from None
    # `":` ends each key, so one per known field that is set means that no key came twice. Anything else
    # (null or unknown fields, blanks before a colon, quotes in a text) is looked at closely.
    if data.count(b'":') != _fields_set(transaction):
        _object_of(data)
    if b"\\" in data or b"\x7f" in data:
        _refuse_control_characters(transaction)
    if (transaction.latitude is None) is not (transaction.longitude is None):
        absent = "latitude" if transaction.latitude is None else "longitude"
        raise RefusedInput("missing_field", f"{absent}: expected together with its other half, the field is missing")
    return transaction


def _fields_set(transaction: Transaction) -> int:
    return (
        len(_REQUIRED)
        + (transaction.category is not None)
        + (transaction.location is not None)
        + (transaction.device_id is not None)
        + (transaction.timestamp is not None)
        + (transaction.latitude is not None)
        + (transaction.longitude is not None)
        + (transaction.currency is not None)
    )


def _refuse_control_characters(transaction: Transaction) -> None:
    for name in _FIELDS:
        value = getattr(transaction, name)
        if isinstance(value, str) and CONTROL_CHARACTER.search(value):
            raise RefusedInput(
                "control_character", f"{name}: expected text without control characters, got {_show(value)}"
            )


def _object_of(data: bytes) -> dict[str, Any]:
    """The message as a dict, read slowly and strictly."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RefusedInput(
            "invalid_utf8", f"message: expected UTF-8, got byte 0x{data[error.start]:02x} at position {error.start}"
        ) from None
    try:
        found = json.loads(text, object_pairs_hook=_without_duplicates)
    except RecursionError:
        raise RefusedInput(
            "malformed_json", "message: expected a flat JSON object, got one nested too deeply"
        ) from None
    except ValueError as error:
        raise RefusedInput("malformed_json", f"message: expected a JSON object, got {_show(text)} ({error})") from None
    if not isinstance(found, dict):
        raise RefusedInput("wrong_type", f"message: expected a JSON object, got {_show(found)}")
    return found


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise RefusedInput(
            "duplicate_key", f"{_show(twice, quote=False)}: expected each key once, got it {names.count(twice)} times"
        )
    return found


def _explain(data: bytes, error: Exception) -> RefusedInput:
    try:
        found = _object_of(data)
    except RefusedInput as refused:
        return refused
    for name in _REQUIRED:
        if name not in found:
            return RefusedInput("missing_field", f"{name}: expected {_FIELDS[name].expected}, the field is missing")
    for name, field in _FIELDS.items():
        value = found.get(name)
        if isinstance(value, float) and not math.isfinite(value):
            return RefusedInput("not_finite", f"{name}: expected {field.expected}, got {value}")
    match = _ERROR_FIELD.search(str(error))
    if match is None or match[1] not in _FIELDS:
        return RefusedInput("malformed_json", f"message: expected a JSON object, got {_show(found)} ({error})")
    return _explain_field(match[1], found.get(match[1]), str(error))


def _explain_field(name: str, value: object, message: str) -> RefusedInput:
    field = _FIELDS[name]
    if isinstance(value, bool) or not isinstance(value, field.types):
        reason = "wrong_type"
    elif name == "timestamp":
        reason = "naive_time" if "timezone" in message else "absurd_time"
    elif isinstance(value, str):
        reason = "bad_length"
    else:
        reason = "out_of_range"
    return RefusedInput(reason, f"{name}: expected {field.expected}, got {_show(value)}")


def _show(value: object, quote: bool = True) -> str:
    """A value as JSON, cut short: a reason must not carry a whole transaction."""
    text = json.dumps(value) if quote else str(value)
    if len(text) <= _SHOWN_CHARS:
        return text
    length = f" ({len(value):,} characters)" if isinstance(value, str) else ""
    return f"{text[:_SHOWN_CHARS]}…{length}"


def _iso(second: float) -> str:
    try:
        return datetime.fromtimestamp(second, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return f"{second:.6g} s after 1970"
