"""What pages that watch are told: the content of their events, and the bounded queue that each page has."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from fraudstream.web.recent import Row

QUEUED_EVENTS = 8


class Sample(msgspec.Struct, frozen=True):
    """Rows, newest first, and how many there were to choose from.

    Attributes:
        alerts: flagged verdicts since the last sample, shown or not.
        others: the other ones.
    """

    rows: list[Row]
    alerts: int
    others: int


class Figures(msgspec.Struct, frozen=True):
    """The worker's last minute; times in ms, None where nothing was judged.

    Attributes:
        throughput: verdicts a second, mean of the last THROUGHPUT_S whole seconds.
        verdicts_by_second: (WINDOW_S,) oldest first.
        alerts_by_second: (WINDOW_S,) the flagged ones of them.
        total: verdicts, alerts and dead letters since the worker started.
        waited_ms: from the broker's time of a transaction until its verdict was sent, p50, p95 and p99.
        took_ms: judging and sending a transaction's micro-batch.
        scores: counts of verdicts in equal parts of 0 to 1.
        reasons: leading reason codes of the newest `reasons_of` alerts, most frequent first.
        health: what /health answers.
    """

    window_s: int
    throughput: float
    verdicts_by_second: list[int]
    alerts_by_second: list[int]
    window_verdicts: int
    window_alerts: int
    total: dict[str, int]
    waited_ms: dict[str, float] | None
    took_ms: dict[str, float] | None
    scores: list[int]
    reasons: list[tuple[str, int]]
    reasons_of: int
    contamination: float
    contamination_by: str
    health: Any


class Event(msgspec.Struct, frozen=True):
    """One server-sent event."""

    name: str
    data: bytes


@dataclass(slots=True, eq=False)
class Subscriber:
    """One page that watches; what it does not fetch in time is lost to it, and `missed` says how much."""

    _waiting: asyncio.Queue[Event | None] = field(default_factory=lambda: asyncio.Queue(QUEUED_EVENTS))
    missed: int = 0

    def offer(self, event: Event | None) -> None:
        """Queues an event, or the end, in the place of the oldest one where the queue is full."""
        if self._waiting.full():
            self._waiting.get_nowait()
            self.missed += 1
        self._waiting.put_nowait(event)

    async def __aiter__(self) -> AsyncIterator[Event]:
        """Events as they come, until the feed closes."""
        while (event := await self._waiting.get()) is not None:
            yield event


def event_of(name: str, content: msgspec.Struct) -> Event:
    """An event with its content as JSON, made once for all pages."""
    return Event(name, msgspec.json.encode(content))
