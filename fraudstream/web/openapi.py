"""The OpenAPI 3.1 document of the routes, made from the msgspec types that they read and write."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import fraudstream
from fraudstream.transaction import MAX_ID_CHARS, SCHEMA_OF_TEXT, Transaction
from fraudstream.verdict import MemberScores, Reason
from fraudstream.web import examples, schema
from fraudstream.web.auth import KEY_HEADER
from fraudstream.web.middleware import ID_HEADER
from fraudstream.web.predict import MAX_TIMEOUT_MS
from fraudstream.web.problems import CONTENT_TYPE, KINDS, Problem
from fraudstream.web.service import NOT_OWNED, HealthReport, LivenessReport
from fraudstream.wire_schemas import described

TYPES = (
    Transaction,
    schema.Prediction,
    Reason,
    MemberScores,
    schema.ProfileUsed,
    schema.Batch,
    schema.BatchAnswer,
    schema.BatchItem,
    schema.ProfilePage,
    schema.Window,
    schema.Event,
    HealthReport,
    LivenessReport,
    Problem,
)
JSON = "application/json"
_REF = "#/components/schemas/{name}"

_TRANSACTION_REASONS = tuple(reason for reason, kind in KINDS.items() if kind.status == HTTPStatus.BAD_REQUEST)
_AT_THE_DOOR = ("unauthorized", "rate_limited")
_BODY = ("wrong_content_type", "body_too_large", "body_timeout")
_BATCH_REASONS = ("malformed_json", "missing_field", "wrong_type", "bad_length", "invalid_parameter")


def document(*, has_keys: bool) -> dict[str, Any]:
    """The whole document.

    Args:
        has_keys: callers must show a key.
    """
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "fraudstream",
            "version": fraudstream.__version__,
            "license": {"name": "MIT", "identifier": "MIT"},
            "description": (
                "Judges card transactions against their user's rolling profile. Every error is a problem of RFC 9457 "
                f"with a stable `reason`. A request may name itself in {ID_HEADER} (1 to 64 letters, digits, dots, "
                "dashes, underscores); otherwise it is given a name."
            ),
        },
        "tags": [
            {"name": "judging", "description": "verdicts on transactions"},
            {"name": "users", "description": "what is known of a user"},
            {"name": "operating", "description": "for supervisors and Prometheus; no key needed"},
        ],
        "paths": {
            "/predict": {"post": _predict(has_keys)},
            "/predict/batch": {"post": _batch(has_keys)},
            "/profiles/{user_id}": {"get": _profile(has_keys)},
            "/health": {"get": _health("health", "Whether the process can judge")},
            "/health/live": {"get": _live()},
            "/health/ready": {"get": _health("ready", "The same as /health, under a name that probes go by")},
            "/metrics": {"get": _metrics()},
        },
        "components": {"schemas": _schemas(), **(_security_schemes() if has_keys else {})},
    }


def _schemas() -> dict[str, Any]:
    found = described(TYPES, _REF)
    items = found["Batch"]["properties"]["transactions"]
    items["items"] = {"anyOf": [items["items"], {"description": "anything else is answered by its problem"}]}
    return found


def _security_schemes() -> dict[str, Any]:
    return {"securitySchemes": {"ApiKey": {"type": "apiKey", "in": "header", "name": KEY_HEADER}}}


def _predict(has_keys: bool) -> dict[str, Any]:
    return {
        "operationId": "predict",
        "tags": ["judging"],
        "summary": "Judges one transaction",
        "description": (
            "The user's profile stays as it is. The same transaction gets the same answer, byte for byte, for as long "
            "as answers are remembered; another one with its transaction_id is a conflict."
        ),
        "parameters": _terms(),
        "requestBody": _body(
            "Transaction",
            {
                "full": {"summary": "every usual field", "value": examples.TRANSACTION},
                "smallest": {"summary": "what is required", "value": examples.SMALLEST},
            },
        ),
        "responses": {
            "200": _answer("the verdict", "Prediction", {"normal": {"value": examples.PREDICTION}}),
            **_problems(
                *_TRANSACTION_REASONS,
                *_BODY,
                "transaction_conflict",
                NOT_OWNED,
                "not_ready",
                "no_score",
                "not_recorded",
                "profile_unreadable",
                has_keys=has_keys,
            ),
        },
        **_security(has_keys),
    }


def _batch(has_keys: bool) -> dict[str, Any]:
    return {
        "operationId": "predictBatch",
        "tags": ["judging"],
        "summary": f"Judges up to {schema.MAX_BATCH} transactions",
        "description": (
            "Each transaction is answered as /predict would: by its verdict or its problem, in their order. A bad one "
            "leaves the others alone. None sees another one of the batch. For the rate of a key, each counts."
        ),
        "parameters": _terms(),
        "requestBody": _body("Batch", {"two": {"summary": "one good, one bad", "value": examples.BATCH}}),
        "responses": {
            "200": _answer("what became of each", "BatchAnswer", {"two": {"value": examples.BATCH_ANSWER}}),
            **_problems(*_BATCH_REASONS, *_BODY, "not_ready", has_keys=has_keys),
        },
        **_security(has_keys),
    }


def _profile(has_keys: bool) -> dict[str, Any]:
    return {
        "operationId": "profile",
        "tags": ["users"],
        "summary": "A user's rolling state",
        "parameters": [
            {
                "name": "user_id",
                "in": "path",
                "required": True,
                "schema": {"type": "string", "minLength": 1, "maxLength": MAX_ID_CHARS, **SCHEMA_OF_TEXT},
                "example": "user_123",
            }
        ],
        "responses": {
            "200": _answer("the profile", "ProfilePage", {"user": {"value": examples.PROFILE}}),
            **_problems(
                "invalid_parameter", "unknown_user", NOT_OWNED, "not_ready", "profile_unreadable", has_keys=has_keys
            ),
        },
        **_security(has_keys),
    }


def _health(operation: str, summary: str) -> dict[str, Any]:
    return {
        "operationId": operation,
        "tags": ["operating"],
        "summary": summary,
        "responses": {
            "200": _answer("it can", "HealthReport", {"ready": {"value": examples.HEALTH}}),
            "503": _answer("not yet, or no more", "HealthReport", {"starting": {"value": examples.NOT_READY}}),
        },
        "security": [],
    }


def _live() -> dict[str, Any]:
    return {
        "operationId": "live",
        "tags": ["operating"],
        "summary": "Whether a restart would mend nothing",
        "description": (
            "A process that restores profiles, waits for partitions or cannot reach its broker is alive and not ready. "
            "One that gets on with nothing for LIVENESS_STALL_S, although there is something and the broker answers, "
            "is not alive; nor is one that does not answer at all."
        ),
        "responses": {
            "200": _answer("leave it alone", "LivenessReport", {"alive": {"value": examples.ALIVE}}),
            "503": _answer("restart it", "LivenessReport", {"stuck": {"value": examples.NOT_ALIVE}}),
        },
        "security": [],
    }


def _metrics() -> dict[str, Any]:
    text = {"schema": {"type": "string"}, "example": "fraudstream_ready 1.0\n"}
    return {
        "operationId": "metrics",
        "tags": ["operating"],
        "summary": "Metrics in Prometheus' text format",
        "responses": {"200": {"description": "all metrics", "headers": _headers(), "content": {"text/plain": text}}},
        "security": [],
    }


def _terms() -> list[dict[str, Any]]:
    return [
        {
            "name": "timeout_ms",
            "in": "query",
            "description": (
                "What is not ready by then is left out of the score and named in `degraded`: a model, or `profile` "
                "(the user is then judged as an unknown one)."
            ),
            "schema": {"type": "integer", "minimum": 1, "maximum": MAX_TIMEOUT_MS},
        },
        {
            "name": "record",
            "in": "query",
            "description": "Also produce the transaction to the stream, so that the state and a verdict there follow.",
            "schema": {"type": "boolean", "default": False},
        },
    ]


def _body(name: str, shown: dict[str, Any]) -> dict[str, Any]:
    return {"required": True, "content": {JSON: {"schema": _ref(name), "examples": shown}}}


def _answer(description: str, name: str, shown: dict[str, Any]) -> dict[str, Any]:
    return {
        "description": description,
        "headers": _headers(),
        "content": {JSON: {"schema": _ref(name), "examples": shown}},
    }


def _problems(*reasons: str, has_keys: bool) -> dict[str, Any]:
    by_status: dict[int, list[str]] = {}
    for reason in (*reasons, *(_AT_THE_DOOR if has_keys else ())):
        by_status.setdefault(int(KINDS[reason].status), []).append(reason)
    return {str(status): _problem(status, names) for status, names in sorted(by_status.items())}


def _problem(status: int, reasons: list[str]) -> dict[str, Any]:
    shown = {
        reason: {
            "summary": KINDS[reason].title,
            "value": examples.problem(reason, KINDS[reason].title, status, f"{KINDS[reason].title}: …"),
        }
        for reason in reasons
    }
    headers = _headers()
    if status in {HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS}:
        headers["Retry-After"] = {"description": "seconds to wait", "schema": {"type": "integer", "minimum": 1}}
    return {
        "description": ", ".join(f"`{reason}`" for reason in reasons),
        "headers": headers,
        "content": {CONTENT_TYPE: {"schema": _ref("Problem"), "examples": shown}},
    }


def _headers() -> dict[str, Any]:
    return {ID_HEADER: {"description": "the request's name", "schema": {"type": "string"}}}


def _security(has_keys: bool) -> dict[str, Any]:
    return {"security": [{"ApiKey": []}] if has_keys else []}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": _REF.format(name=name)}
