"""The HTTP face of the audit sink: GET /health, its two probes and GET /metrics; no evidence leaves through here."""

from __future__ import annotations

from http import HTTPStatus
from typing import Protocol

import msgspec
from aiohttp import web

from fraudstream.adapters.audit_metrics import CONTENT_TYPE, AuditMetrics
from fraudstream.web.service import LivenessReport
from fraudstream.web.status import liveness_response

RETRY_AFTER_S = 2
JSON = "application/json"


class AuditHealth(msgspec.Struct, frozen=True):
    """What /health answers.

    Attributes:
        ready: partitions are there, and what comes is stored.
        problems: what is missing, in words.
        partitions: of the verdicts topic, owned by this sink.
        lag: offsets that are not stored yet.
        waiting: verdicts that were read and are not stored yet.
        rows: stored since the start.
        failures: batches that the database did not take, since the start.
    """

    ready: bool
    problems: tuple[str, ...]
    partitions: tuple[int, ...]
    lag: int
    waiting: int
    rows: int
    failures: int
    version: str


class Sink(Protocol):
    """What the view needs of the sink it belongs to."""

    def health(self) -> AuditHealth:
        """The sink's state now."""
        ...

    def liveness(self) -> LivenessReport:
        """Whether a restart would mend anything."""
        ...


class AuditViews:
    """The handlers of one sink."""

    def __init__(self, sink: Sink, metrics: AuditMetrics) -> None:
        self._sink = sink
        self._metrics = metrics

    def mount(self, app: web.Application) -> None:
        """Adds the routes."""
        app.router.add_get("/health", self.health)
        app.router.add_get("/health/live", self.live)
        app.router.add_get("/health/ready", self.health)
        app.router.add_get("/metrics", self.metrics)

    async def health(self, _request: web.Request) -> web.Response:
        """200 when ready, 503 with what is missing otherwise."""
        report = self._sink.health()
        status = HTTPStatus.OK if report.ready else HTTPStatus.SERVICE_UNAVAILABLE
        headers = {} if report.ready else {"Retry-After": str(RETRY_AFTER_S)}
        return web.Response(body=msgspec.json.encode(report), status=status, content_type=JSON, headers=headers)

    async def live(self, _request: web.Request) -> web.Response:
        """200 unless the sink stands still and a restart could mend it."""
        return liveness_response(self._sink.liveness())

    async def metrics(self, _request: web.Request) -> web.Response:
        """All metrics in Prometheus' text format."""
        report = self._sink.health()
        self._metrics.ready.set(report.ready)
        self._metrics.partitions.set(len(report.partitions))
        self._metrics.lag.set(report.lag)
        return web.Response(body=self._metrics.text(), headers={"Content-Type": CONTENT_TYPE})
