"""The HTTP face of a worker: POST /predict, GET /health, GET /metrics; knows nothing of Faust.

Errors are JSON with the same reason codes as dead letters.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Protocol

import msgspec
from aiohttp import web

from fraudstream.adapters.metrics import CONTENT_TYPE, Metrics
from fraudstream.errors import RefusedInput
from fraudstream.settings import Settings
from fraudstream.verdict import Verdict, encode_verdict

RETRY_AFTER_S = 2
JSON = "application/json"
NOT_OWNED = "not_owned"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class HealthReport(msgspec.Struct, frozen=True):
    """What /health answers.

    Attributes:
        ready: the worker can score: partitions, profiles and model are there, and it moves where there is lag.
        problems: what is missing, in words.
        lag: records that wait in the owned partitions.
        model_version: of the model that judges.
        model_problem: why a promoted model is not in use; the worker is ready all the same, with the one before it.
    """

    ready: bool
    problems: tuple[str, ...]
    partitions: tuple[int, ...]
    lag: int
    processed: int
    restored: int
    restoring: bool
    model_version: str
    version: str
    model_problem: str | None = None


class Worker(Protocol):
    """What the view needs of the worker it belongs to."""

    def health(self) -> HealthReport:
        """The worker's state now."""
        ...

    def predict(self, body: bytes, received_s: float) -> Verdict:
        """Judges one transaction; raises RefusedInput, with reason `not_owned` if another worker has the user."""
        ...


class Views:
    """The handlers of one worker."""

    def __init__(self, settings: Settings, worker: Worker, metrics: Metrics) -> None:
        self._settings = settings
        self._keys = tuple(key.encode() for key in settings.keys)
        self._worker = worker
        self._metrics = metrics

    def mount(self, app: web.Application) -> None:
        """Adds the routes."""
        app.router.add_post("/predict", self.predict)
        app.router.add_get("/health", self.health)
        app.router.add_get("/metrics", self.metrics)

    async def predict(self, request: web.Request) -> web.Response:
        """Judges the transaction in the body against the user's current profile, which stays as it is."""
        started_s = time.perf_counter()
        if not self._may_call(request):
            return error(HTTPStatus.UNAUTHORIZED, "unauthorized", "expected a known key in the X-API-Key header")
        if request.content_type != JSON:
            return error(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                "wrong_content_type",
                f"expected Content-Type: {JSON}, got {request.content_type}",
            )
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return error(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                "body_too_large",
                f"expected a body of at most {self._settings.max_body_bytes} bytes",
            )
        health = self._worker.health()
        if not health.ready:
            return error(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "not_ready",
                "; ".join(health.problems),
                {"Retry-After": str(RETRY_AFTER_S)},
            )
        try:
            verdict = self._worker.predict(body, time.time())
        except RefusedInput as refused:
            status = HTTPStatus.MISDIRECTED_REQUEST if refused.reason == NOT_OWNED else HTTPStatus.BAD_REQUEST
            return error(status, refused.reason, refused.detail)
        seconds = time.perf_counter() - started_s
        self._metrics.predict_seconds.observe(seconds)
        answer = msgspec.structs.replace(
            verdict, processing_time_ms=round(seconds * 1000, 3), timestamp=datetime.now(UTC)
        )
        return web.Response(body=encode_verdict(answer), content_type=JSON)

    async def health(self, _request: web.Request) -> web.Response:
        """200 when ready, 503 with what is missing otherwise."""
        report = self._worker.health()
        status = HTTPStatus.OK if report.ready else HTTPStatus.SERVICE_UNAVAILABLE
        headers = {} if report.ready else {"Retry-After": str(RETRY_AFTER_S)}
        return web.Response(body=msgspec.json.encode(report), status=status, content_type=JSON, headers=headers)

    async def metrics(self, _request: web.Request) -> web.Response:
        """All metrics in Prometheus' text format."""
        report = self._worker.health()
        self._metrics.ready.set(report.ready)
        self._metrics.partitions.set(len(report.partitions))
        return web.Response(body=self._metrics.text(), headers={"Content-Type": CONTENT_TYPE})

    def authorise(self, request: web.Request) -> None:
        """Lets a request with a known key pass.

        Raises:
            HTTPUnauthorized: it has none.
        """
        if not self._may_call(request):
            raise web.HTTPUnauthorized(reason="expected a known key in the X-API-Key header")

    def _may_call(self, request: web.Request) -> bool:
        if not self._keys:
            return True  # settings refuse this anywhere but on loopback
        offered = request.headers.get("X-API-Key", "").encode("utf-8", "surrogateescape")
        return sum(hmac.compare_digest(offered, key) for key in self._keys) > 0  # every key: no timing to learn from


@web.middleware
async def errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answers 404, 405 and the like in the same form as every other error."""
    try:
        return await handler(request)
    except web.HTTPException as raised:
        if raised.status < HTTPStatus.BAD_REQUEST:
            raise
        return error(HTTPStatus(raised.status), HTTPStatus(raised.status).name.lower(), raised.reason, _allow(raised))


def _allow(raised: web.HTTPException) -> dict[str, str]:
    return {"Allow": raised.headers["Allow"]} if "Allow" in raised.headers else {}


def error(status: HTTPStatus, reason: str, detail: str, headers: dict[str, str] | None = None) -> web.Response:
    """An error as JSON."""
    body: dict[str, Any] = {"error": reason, "detail": detail, "status": int(status)}
    return web.Response(body=msgspec.json.encode(body), status=status, content_type=JSON, headers=headers)
