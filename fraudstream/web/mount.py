"""Puts the routes on an aiohttp application: the one entrance for a worker and for `fraudstream api`."""

from __future__ import annotations

from aiohttp import web

from fraudstream.web.service import Service

SERVICE: web.AppKey[Service] = web.AppKey("fraudstream.service", Service)


def mount(app: web.Application, service: Service) -> None:
    """Adds middlewares and routes; call it before the application starts.

    Args:
        app: any aiohttp application; its `client_max_size` is not used by these routes.
        service: of the process.

    Raises:
        SettingsError: the file of API keys cannot be used.
    """
    app[SERVICE] = service
