"""The console's routes: page and files for everybody, data for who may call the API; knows nothing of Faust."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from http import HTTPStatus
from importlib.resources import files

import msgspec
from aiohttp import web

from fraudstream.transaction import MAX_ID_CHARS
from fraudstream.web.auth import authenticated
from fraudstream.web.body import JSON
from fraudstream.web.live import MOST_SUBSCRIBERS, LiveFeed, TooManySubscribersError
from fraudstream.web.live_events import Subscriber
from fraudstream.web.lookup import Lookup
from fraudstream.web.problems import Trouble

PAGE = "console.html"
CONTENT_TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}

# Nothing from elsewhere, nothing inline, and no text that becomes code.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
SAFE_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
NOT_KEPT = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


def mount_console(app: web.Application, feed: LiveFeed, lookup: Lookup) -> None:
    """Adds the page at /, its files below /console/static and its data below /console.

    Args:
        app: one that `fraudstream.web.mount.mount` was called on; its keys hold here too.
    """
    console = Console(feed, lookup)
    app.router.add_get("/", console.page)
    app.router.add_get("/console/static/{name}", console.file)
    app.router.add_get("/console/events", authenticated(console.events))
    app.router.add_get("/console/search", authenticated(console.search))
    app.router.add_get("/console/transactions/{id}", authenticated(console.transaction))
    app.router.add_get("/console/users/{id}", authenticated(console.user))
    app.on_shutdown.append(console.close)


class Console:
    """The handlers of one worker's console."""

    def __init__(self, feed: LiveFeed, lookup: Lookup) -> None:
        self._feed = feed
        self._lookup = lookup
        self._files = {
            entry.name: entry.read_bytes()
            for entry in files("fraudstream.web").joinpath("static").iterdir()
            if entry.name.endswith(tuple(CONTENT_TYPES))
        }
        self._tags = {name: f'"{hashlib.sha256(content).hexdigest()[:32]}"' for name, content in self._files.items()}

    async def page(self, request: web.Request) -> web.Response:
        """The page itself, the same for everybody."""
        return self._static(request, PAGE)

    async def file(self, request: web.Request) -> web.Response:
        """One of the page's files."""
        name = request.match_info["name"]
        if name not in self._files:
            raise web.HTTPNotFound
        return self._static(request, name)

    def _static(self, request: web.Request, name: str) -> web.Response:
        tag = self._tags[name]
        # Asked for again each time, so that page and files never come from two versions.
        headers = {**SAFE_HEADERS, "Cache-Control": "no-cache", "ETag": tag}
        if request.headers.get("If-None-Match") == tag:
            return web.Response(status=HTTPStatus.NOT_MODIFIED, headers=headers)
        kind = CONTENT_TYPES[name[name.rindex(".") :]]
        return web.Response(body=self._files[name], content_type=kind, charset="utf-8", headers=headers)

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events `figures`, `rows` and `missed`, until the page goes away."""
        try:
            async with self._feed.subscribe() as subscriber:
                response = web.StreamResponse(headers={**NOT_KEPT, "X-Accel-Buffering": "no"})
                response.content_type = "text/event-stream"
                response.charset = "utf-8"
                await response.prepare(request)
                with suppress(ConnectionResetError):  # the page was closed: nobody is left to tell
                    await _write(response, subscriber)
                return response
        except TooManySubscribersError:
            detail = f"expected at most {MOST_SUBSCRIBERS} pages; close one of them"
            raise Trouble("too_many_consoles", detail) from None

    async def search(self, request: web.Request) -> web.Response:
        """Transactions and users whose id begins with ?q=."""
        text = request.query.get("q", "").strip()
        if not 1 <= len(text) <= MAX_ID_CHARS:
            raise Trouble("invalid_parameter", f"q: expected 1 to {MAX_ID_CHARS} characters of an id, got {len(text)}")
        return _json(await self._lookup.search(text))

    async def transaction(self, request: web.Request) -> web.Response:
        """Everything about one transaction."""
        found = await self._lookup.transaction(request.match_info["id"])
        if found is None:
            raise Trouble("unknown_transaction", "transaction_id: expected one whose verdict is kept, this one is not")
        return _json(found)

    async def user(self, request: web.Request) -> web.Response:
        """Everything about one user."""
        found = await self._lookup.user(request.match_info["id"])
        if found is None:
            raise Trouble("unknown_user", "user_id: expected a user with a profile or a verdict, this one has neither")
        return _json(found)

    async def close(self, _app: web.Application) -> None:
        """Ends all event streams, so that a worker that stops does not wait for pages."""
        self._feed.close()


async def _write(response: web.StreamResponse, subscriber: Subscriber) -> None:
    told_missed = 0
    async for event in subscriber:
        await response.write(b"event: %s\ndata: %s\n\n" % (event.name.encode(), event.data))
        if subscriber.missed != told_missed:
            told_missed = subscriber.missed
            await response.write(b'event: missed\ndata: {"events":%d}\n\n' % told_missed)


def _json(content: msgspec.Struct) -> web.Response:
    return web.Response(body=msgspec.json.encode(content), content_type=JSON, headers=NOT_KEPT)
