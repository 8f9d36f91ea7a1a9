"""Who may call: the check of API keys and of their rates, for these routes and for any other on the same application.

A handler of another module is guarded by the decorator alone, on an application that `mount` was called on:

    @authenticated
    async def page(request: web.Request) -> web.StreamResponse: ...

Without keys in the settings everybody may call; the settings then refuse any address but loopback, unless
ALLOW_ANONYMOUS says otherwise.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from functools import wraps

from aiohttp import web

from fraudstream.web.context import CALLER, context_of
from fraudstream.web.problems import Trouble
from fraudstream.web.rate_limit import retry_after_s

KEY_HEADER = "X-API-Key"
SCHEME = f'ApiKey realm="fraudstream", header="{KEY_HEADER}"'

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def authenticated(handler: Handler) -> Handler:
    """A handler that only who knows a key may call, and not more often than its rate allows."""

    @wraps(handler)
    async def guarded(request: web.Request) -> web.StreamResponse:
        check(request)
        return await handler(request)

    return guarded


def check(request: web.Request) -> None:
    """Lets a request through, and notes the key's name for the access log.

    Raises:
        Trouble: `unauthorized` or `rate_limited`.
    """
    context = context_of(request)
    if not context.keys.needs_key:
        return
    entry = context.keys.find(request.headers.get(KEY_HEADER, ""))
    if entry is None:
        raise Trouble("unauthorized", f"expected a known key in the {KEY_HEADER} header", {"WWW-Authenticate": SCHEME})
    request[CALLER] = entry.name
    rate_per_s = context.keys.rate_per_s(entry)
    wait_s = context.limiter.take(entry.name, rate_per_s, 1, time.monotonic())
    if wait_s:
        raise Trouble(
            "rate_limited",
            f"expected at most {rate_per_s:g} transactions a second with the key {entry.name}; "
            f"come again in {wait_s:.3g} s",
            {"Retry-After": str(retry_after_s(wait_s))},
        )


def charge(request: web.Request, transactions: int) -> None:
    """Takes the further transactions of a request from its key's rate; the first one is paid for at the door."""
    context = context_of(request)
    name = request.get(CALLER)
    if name is not None and transactions > 1:
        # Known under its name: a key that was removed meanwhile owes nothing.
        context.limiter.charge(name, transactions - 1)
