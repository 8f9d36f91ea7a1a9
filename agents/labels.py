"""Joins labels with the audit trail's verdicts and counts how often the verdicts were right; it changes no store.

A label may come before its verdict is stored: it waits up to WAIT_S for it, unacknowledged. Labels are counted at least
once: after a crash those that were not acknowledged yet are read, and counted by the new process, again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, Protocol

import msgspec

from fraudstream.adapters.audit_metrics import AuditMetrics
from fraudstream.dead_letter import DeadLetter
from fraudstream.errors import AuditError, RefusedInput, said
from fraudstream.evidence import Evidence
from fraudstream.label import Label, decode_label

log = logging.getLogger(__name__)

WAIT_S = 60.0
"""A label's transaction that is not in the trail by then, counted from the broker's time, is unknown."""
TICK_S = 0.5
MOST_WAITING = 2_000
KEPT = 200_000
"""So many labels are remembered: one that comes again is not counted again."""
LATE_AFTER_S = 30 * 86_400

SendDeadLetter = Callable[[DeadLetter], Awaitable[None]]


class Trail(Protocol):
    """Where verdicts are looked up."""

    async def search(
        self, *, transaction_id: str | None = None, user_id: str | None = None, limit: int = 50
    ) -> list[Evidence]:
        """The newest evidence of a transaction of a user."""
        ...


class _Verdict(msgspec.Struct, gc=False):
    flagged: bool
    event_time: datetime


_decode_verdict = msgspec.json.Decoder(_Verdict).decode


class LabelJoin:
    """Counts labels; used by one agent of concurrency 1.

    Attributes:
        ack: set by the agent; called with each event that is done with.
    """

    def __init__(self, trail: Trail, metrics: AuditMetrics, send_dead_letter: SendDeadLetter) -> None:
        self._trail = trail
        self._metrics = metrics
        self._send_dead_letter = send_dead_letter
        self._waiting: list[tuple[Any, Label]] = []
        self._counted: OrderedDict[tuple[str, str], bool] = OrderedDict()
        self._room = asyncio.Event()
        self._room.set()
        self._epoch = 0
        self._said: str | None = None
        self.ack: Callable[[Any], Awaitable[Any]] | None = None

    async def take(self, event: Any) -> None:
        """Keeps one label until its verdict is found; returns when there is room for another."""
        message = event.message
        try:
            label = decode_label(message.key, message.value)
        except RefusedInput as refused:
            self._metrics.dead_letters.labels(refused.reason).inc()
            await self._send_dead_letter(
                DeadLetter.of(message.topic, message.partition, message.offset, message.key, message.value, refused)
            )
            await self._done(event)
            return
        self._waiting.append((event, label))
        if len(self._waiting) >= MOST_WAITING:
            self._room.clear()
        await self._room.wait()

    async def tick(self) -> None:
        """Looks for the verdicts of what waits: called from a timer."""
        waiting, epoch = list(self._waiting), self._epoch
        for event, label in waiting:
            try:
                is_done = await self._join(label, may_wait=time.time() - event.message.timestamp < WAIT_S)
            except AuditError as error:
                self._tell(said(error))
                return
            if epoch != self._epoch:
                return
            if is_done:
                self._waiting.remove((event, label))
                self._room.set()
                await self._done(event)
        if waiting:
            self._tell(None)

    def forget(self) -> None:
        """Partitions move: what waits will be delivered again."""
        self._epoch += 1
        self._waiting.clear()
        self._room.set()

    async def _join(self, label: Label, *, may_wait: bool) -> bool:
        """Counts a label; False: its verdict is not there yet."""
        identity = (label.transaction_id, label.user_id)
        before = self._counted.get(identity)
        if before is not None:
            self._count("repeated" if before == label.is_fraud else "revised")
            return True
        epoch = self._epoch
        found = await self._trail.search(transaction_id=label.transaction_id, user_id=label.user_id, limit=1)
        if epoch != self._epoch:  # another sink may count it now
            return False
        if not found:
            if not may_wait:
                self._count("unknown")
            return not may_wait
        self._compare(label, _decode_verdict(found[0].verdict))
        self._counted[identity] = label.is_fraud
        if len(self._counted) > KEPT:
            self._counted.popitem(last=False)
        return True

    def _compare(self, label: Label, verdict: _Verdict) -> None:
        self._count("counted")
        is_right = "true" if verdict.flagged == label.is_fraud else "false"
        says = "positive" if verdict.flagged else "negative"
        self._metrics.label_outcomes.labels(f"{is_right}_{says}").inc()
        delay_s = (label.reported_at - verdict.event_time).total_seconds()
        self._metrics.label_delay.observe(delay_s)
        if delay_s > LATE_AFTER_S:
            self._metrics.labels_late.inc()

    def _count(self, result: str) -> None:
        self._metrics.labels.labels(result).inc()

    async def _done(self, event: Any) -> None:
        if self.ack is not None:
            await self.ack(event)

    def _tell(self, problem: str | None) -> None:
        if problem is not None and problem != self._said:
            log.warning("labels wait, the trail cannot be asked: %s", problem)
        self._said = problem
