"""Reads the body of a request within limits of size and time, whatever the application's own limits are."""

from __future__ import annotations

import asyncio

from aiohttp import web

from fraudstream.web.problems import Trouble

JSON = "application/json"
BODY_WITHIN_S = 10.0
"""A caller that sends its body slower than this keeps a connection open for nothing."""


async def read_json(request: web.Request, most_bytes: int) -> bytes:
    """The body of a request whose content is JSON.

    Raises:
        Trouble: `wrong_content_type`, `body_too_large` or `body_timeout`.
    """
    if request.content_type != JSON:
        raise Trouble("wrong_content_type", f"expected Content-Type: {JSON}, got {request.content_type[:80]}")
    encoding = request.headers.get("Content-Encoding", "identity")
    if encoding != "identity":  # a small body could unpack to a large one
        raise Trouble("wrong_content_type", f"expected a body without Content-Encoding, got {encoding[:80]}")
    too_large = Trouble("body_too_large", f"expected a body of at most {most_bytes} bytes")
    if (request.content_length or 0) > most_bytes:
        raise too_large
    read = bytearray()
    try:
        async with asyncio.timeout(BODY_WITHIN_S):
            async for chunk in request.content.iter_any():
                read += chunk
                if len(read) > most_bytes:
                    raise too_large
    except TimeoutError:
        raise Trouble("body_timeout", f"expected the whole body within {BODY_WITHIN_S:.0f} s") from None
    return bytes(read)
