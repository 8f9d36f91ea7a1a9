"""The HTTP routes in this process: a real detector and a real aiohttp server, with profiles that the test lays down."""

from __future__ import annotations

import asyncio
import io
import json
import threading
import urllib.parse
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

from fraudstream.adapters.metrics import Metrics
from fraudstream.adapters.transaction_recorder import TransactionRecorder
from fraudstream.pipeline import Detector
from fraudstream.settings import Settings
from fraudstream.state.profile import EMPTY
from fraudstream.web.mount import mount
from fraudstream.web.profile_source import FoundProfile
from fraudstream.web.service import AnswerStore, HealthReport, LivenessReport, Recorder

JSON = {"Content-Type": "application/json"}
EXAMPLE: dict[str, Any] = {
    "transaction_id": "txn_001",
    "user_id": "user_123",
    "amount": 45.67,
    "merchant": "Starbucks",
    "category": "food",
    "location": "New York",
    "device_id": "device_1234",
}


@dataclass
class Profiles:
    """A profile source that a test can fill, slow down and break."""

    records: dict[bytes, bytes] = field(default_factory=dict)
    delay_s: float = 0.0
    error: Exception | None = None
    refused: Mapping[bytes, Exception] = field(default_factory=dict)

    async def find(self, keys: Sequence[bytes]) -> list[FoundProfile]:
        """As `ProfileSource`."""
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        if self.error is not None:
            raise self.error
        for key in keys:
            if key in self.refused:
                raise self.refused[key]
        return [FoundProfile(self.records.get(key, EMPTY), "cache", 1.5) for key in keys]


@dataclass
class Process:
    """A `Service` without Faust."""

    settings: Settings
    detector: Detector
    profiles: Profiles = field(default_factory=Profiles)
    recorder: Recorder | None = None
    answers: AnswerStore | None = None
    metrics: Metrics = field(default_factory=Metrics)
    problems: tuple[str, ...] = ()
    standstill: str | None = None

    def health(self) -> HealthReport:
        """Ready unless a test says otherwise."""
        return HealthReport(not self.problems, self.problems, self.detector.model_version, "test", role="api")

    def liveness(self) -> LivenessReport:
        """Alive unless a test says otherwise."""
        return LivenessReport(self.standstill is None, self.standstill)


@dataclass(frozen=True)
class Reply:
    """An answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class Client:
    """Asks the routes of a process over a real socket; an async context manager."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.app = web.Application()
        mount(self.app, process)
        self.server = TestServer(self.app)

    async def __aenter__(self) -> Client:
        await self.server.start_server()
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()
        await self.server.close()

    async def call(
        self,
        method: str,
        path: str,
        body: bytes | AsyncIterator[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """One request."""
        data = io.BytesIO(body) if isinstance(body, bytes) else body
        async with self._session.request(method, self.server.make_url(path), data=data, headers=headers) as answer:
            return Reply(answer.status, dict(answer.headers), await answer.read())

    async def post(self, fields: object, path: str = "/predict", **headers: str) -> Reply:
        """POST of JSON; header names have _ for -."""
        body = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
        return await self.call("POST", path, body, JSON | {k.replace("_", "-"): v for k, v in headers.items()})


@contextmanager
def served(process: Process) -> Iterator[str]:
    """Serves from a thread of its own, for tools that ask synchronously; gives the address."""
    loop, recorder = asyncio.new_event_loop(), process.recorder

    async def stop_recorder(_: web.Application) -> None:
        if isinstance(recorder, TransactionRecorder):
            await recorder.stop()

    started: list[str] = []
    is_up = threading.Event()

    async def start() -> web.AppRunner:
        app = web.Application()
        mount(app, process)
        app.on_cleanup.append(stop_recorder)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        assert site._server is not None
        host, port = site._server.sockets[0].getsockname()[:2]  # type: ignore[attr-defined]
        started.append(f"http://{host}:{port}")
        return runner

    def run() -> None:
        asyncio.set_event_loop(loop)
        runner = loop.run_until_complete(start())
        is_up.set()
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    assert is_up.wait(30)
    try:
        yield started[0]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def quoted(user_id: str) -> str:
    """A user_id as a part of a path."""
    return urllib.parse.quote(user_id, safe="")
