"""Fetches that wait for each other: a few records together cost little more than one.

The wait is before a fetch is sent. What comes meanwhile lies with the broker and is all in its answer; a wait after the
answer would only hold back what is here already.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from aiokafka.consumer import fetcher
from aiokafka.structs import TopicPartition

PACE_S = 0.017
"""From one fetch to the next. A record that comes after a silence meets a fetch that waits for it at the broker."""

FEW_RECORDS, MUCH_RECORDS = 6, 200
FEW_PACE_S, MUCH_PACE_S = 0.03, 0.034
"""After an answer with fewer, or more, records. What is sent and judged for each answer costs the same for a few, and
where much comes, what is saved for each answer shortens every wait."""


class PacedFetcher(fetcher.Fetcher):  # type: ignore[misc]
    """The fetcher of a consumer whose fetches, to all brokers together, are a pace apart."""

    _next_s = 0.0
    _pace_s = FEW_PACE_S

    async def _proc_fetch_request(self, assignment: Any, node_id: int, request: Any) -> Any:
        wait_s = self._next_s - time.monotonic()
        if wait_s > 0:
            try:
                await asyncio.sleep(wait_s)
            except asyncio.CancelledError:
                return False  # as the client's own does: whoever ends a fetch waits for its end, and wants no error
        self._next_s = time.monotonic() + self._pace_s
        is_new = await super()._proc_fetch_request(assignment, node_id, request)
        if assignment.active:
            self._pace_s = _pace_after_s(_waiting_records(assignment, request))
        return is_new


def _pace_after_s(records: int) -> float:
    if records > MUCH_RECORDS:
        return MUCH_PACE_S
    return FEW_PACE_S if records < FEW_RECORDS else PACE_S


def _waiting_records(assignment: Any, request: Any) -> int:
    """How many records there are, as of the answer, from where a request asked on; some may lie with the broker yet."""
    waiting = 0
    for topic, partitions in request.topics:
        for partition, offset, _ in partitions:
            end = assignment.state_value(TopicPartition(topic, partition)).highwater
            waiting += 0 if end is None else max(end - offset, 0)
    return waiting


def pace(client: Any) -> None:
    """Paces the fetches of an AIOKafkaConsumer that is started and has fetched nothing yet."""
    client._fetcher.__class__ = PacedFetcher
