"""What the routes of one application share, and how a handler finds it: `context_of(request)`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from aiohttp import web

from fraudstream.web.keyring import KeyRing
from fraudstream.web.predictor import Predictor
from fraudstream.web.problems import Trouble
from fraudstream.web.rate_limit import RateLimiter
from fraudstream.web.service import Service

REQUEST_ID: web.RequestKey[str] = web.RequestKey("fraudstream.request_id", str)
CALLER: web.RequestKey[str] = web.RequestKey("fraudstream.caller", str)
ANONYMOUS = "-"


@dataclass(slots=True, eq=False)
class Context:
    """The shared parts.

    Attributes:
        under_way: requests that a stopping process waits for.
        idle: set while there is none.
        stopping: set when the process was told to stop; a handler that streams for ever ends then.
    """

    service: Service
    keys: KeyRing
    predictor: Predictor
    limiter: RateLimiter = field(default_factory=RateLimiter)
    under_way: int = 0
    idle: asyncio.Event = field(default_factory=asyncio.Event)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.idle.set()

    def refuse_if_not_ready(self) -> None:
        """Lets nobody in before the process can judge.

        Raises:
            Trouble: it cannot.
        """
        health = self.service.health()
        if not health.ready:
            raise Trouble("not_ready", "; ".join(health.problems))

    @contextmanager
    def counted(self) -> Iterator[None]:
        """A stopping process waits for what is inside."""
        self.under_way += 1
        self.idle.clear()
        try:
            yield
        finally:
            self.under_way -= 1
            if not self.under_way:
                self.idle.set()


CONTEXT: web.AppKey[Context] = web.AppKey("fraudstream.context", Context)


def context_of(request: web.Request) -> Context:
    """The context of the application that `mount` was called on."""
    return request.config_dict[CONTEXT]
