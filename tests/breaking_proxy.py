"""A proxy in front of a real web view that breaks one thing on its way: what looks at the view must notice."""

from __future__ import annotations

import io
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
import msgspec
from aiohttp import web

from tests.servers.loop_thread import LoopThread

HOP_BY_HOP = {"connection", "content-length", "date", "keep-alive", "server", "transfer-encoding"}


@dataclass(frozen=True)
class Seen:
    """An answer on its way through the proxy, with what was asked."""

    method: str
    path: str
    asked: bytes
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body."""
        return msgspec.json.decode(self.body)

    def with_json(self, body: Any, status: int | None = None) -> Seen:
        """The same with another body."""
        return replace(self, body=msgspec.json.encode(body), status=status or self.status)


Break = Callable[[Seen], Seen | Awaitable[Seen]]


class BreakingProxy(LoopThread):
    """Passes everything to a port on loopback, each answer through `breaks`.

    Args:
        port: of the real view.
        breaks: changes an answer; may wait.
        request_headers: set on every request that is passed on.
    """

    def __init__(self, port: int, breaks: Break, request_headers: dict[str, str] | None = None) -> None:
        super().__init__("breaking-proxy")
        self._behind = f"http://127.0.0.1:{port}"
        self._breaks = breaks
        self._request_headers = request_headers or {}
        self._runner: web.AppRunner | None = None
        self._session: aiohttp.ClientSession | None = None
        self.url = ""

    async def _start(self) -> None:
        self._session = aiohttp.ClientSession(auto_decompress=False)
        app = web.Application(client_max_size=2**24)
        app.router.add_route("*", "/{path:.*}", self._pass)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{port}"

    async def _stop(self) -> None:
        if self._session is not None:
            await self._session.close()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _pass(self, request: web.Request) -> web.Response:
        assert self._session is not None
        headers = {name: text for name, text in request.headers.items() if name.lower() not in HOP_BY_HOP | {"host"}}
        has_body = request.body_exists
        body = await self._body_of(request)
        async with self._session.request(
            request.method,
            self._behind + request.raw_path,
            data=io.BytesIO(body) if has_body else None,
            headers=headers | self._request_headers,
            skip_auto_headers=("Content-Type",),
        ) as answer:
            kept = {name: text for name, text in answer.headers.items() if name.lower() not in HOP_BY_HOP}
            seen = Seen(request.method, request.path, body, answer.status, kept, await answer.read())
        broken = self._breaks(seen)
        if not isinstance(broken, Seen):
            broken = await broken
        return web.Response(status=broken.status, headers=broken.headers, body=broken.body)

    async def _body_of(self, request: web.Request) -> bytes:
        announced = request.content_length or 0
        if announced > 2**20:  # announced and never sent: as long a body, so that the view behind judges it
            return b" " * announced
        return await request.read()
