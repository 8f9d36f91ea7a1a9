"""The scoring agent: chunks in, verdicts out at once, state and offsets at the checkpoint; nothing else leaves it.

Order of effects, for each source partition: verdicts, alerts and dead letters inside the open Kafka transaction; then
the changed profiles, the source offset, the commit; then the local store; then Faust's acks. While a commit is under
way the next chunk is already decoded and scored.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

import numpy as np

from fraudstream.adapters.record_batches import packed_batches
from fraudstream.agents.batch_metrics import BatchMetrics, StageClock
from fraudstream.agents.checkpoint_pace import CheckpointPace
from fraudstream.agents.fatal import EXIT_FAULT, EXIT_FENCED, stop_process
from fraudstream.agents.producers import (
    BATCH_BYTES,
    PartitionProducer,
    Producers,
    dead_letter_message,
    group_by_partition,
)
from fraudstream.agents.slices import Slices
from fraudstream.emitted import Emitted
from fraudstream.errors import Fenced
from fraudstream.pipeline import Detector, Outcome, conclude, prepare
from fraudstream.settings import Settings
from fraudstream.tables.profiles import Profiles
from fraudstream.topics import changelog_topic
from fraudstream.wire.records import BatchReader

log = logging.getLogger(__name__)

LOOP_TURNS = 6
"""A request takes several turns of the loop (accept, read, handle, write): all of them in one pause."""

HELD_BRIEFLY_S = 0.002
"""A slice that is judged sooner than that makes no pauses: they would cost more than it does."""


class Event(Protocol):
    """A Faust event that carries what was fetched of a partition."""

    @property
    def message(self) -> Any: ...
    @property
    def value(self) -> list[Any]: ...


class Scoring:
    """Processes chunks and checkpoints; one per worker, used by one agent of concurrency 1.

    Attributes:
        producers: that send what follows, by source partition.
        detector: what judges now; the one place of the process that holds it. Changed by `swap` alone.
        is_lost: what was not committed is dropped, and everything that comes is, until `begin`.
        on_fault: is told of a fault after which nothing was committed.
        on_profiles_committed: is shown those of each checkpoint, by partition, once they are committed; must not wait.
        on_verdicts_committed: is handed those of each checkpoint once they are committed, in order; must not wait.
            None: nobody asked, and no verdict is kept.
    """

    def __init__(
        self,
        settings: Settings,
        detector: Detector,
        profiles: Profiles,
        producers: Producers,
        metrics: BatchMetrics,
        observe: Callable[[Outcome], None] | None = None,
    ) -> None:
        self._settings = settings
        self.detector = detector
        self._profiles = profiles
        self.producers = producers
        self._metrics = metrics
        self._observe = observe
        self._changelog = changelog_topic(settings)
        self._slices = Slices()
        self._lock = asyncio.Lock()
        self._events: list[Event] = []
        self._next_offsets: dict[int, int] = {}
        self._commit: asyncio.Task[None] | None = None
        self._pace = CheckpointPace(settings.checkpoint_interval_s)
        self._waiting: list[Event] = []
        self.is_lost = False
        self.on_fault: Callable[[Exception], None] = give_up
        self.ack: Callable[[Event], Awaitable[Any]] | None = None
        self.on_profiles_committed: Callable[[dict[int, list[tuple[bytes, bytes]]]], None] | None = None
        self.on_verdicts_committed: Callable[[list[Emitted]], None] | None = None
        self._uncommitted: list[Emitted] = []
        self.lag: Callable[[], int] = lambda: 0
        self.watch: Callable[[Outcome, float], None] | None = None
        self.processed = 0
        self.positions: dict[int, int] = {}
        self.judged_ms: dict[int, int] = {}

    def hand_over(self, event: Event) -> int:
        """Keeps a chunk for the next `take`; returns how many wait."""
        self._waiting.append(event)
        return len(self._waiting)

    def is_busy(self) -> bool:
        """Whether something that was handed over is not judged, or something judged not committed."""
        is_committing = self._commit is not None and not self._commit.done()
        return bool(self._waiting) or self._lock.locked() or is_committing

    async def take(self) -> None:
        """Judges the chunks that wait together and sends what follows; checkpoints when it is time.

        Never raises: a fault is for `on_fault`.
        """
        try:
            async with self._lock:
                events, self._waiting = self._waiting, []
                if self.is_lost:
                    return
                await self._take(events)
                if self._pace.is_due(self.lag):
                    await self._start_checkpoint()
        except Exception as error:
            self._lose(error)

    def begin(self) -> None:
        """Judges from the committed offsets on: the partitions are fenced, and nothing of them is read yet."""
        self.is_lost = False

    def _lose(self, error: Exception) -> None:
        """Drops all that is not committed: whatever a broker made of it, the committed offsets tell."""
        self.is_lost = True
        if self._commit is not None:
            self._commit.cancel()
            self._commit = None
        for dropped in (self._events, self._waiting, self._uncommitted, self._next_offsets):
            dropped.clear()
        self._profiles.forget()
        self.on_fault(error)

    async def _take(self, events: Sequence[Event]) -> None:
        for part in self._slices.of(BatchReader([batch for event in events for batch in event.value])):
            clock = StageClock()
            prepared = prepare(self.detector, part, self._profiles.load, clock.done)
            self._profiles.put(prepared.profiles)
            scores = prepared.score(self.detector)
            clock.done("score")
            await _let_others(clock)
            outcome = conclude(self.detector, prepared, scores, clock.done)
            if self._observe is not None:
                self._observe(outcome)
            clock.done("decide")
            await self._end_commit()  # a partition has one open transaction at a time
            clock.done("commit_wait")
            await self._send(outcome)
            clock.done("send")
            took_s = clock.elapsed_s()
            if self.on_verdicts_committed is not None:
                self._uncommitted += outcome.verdicts
            self._metrics.observe_batch(self.detector, outcome, len(part), took_s)
            self._show(outcome, took_s)
            clock.done("observe")
            self._metrics.observe_stages(clock)
            await _let_others(clock)
            self._slices.learn(len(part), clock.held_s)
            self.processed += len(part)
        for event in events:
            self._events.append(event)
            self._next_offsets[event.message.partition] = event.message.offset + 1
            self.judged_ms[event.message.partition] = event.value[-1].timestamp
        self.positions.update(self._next_offsets)

    def _show(self, outcome: Outcome, took_s: float) -> None:
        """Shows a batch to whoever watches; that must never stop what is watched."""
        if self.watch is None:
            return
        try:
            self.watch(outcome, took_s)
        except Exception:
            log.exception("the console shows no more verdicts until the next start; judging goes on")
            self.watch = None

    async def _send(self, outcome: Outcome) -> None:
        verdicts = outcome.verdicts
        everyone = np.arange(len(verdicts))
        alerts = everyone if self._settings.alert_on_all else np.flatnonzero(verdicts.flagged)
        topics = ((self._settings.verdicts_topic, everyone, True), (self._settings.alerts_topic, alerts, False))
        for topic, rows, with_evidence in topics:
            batches = packed_batches(verdicts, rows, BATCH_BYTES, with_evidence=with_evidence, is_transactional=True)
            for batch in batches:
                await self._producer_of(batch.partition).send_batch(topic, batch)
        letters = group_by_partition((letter.partition, dead_letter_message(letter)) for letter in outcome.dead_letters)
        for partition, refused in letters.items():
            await self._producer_of(partition).send(self._settings.dead_letters_topic, refused)

    def _producer_of(self, partition: int) -> PartitionProducer:
        if partition not in self.producers.owned():
            raise Fenced(f"partition {partition} was taken away while its transactions were judged")
        return self.producers[partition]

    async def swap(self, detector: Detector) -> None:
        """Judges with another detector from the next batch on; what is judged now ends with the old one."""
        async with self._lock:
            self.detector = detector

    # Checkpoint

    async def tick(self) -> None:
        """Checkpoints an idle stream: called from a timer."""
        try:
            if self._lock.locked() or not self._pace.is_due(self.lag):
                return
            async with self._lock:
                await self._start_checkpoint()
        except Exception as error:
            self._lose(error)

    async def settle(self) -> None:
        """Commits everything that was processed, before partitions move or the worker stops."""
        try:
            async with self._lock:
                await self._start_checkpoint()
                await self._end_commit()
                self._profiles.forget()
                self._waiting.clear()  # fetched before the partitions moved: read again from the committed offsets
        except Exception as error:
            self._lose(error)

    async def _start_checkpoint(self) -> None:
        await self._end_commit()
        self._pace.begin()
        if not self._events:
            return
        events, self._events = self._events, []
        offsets, self._next_offsets = self._next_offsets, {}
        # Taken here and not in the task: it starts later, and the next batch may have changed profiles by then.
        changed = self._profiles.begin_commit()
        verdicts, self._uncommitted = self._uncommitted, []
        self._metrics.begin_commit()
        self._commit = asyncio.ensure_future(self._checkpoint(events, offsets, changed, verdicts))

    async def _end_commit(self) -> None:
        if self._commit is not None:
            await self._commit
            self._commit = None

    async def _checkpoint(
        self,
        events: list[Event],
        offsets: dict[int, int],
        changed: dict[int, list[tuple[bytes, bytes]]],
        verdicts: list[Emitted],
    ) -> None:
        started_s = time.monotonic()
        partitions = sorted(offsets)
        commits = [
            asyncio.ensure_future(
                self.producers[partition].commit(self._changelog, changed.get(partition, ()), offsets[partition])
            )
            for partition in partitions
        ]
        try:
            ends = await asyncio.gather(*commits)
        finally:
            for commit in commits:  # one that failed takes the others with it: all go on from what is committed
                commit.cancel()
        self._profiles.end_commit(dict(zip(partitions, ends, strict=True)))
        if self.on_profiles_committed is not None:
            self.on_profiles_committed(changed)
        if self.ack is not None:
            for event in events:
                await self.ack(event)
        if self.on_verdicts_committed is not None and verdicts:
            self.on_verdicts_committed(verdicts)
        took_s = time.monotonic() - started_s
        self._pace.end(took_s)
        self._metrics.end_commit(took_s)


async def _let_others(clock: StageClock) -> None:
    if not clock.let_go(HELD_BRIEFLY_S):
        return
    for _ in range(LOOP_TURNS):
        await asyncio.sleep(0)
    clock.go_on()


def give_up(error: Exception) -> None:
    """Ends the process after a fault that the clients' own retries could not mend."""
    log.debug("giving up", exc_info=error)
    if isinstance(error, Fenced):
        stop_process(f"stops: {error}; nothing was committed after it", EXIT_FENCED)
    stop_process(
        f"stops after a fault that did not pass ({type(error).__name__}: {error}); nothing was committed after it, "
        "a restart goes on from the last checkpoint",
        EXIT_FAULT,
    )
