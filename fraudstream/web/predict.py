"""POST /predict and POST /predict/batch: reads requests strictly, writes answers; judging is predictor.py's."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping
from typing import Annotated

import msgspec
from aiohttp import web

from fraudstream.web.auth import authenticated, charge
from fraudstream.web.body import JSON, read_json
from fraudstream.web.context import REQUEST_ID, context_of
from fraudstream.web.predictor import Terms
from fraudstream.web.problems import Trouble
from fraudstream.web.schema import MAX_BATCH

MAX_TIMEOUT_MS = 60_000
PARAMETERS = ("record", "timeout_ms")
_SHOWN_CHARS = 60

_NUMBER = "a number"
_KIND = {
    dict: "an object",
    list: "an array",
    str: "a text",
    bool: "true or false",
    type(None): "null",
    int: _NUMBER,
    float: _NUMBER,
}
_FLAGS = {"true": True, "false": False}


class _RawBatch(msgspec.Struct):
    """A batch whose transactions are not read yet, so that one bad one leaves the others alone."""

    transactions: Annotated[list[msgspec.Raw], msgspec.Meta(min_length=1, max_length=MAX_BATCH)]


class _RawItem(msgspec.Struct, omit_defaults=True):
    verdict: msgspec.Raw | None = None
    problem: object = None


class _RawAnswer(msgspec.Struct):
    results: list[_RawItem]


_EXPECTED = f'expected {{"transactions": [1 to {MAX_BATCH} transactions]}}'

_decode_batch = msgspec.json.Decoder(_RawBatch).decode
_encode = msgspec.json.Encoder().encode


@authenticated
async def predict(request: web.Request) -> web.Response:
    """Judges one transaction against the user's current profile, which stays as it is."""
    context, terms = context_of(request), _terms(request)
    with context.counted():
        body = await read_json(request, context.service.settings.max_body_bytes)
        context.refuse_if_not_ready()
        answer = (await context.predictor.predict([body], terms))[0]
        if isinstance(answer, Trouble):
            raise answer
        context.service.metrics.predict_seconds.observe(time.perf_counter() - terms.started_s)
        return web.Response(body=answer, content_type=JSON)


@authenticated
async def predict_batch(request: web.Request) -> web.Response:
    """Judges up to 500 transactions; each gets its verdict or its problem, in their order."""
    context, terms = context_of(request), _terms(request)
    with context.counted():
        body = await read_json(request, context.service.settings.max_batch_body_bytes)
        bodies = _items(body)
        charge(request, len(bodies))
        context.refuse_if_not_ready()
        answers = await context.predictor.predict(bodies, terms)
        request_id = request[REQUEST_ID]
        results = [
            _RawItem(problem=answer.problem(request_id))
            if isinstance(answer, Trouble)
            else _RawItem(verdict=msgspec.Raw(answer))
            for answer in answers
        ]
        return web.Response(body=_encode(_RawAnswer(results)), content_type=JSON)


def _items(body: bytes) -> list[bytes]:
    try:
        return [bytes(one) for one in _decode_batch(body).transactions]
    except (msgspec.DecodeError, RecursionError, ValueError):
        raise _unfit_batch(body) from None


def _unfit_batch(body: bytes) -> Trouble:
    """Why a body is no batch."""
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        return Trouble("malformed_json", f"message: {_EXPECTED}, got what is no JSON ({error})")
    if not isinstance(found, dict):
        return Trouble("wrong_type", f"message: {_EXPECTED}, got {_KIND[type(found)]}")
    if "transactions" not in found:
        return Trouble("missing_field", f"transactions: {_EXPECTED}, the field is missing")
    items = found["transactions"]
    if isinstance(items, list):
        return Trouble("bad_length", f"transactions: {_EXPECTED}, got {len(items)}")
    return Trouble("wrong_type", f"transactions: {_EXPECTED}, got {_KIND[type(items)]}")


def _terms(request: web.Request) -> Terms:
    given = parameters(request, PARAMETERS)
    started_s, loop_s = time.perf_counter(), asyncio.get_running_loop().time()
    record = _FLAGS.get(given.get("record", "false"))
    if record is None:
        raise Trouble("invalid_parameter", "record: expected true or false")
    until_s = math.inf
    if "timeout_ms" in given:
        text = given["timeout_ms"]
        timeout_ms = int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(MAX_TIMEOUT_MS)) else 0
        if not 1 <= timeout_ms <= MAX_TIMEOUT_MS:
            raise Trouble("invalid_parameter", f"timeout_ms: expected a whole number from 1 to {MAX_TIMEOUT_MS}")
        until_s = loop_s + timeout_ms / 1000
    return Terms(time.time(), started_s, until_s, record)


def parameters(request: web.Request, known: tuple[str, ...]) -> Mapping[str, str]:
    """The query's parameters.

    Raises:
        Trouble: one is not known or came twice: a misspelt one must not be passed over in silence.
    """
    query = request.query
    for name in query:
        if name not in known:
            raise Trouble(
                "invalid_parameter",
                f"query: expected {' and '.join(known) or 'no parameters'}, got {name[:_SHOWN_CHARS]!r}",
            )
        if len(query.getall(name)) > 1:
            raise Trouble("invalid_parameter", f"{name}: expected once")
    return query
