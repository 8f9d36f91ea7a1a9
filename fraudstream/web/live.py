"""What a page may watch of a worker: sampled verdicts and the last minute's figures; it never makes the worker wait.

`observe` only keeps references and counts; arithmetic is done for many micro-batches at once, text is made for the few
verdicts that are shown, and only while somebody watches.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fraudstream.emitted import Emitted
from fraudstream.pipeline import Outcome
from fraudstream.settings import Settings
from fraudstream.web.live_events import Event, Figures, Sample, Subscriber, event_of
from fraudstream.web.live_stats import ALERTS, DEAD_LETTERS, THROUGHPUT_S, VERDICTS, WINDOW_S, Judged, RollingStats
from fraudstream.web.recent import Recent, Row, row_of_emitted

TICK_S = 0.5
"""Rows are handed out so often, the figures every second time."""
ALERTS_PER_TICK, OTHERS_PER_TICK = 3, 3
"""More could not be read by anyone who watches."""
FIRST_ALERTS, FIRST_OTHERS = 30, 30
MOST_SUBSCRIBERS = 32
REASONS_OF_ALERTS = 500
FOLD_AT_VERDICTS = 4096


class TooManySubscribersError(Exception):
    """As many pages watch as may."""


@dataclass(slots=True)
class _Pending:
    """Micro-batches of one second that are not counted yet."""

    second: int = 0
    sizes: list[int] = field(default_factory=list)
    sent_ms: list[float] = field(default_factory=list)
    took_ms: list[float] = field(default_factory=list)
    received_ms: list[NDArray[np.int64]] = field(default_factory=list)
    scores: list[NDArray[np.float64]] = field(default_factory=list)
    verdicts: int = 0
    alerts: int = 0
    dead_letters: int = 0


class LiveFeed:
    """Watches one worker.

    Args:
        settings: of the worker.
        health: tells its state now.
    """

    def __init__(self, settings: Settings, health: Callable[[], Any]) -> None:
        self._settings = settings
        self._health = health
        self._stats = RollingStats()
        self._pending = _Pending()
        self._subscribers: set[Subscriber] = set()
        self._ticking: asyncio.Task[None] | None = None
        self._sampled = (0, 0)
        self._kinds: deque[str] = deque(maxlen=REASONS_OF_ALERTS)
        self._kinds_of = 0
        self.recent = Recent()

    # What the worker calls

    def observe(self, outcome: Outcome, took_s: float) -> None:
        """Takes note of a micro-batch whose verdicts were just sent.

        Args:
            took_s: how long judging and sending took.
        """
        second = int(time.monotonic())
        pending = self._pending
        if second != pending.second or pending.verdicts >= FOLD_AT_VERDICTS:
            self._fold()
            pending = self._pending
            pending.second = second
        self.recent.add(outcome.verdicts)
        pending.alerts += len(outcome.verdicts.types)
        pending.dead_letters += len(outcome.dead_letters)
        if outcome.scores is None:
            return
        pending.verdicts += len(outcome.verdicts)
        pending.sizes.append(len(outcome.verdicts))
        pending.sent_ms.append(time.time() * 1000)
        pending.took_ms.append(took_s * 1000)
        pending.received_ms.append(outcome.received_ms)
        pending.scores.append(outcome.scores.anomaly)

    def _fold(self) -> None:
        pending, self._pending = self._pending, _Pending(self._pending.second)
        if not pending.sizes and not pending.dead_letters:
            return
        nothing = np.zeros(0)
        sent_ms, took_ms = np.repeat([pending.sent_ms, pending.took_ms], pending.sizes, axis=1)
        judged = Judged(
            scores=np.concatenate([nothing, *pending.scores]),
            waited_ms=sent_ms - np.concatenate([nothing, *pending.received_ms]),
            took_ms=took_ms,
            alerts=pending.alerts,
            dead_letters=pending.dead_letters,
        )
        self._stats.add(pending.second, judged)

    # What pages get

    def figures(self) -> Figures:
        """The last minute up to now."""
        self._fold()
        stats, now = self._stats, int(time.monotonic())
        by_second = stats.series(now, VERDICTS)
        self._count_kinds()
        return Figures(
            window_s=WINDOW_S,
            throughput=round(sum(by_second[-THROUGHPUT_S:]) / THROUGHPUT_S, 1),
            verdicts_by_second=by_second,
            alerts_by_second=stats.series(now, ALERTS),
            window_verdicts=stats.in_window(now, VERDICTS),
            window_alerts=stats.in_window(now, ALERTS),
            total={
                "verdicts": int(stats.totals[VERDICTS]),
                "alerts": int(stats.totals[ALERTS]),
                "dead_letters": int(stats.totals[DEAD_LETTERS]),
            },
            waited_ms=stats.waited_ms(now),
            took_ms=stats.took_ms(now),
            scores=stats.score_histogram(now),
            reasons=Counter(self._kinds).most_common(),
            reasons_of=len(self._kinds),
            contamination=self._settings.contamination,
            contamination_by=self._settings.contamination_by,
            health=self._health(),
        )

    def sample(self) -> Sample:
        """Some of the verdicts since the last call."""
        before, self._sampled = self._sampled, (self.recent.added, self.recent.alerts_added)
        added, alerts = self._sampled[0] - before[0], self._sampled[1] - before[1]
        shown = self.recent.newest_alerts(alerts, ALERTS_PER_TICK)
        shown += self.recent.newest_normal(added, OTHERS_PER_TICK)
        return Sample(_rows(shown), alerts, added - alerts)

    def first_sample(self) -> Sample:
        """The newest verdicts of all, for a page that was just opened."""
        others = self.recent.newest_normal(FIRST_OTHERS, FIRST_OTHERS)
        return Sample(_rows(self.recent.newest_alerts(FIRST_ALERTS, FIRST_ALERTS) + others), 0, 0)

    @asynccontextmanager
    async def subscribe(self) -> AsyncIterator[Subscriber]:
        """A subscriber for as long as the context lasts; the first event is there at once.

        Raises:
            TooManySubscribersError: MOST_SUBSCRIBERS watch already.
        """
        if len(self._subscribers) >= MOST_SUBSCRIBERS:
            raise TooManySubscribersError
        subscriber = Subscriber()
        subscriber.offer(event_of("figures", self.figures()))
        subscriber.offer(event_of("rows", self.first_sample()))
        self._subscribers.add(subscriber)
        if self._ticking is None:
            self._sampled = (self.recent.added, self.recent.alerts_added)
            self._ticking = asyncio.create_task(self._tick())
        try:
            yield subscriber
        finally:
            self._subscribers.discard(subscriber)
            if not self._subscribers and self._ticking is not None:
                self._ticking.cancel()
                self._ticking = None

    async def _tick(self) -> None:
        number = 0
        while True:
            await asyncio.sleep(TICK_S)
            number += 1
            self._tell(event_of("rows", self.sample()))
            if number % 2 == 0:
                self._tell(event_of("figures", self.figures()))

    def close(self) -> None:
        """Ends what every subscriber reads."""
        self._tell(None)

    def _tell(self, event: Event | None) -> None:
        for subscriber in self._subscribers:
            subscriber.offer(event)

    def _count_kinds(self) -> None:
        fresh = min(self.recent.alerts_added - self._kinds_of, REASONS_OF_ALERTS)
        self._kinds_of = self.recent.alerts_added
        self._kinds.extend(reversed(self.recent.newest_types(fresh)))


def _rows(verdicts: list[Emitted]) -> list[Row]:
    # Newest first by event time: which of two partitions was judged first says nothing to a reader.
    return sorted(map(row_of_emitted, verdicts), key=lambda row: row.event_time, reverse=True)
