"""Puts the routes on an aiohttp application: the one entrance for a worker and for `fraudstream api`."""

from __future__ import annotations

import asyncio
import logging

from aiohttp import web

from fraudstream.web import docs_page, not_http, predict, profiles, status
from fraudstream.web.context import CONTEXT, Context
from fraudstream.web.keyring import KeyRing
from fraudstream.web.middleware import around
from fraudstream.web.predictor import Predictor
from fraudstream.web.service import Service

REQUESTS_END_WITHIN_S = 10.0

log = logging.getLogger(__name__)


def mount(app: web.Application, service: Service) -> None:
    """Adds the middleware and the routes; call it before the application starts.

    Args:
        app: any aiohttp application; its `client_max_size` is not used by these routes.
        service: of the process.

    Raises:
        SettingsError: the file of API keys cannot be used.
    """
    app[CONTEXT] = Context(service, KeyRing(service.settings), Predictor(service))
    app.middlewares.append(around)
    not_http.quieten()
    app.router.add_post("/predict", predict.predict)
    app.router.add_post("/predict/batch", predict.predict_batch)
    app.router.add_get("/profiles/{user_id}", profiles.profile)
    app.router.add_get("/health", status.health)
    app.router.add_get("/health/live", status.live)
    app.router.add_get("/health/ready", status.health)
    app.router.add_get("/metrics", status.metrics)
    docs_page.mount(app, has_keys=service.settings.needs_key)


async def drain(app: web.Application) -> None:
    """The first step of a stop: /health says no, new requests are still answered for DRAIN_S, those under way end.

    Call it before the application stops listening. A handler that streams for ever sees
    `context_of(request).stopping`.
    """
    context = app[CONTEXT]
    if context.stopping.is_set():
        return
    context.stopping.set()
    await asyncio.sleep(context.service.settings.drain_s)
    try:
        async with asyncio.timeout(REQUESTS_END_WITHIN_S):
            await context.idle.wait()
    except TimeoutError:
        log.warning("%d requests did not end within %.0f s", context.under_way, REQUESTS_END_WITHIN_S)
