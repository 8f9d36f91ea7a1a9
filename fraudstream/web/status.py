"""GET /health, its two probes and GET /metrics: for supervisors and Prometheus, without a key."""

from __future__ import annotations

from http import HTTPStatus

import msgspec
from aiohttp import web

from fraudstream.adapters.metrics import CONTENT_TYPE
from fraudstream.web.body import JSON
from fraudstream.web.context import context_of
from fraudstream.web.problems import RETRY_AFTER_S
from fraudstream.web.service import HealthReport, LivenessReport

STOPPING = "the process is stopping"


def health_of(request: web.Request) -> HealthReport:
    """The state of the process; one that stops takes no new work."""
    context = context_of(request)
    report = context.service.health()
    if not context.stopping.is_set():
        return report
    return msgspec.structs.replace(report, ready=False, problems=(STOPPING, *report.problems))


async def health(request: web.Request) -> web.Response:
    """200 when ready, 503 with what is missing otherwise."""
    report = health_of(request)
    status = HTTPStatus.OK if report.ready else HTTPStatus.SERVICE_UNAVAILABLE
    headers = {} if report.ready else {"Retry-After": str(RETRY_AFTER_S)}
    return web.Response(body=msgspec.json.encode(report), status=status, content_type=JSON, headers=headers)


async def live(request: web.Request) -> web.Response:
    """200 unless the process stands still and a restart could mend it; that it answers is half of the answer."""
    return liveness_response(context_of(request).service.liveness())


def liveness_response(report: LivenessReport) -> web.Response:
    """The answer of every /health/live."""
    status = HTTPStatus.OK if report.alive else HTTPStatus.SERVICE_UNAVAILABLE
    return web.Response(body=msgspec.json.encode(report), status=status, content_type=JSON)


async def metrics(request: web.Request) -> web.Response:
    """All metrics in Prometheus' text format."""
    report, found = health_of(request), context_of(request).service.metrics
    found.ready.set(report.ready)
    found.partitions.set(len(report.partitions))
    return web.Response(body=found.text(), headers={"Content-Type": CONTENT_TYPE})
