"""GET /openapi.json and GET /docs: the interface for machines and for people; every asset is served from here."""

from __future__ import annotations

from pathlib import Path

import msgspec
from aiohttp import web
from swagger_ui_bundle import swagger_ui_path

from fraudstream.web.body import JSON
from fraudstream.web.openapi import document

CONTENT_SECURITY = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'"
"""Swagger UI sets styles on elements; nothing comes from or goes to another host."""

ASSETS = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "favicon-32x32.png": "image/png",
}

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>fraudstream API</title>
  <link rel="icon" href="/docs/favicon-32x32.png">
  <link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
  <div id="page"></div>
  <script src="/docs/swagger-ui-bundle.js"></script>
  <script src="/docs/start.js"></script>
</body>
</html>
"""
START = """SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#page",
  validatorUrl: null,
  deepLinking: true,
  tryItOutEnabled: true,
});
"""


def mount(app: web.Application, *, has_keys: bool) -> None:
    """Adds the routes; they need no key, as they tell nothing about anybody."""
    openapi = msgspec.json.encode(document(has_keys=has_keys))

    async def openapi_json(_request: web.Request) -> web.Response:
        return web.Response(body=openapi, content_type=JSON)

    app.router.add_get("/openapi.json", openapi_json)
    app.router.add_get("/docs", _page)
    app.router.add_get("/docs/{asset}", _asset)


async def _page(_request: web.Request) -> web.Response:
    return web.Response(text=PAGE, content_type="text/html", headers={"Content-Security-Policy": CONTENT_SECURITY})


async def _asset(request: web.Request) -> web.StreamResponse:
    name = request.match_info["asset"]
    if name == "start.js":
        return web.Response(text=START, content_type="text/javascript")
    if name not in ASSETS:
        raise web.HTTPNotFound
    headers = {"Content-Type": ASSETS[name], "Cache-Control": "public, max-age=86400"}
    return web.FileResponse(Path(swagger_ui_path) / name, headers=headers)
