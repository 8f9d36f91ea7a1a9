"""Fetches that wait for each other: a few records together cost little more than one.

The wait is before a fetch is sent. What comes meanwhile lies with the broker and is all in its answer; a wait after the
answer would only hold back what is here already.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from aiokafka.consumer import fetcher

PACE_S = 0.016
"""From one fetch to the next. A record that comes after a silence meets a fetch that waits for it at the broker."""


class PacedFetcher(fetcher.Fetcher):  # type: ignore[misc]
    """The fetcher of a consumer whose fetches, to all brokers together, are PACE_S apart."""

    _next_s = 0.0

    async def _proc_fetch_request(self, *arguments: Any) -> Any:
        wait_s = self._next_s - time.monotonic()
        if wait_s > 0:
            try:
                await asyncio.sleep(wait_s)
            except asyncio.CancelledError:
                return False  # as the client's own does: whoever ends a fetch waits for its end, and wants no error
        self._next_s = time.monotonic() + PACE_S
        return await super()._proc_fetch_request(*arguments)


def pace(client: Any) -> None:
    """Paces the fetches of an AIOKafkaConsumer that is started and has fetched nothing yet."""
    client._fetcher.__class__ = PacedFetcher
