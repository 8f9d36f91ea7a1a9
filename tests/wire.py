"""Holds messages against the published JSON Schemas, more strictly than a reader may: an undocumented field fails."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from jsonschema_rs import Draft202012Validator

from fraudstream.features.catalogue import CATALOGUE
from fraudstream.wire_schemas import json_schemas

FEATURE_BYTES = 4 * len(CATALOGUE)


@cache
def validator(stem: str, *, closed: bool = False) -> Draft202012Validator:
    """The judge of one schema file.

    Args:
        closed: fields that the schema does not name are refused.
    """
    schema = json_schemas()[stem]
    return Draft202012Validator(_closed(schema) if closed else schema)


def is_valid_transaction(fields: object) -> bool:
    """Whether transaction.json accepts it."""
    return validator("transaction").is_valid(fields)


def assert_verdict(key: bytes | None, value: bytes | None, headers: Mapping[str, bytes]) -> dict[str, Any]:
    """The message of a verdict is as documented; returns the verdict."""
    verdict = assert_verdict_value(key, value)
    validator("verdict-headers", closed=True).validate({name: text.decode("latin-1") for name, text in headers.items()})
    assert len(headers["features"]) == FEATURE_BYTES
    transaction = json.loads(headers["transaction"])
    validator("transaction").validate(transaction)
    assert transaction["transaction_id"] == verdict["transaction_id"]
    return verdict


def assert_alert(key: bytes | None, value: bytes | None, headers: Mapping[str, bytes]) -> dict[str, Any]:
    """The message of an alert is as documented; returns the verdict that it holds."""
    verdict = assert_verdict_value(key, value)
    assert verdict["flagged"] is True
    assert not headers
    return verdict


def assert_dead_letter(headers: Mapping[str, bytes]) -> None:
    """The headers of a dead letter are as documented."""
    validator("dead-letter-headers", closed=True).validate({name: text.decode() for name, text in headers.items()})


def assert_verdict_value(key: bytes | None, value: bytes | None) -> dict[str, Any]:
    """Key and value of a verdict are as documented; returns the verdict."""
    verdict: dict[str, Any] = json.loads(value or b"")
    validator("verdict", closed=True).validate(verdict)
    assert key == verdict["user_id"].encode()
    return verdict


def _closed(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    inside = {name: _closed(part) for name, part in schema.items()}
    if schema.get("type") == "object":
        inside["additionalProperties"] = False
    return inside
