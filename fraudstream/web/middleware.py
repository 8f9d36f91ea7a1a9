"""What happens around every request: its id, problems instead of exceptions, metrics, one line of access log.

The log names the route, never what stands in the path's variable parts, the query or the body.
"""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from aiohttp import web

from fraudstream.web.context import ANONYMOUS, CALLER, REQUEST_ID, context_of
from fraudstream.web.problems import Trouble

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

ID_HEADER = "X-Request-ID"
NO_ROUTE = "-"

log = logging.getLogger(__name__)
access_log = logging.getLogger("fraudstream.access")

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_REASONS = {
    HTTPStatus.NOT_FOUND: "not_found",
    HTTPStatus.METHOD_NOT_ALLOWED: "method_not_allowed",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "body_too_large",
}


@web.middleware
async def around(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The one middleware: it sees every request, known route or not."""
    started_s = time.perf_counter()
    offered = request.headers.get(ID_HEADER, "")
    request_id = offered if _REQUEST_ID.fullmatch(offered) else uuid.uuid4().hex
    request[REQUEST_ID] = request_id
    response = await _answer(request, handler, request_id)
    if not response.prepared:
        response.headers[ID_HEADER] = request_id
        response.headers.setdefault("X-Content-Type-Options", "nosniff")
    _note(request, response.status, time.perf_counter() - started_s, request_id)
    return response


async def _answer(request: web.Request, handler: Handler, request_id: str) -> web.StreamResponse:
    try:
        return await handler(request)
    except Trouble as trouble:
        return trouble.response(request_id)
    except web.HTTPException as raised:
        return _translated(raised, request_id)
    except (ConnectionError, TimeoutError):
        if request.transport is None or request.transport.is_closing():
            raise  # the caller has gone
        return _fault(request, request_id)
    except Exception:
        return _fault(request, request_id)


def _fault(request: web.Request, request_id: str) -> web.StreamResponse:
    log.exception("request %s to %s failed", request_id, route_of(request))
    detail = f"nothing is wrong with the request; the log tells more under {request_id}"
    return Trouble("internal_error", detail).response(request_id)


def _translated(raised: web.HTTPException, request_id: str) -> web.StreamResponse:
    reason = _REASONS.get(HTTPStatus(raised.status))
    if reason is None and raised.status < HTTPStatus.BAD_REQUEST:
        raise raised
    if reason is None:
        return Trouble("invalid_parameter", raised.reason).response(request_id)
    allowed = {"Allow": raised.headers["Allow"]} if "Allow" in raised.headers else {}
    detail = f"expected one of {allowed['Allow']}" if allowed else "expected a path that /docs shows"
    return Trouble(reason, detail, allowed).response(request_id)


def route_of(request: web.Request) -> str:
    """The route's template, such as /profiles/{user_id}."""
    resource = request.match_info.route.resource
    return NO_ROUTE if resource is None else resource.canonical


def _note(request: web.Request, status: int, seconds: float, request_id: str) -> None:
    context, route = context_of(request), route_of(request)
    context.service.metrics.http_requests.labels(route, str(status)).inc()
    context.service.metrics.http_seconds.labels(route).observe(seconds)
    if context.service.settings.access_log:
        access_log.info(
            "%s %s %d %.1f ms key=%s request=%s",
            request.method if request.method.isalpha() else NO_ROUTE,
            route,
            status,
            seconds * 1000,
            request.get(CALLER, ANONYMOUS),
            request_id,
        )
