"""Fetches that wait for each other: a few records together cost little more than one.

The wait is before a fetch is sent. What comes meanwhile lies with the broker and is all in its answer; a wait after the
answer would only hold back what is here already.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from aiokafka.consumer import fetcher

PACE_S = 0.017
"""From one fetch to the next. A record that comes after a silence meets a fetch that waits for it at the broker."""

MUCH_RECORDS = 200
MUCH_PACE_S = 2 * PACE_S
"""The same after an answer that brought much: at such rates what is saved for each answer is worth more than a wait."""


class PacedFetcher(fetcher.Fetcher):  # type: ignore[misc]
    """The fetcher of a consumer whose fetches, to all brokers together, are a pace apart."""

    _next_s = 0.0
    _pace_s = PACE_S

    async def _proc_fetch_request(self, assignment: Any, *arguments: Any) -> Any:
        wait_s = self._next_s - time.monotonic()
        if wait_s > 0:
            try:
                await asyncio.sleep(wait_s)
            except asyncio.CancelledError:
                return False  # as the client's own does: whoever ends a fetch waits for its end, and wants no error
        self._next_s = time.monotonic() + self._pace_s
        is_new = await super()._proc_fetch_request(assignment, *arguments)
        self._pace_s = MUCH_PACE_S if _waiting_records(assignment) > MUCH_RECORDS else PACE_S
        return is_new


def _waiting_records(assignment: Any) -> int:
    """How many records the consumer was not given yet, as of the last answers."""
    states = map(assignment.state_value, assignment.tps)
    known = [state for state in states if state.highwater is not None and state.has_valid_position]
    return sum(int(state.highwater - state.position) for state in known)


def pace(client: Any) -> None:
    """Paces the fetches of an AIOKafkaConsumer that is started and has fetched nothing yet."""
    client._fetcher.__class__ = PacedFetcher
