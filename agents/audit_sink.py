"""The audit sink's work: chunks of verdicts in, batches into the store, acks only after the store has them.

While the database is away a batch waits and is tried again, for as long as it takes; meanwhile nothing more is fetched.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from fraudstream.adapters.audit_metrics import AuditMetrics
from fraudstream.adapters.audit_rows import EvidenceRow, row_of_message
from fraudstream.adapters.audit_store import AuditStore
from fraudstream.dead_letter import DeadLetter
from fraudstream.errors import AuditError, RefusedInput
from fraudstream.settings import Settings

if TYPE_CHECKING:
    from fraudstream.agents.scoring import Event

log = logging.getLogger(__name__)

FIRST_WAIT_S, LONGEST_WAIT_S = 0.2, 10.0
SETTLE_S = 3.0
"""So long a rebalance waits for a batch under way; it is stored again by the next owner, which changes nothing."""

SendDeadLetter = Callable[[DeadLetter], Awaitable[None]]


class AuditSink:
    """Batches the verdicts of the owned partitions; used by one agent of concurrency 1.

    Attributes:
        ack: set by the agent; called with each event whose verdicts are stored.
        problem: why nothing can be stored just now, None when all is well.
        failures: batches that the database did not take.
        stored: rows since the start.
        batches: that the store took since the start, repeats included.
    """

    def __init__(
        self, settings: Settings, store: AuditStore, metrics: AuditMetrics, send_dead_letter: SendDeadLetter
    ) -> None:
        self._settings = settings
        self._store = store
        self._metrics = metrics
        self._send_dead_letter = send_dead_letter
        self._lock = asyncio.Lock()
        self._events: list[Event] = []
        self._records = 0
        self._oldest_s = 0.0
        self._epoch = 0
        self._writing = 0
        self._failed_since_s: float | None = None
        self._said: str | None = None
        self.ack: Callable[[Event], Awaitable[Any]] | None = None
        self.failures = 0
        self.stored = 0
        self.batches = 0

    @property
    def waiting(self) -> int:
        """Messages that were read and are not stored yet."""
        return self._records + self._writing

    @property
    def problem(self) -> str | None:
        """Why nothing is stored just now."""
        if self._failed_since_s is None:
            return None
        return f"{self._said} (for {time.monotonic() - self._failed_since_s:.0f} s; {self.waiting} verdicts wait)"

    async def take(self, event: Event) -> None:
        """Keeps a chunk; stores what has gathered once it fills a batch, and returns after that."""
        if not self._events:
            self._oldest_s = time.monotonic()
        self._events.append(event)
        self._records += len(event.value)
        if self._records >= self._settings.audit_batch_rows:
            await self._flush()

    async def tick(self) -> None:
        """Stores what has waited long enough: called from a timer."""
        if self._events and time.monotonic() - self._oldest_s >= self._settings.audit_batch_interval_s:
            await self._flush()

    async def settle(self) -> None:
        """Stores what is there, if that can be done at once, and forgets the rest: it will be delivered again."""
        try:
            async with asyncio.timeout(SETTLE_S):
                if self._failed_since_s is None:
                    await self._flush()
        except TimeoutError:
            log.warning("the store did not take the last batch in time; it is stored after the rebalance")
        self._epoch += 1
        self._events.clear()
        self._records = 0

    async def _flush(self) -> None:
        async with self._lock:
            if not self._events:
                return
            events, self._events = self._events, []
            self._writing, self._records = self._records, 0
            epoch = self._epoch
            try:
                if await self._store_until_taken(events, epoch) and self.ack is not None:
                    for event in events:
                        await self.ack(event)
            finally:
                self._writing = 0

    async def _store_until_taken(self, events: list[Event], epoch: int) -> bool:
        """Returns True once the store has everything, False when the partitions moved before."""
        rows: list[EvidenceRow] | None = None
        wait_s = FIRST_WAIT_S
        while True:
            try:
                rows = await self._rows_of(events) if rows is None else rows
                await self._append(rows)
            except Exception as error:  # whatever it is, the batch is not stored: it must not be acknowledged
                self._note_failure(error)
            else:
                self._note_success()
                return self._epoch == epoch
            # Jitter, so that many sinks do not come back to a database at the same moment.
            await asyncio.sleep(wait_s * random.uniform(0.5, 1.0))  # noqa: S311  no secret
            wait_s = min(wait_s * 2, LONGEST_WAIT_S)
            if self._epoch != epoch:
                return False

    async def _append(self, rows: list[EvidenceRow]) -> None:
        started_s = time.monotonic()
        for start in range(0, len(rows), self._settings.audit_batch_rows):
            part = rows[start : start + self._settings.audit_batch_rows]
            done = await self._store.append(part)
            self.stored += done.stored
            self.batches += 1
            ends = {row.source_partition: row.source_offset for row in part}
            self._metrics.observe_batch(
                done.stored, done.redelivered, done.duplicates, time.monotonic() - started_s, ends
            )
            started_s = time.monotonic()

    async def _rows_of(self, events: list[Event]) -> list[EvidenceRow]:
        rows: list[EvidenceRow] = []
        for record in (record for event in events for record in event.value):
            try:
                rows.append(row_of_message(record.value, record.headers))
            except RefusedInput as refused:
                self._metrics.dead_letters.labels(refused.reason).inc()
                await self._send_dead_letter(
                    DeadLetter.of(record.topic, record.partition, record.offset, record.key, record.value, refused)
                )
        return rows

    def _note_failure(self, error: Exception) -> None:
        self.failures += 1
        self._metrics.failures.inc()
        said = str(error) if isinstance(error, AuditError) else f"{type(error).__name__}: {error}"
        if self._failed_since_s is None or said != self._said:
            log.warning("verdicts are not stored, they wait: %s", said, exc_info=not isinstance(error, AuditError))
        self._failed_since_s = self._failed_since_s or time.monotonic()
        self._said = said

    def _note_success(self) -> None:
        if self._failed_since_s is not None:
            log.warning("verdicts are stored again, after %.0f s", time.monotonic() - self._failed_since_s)
        self._failed_since_s = self._said = None
