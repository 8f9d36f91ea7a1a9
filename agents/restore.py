"""Restores profiles from the changelog before a partition is read, and tells how far it is."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from fraudstream.adapters.kafka_client import broker_answers
from fraudstream.agents.changelog import changelog_reader, fetch, first_missing_offsets
from fraudstream.errors import BrokerError, said
from fraudstream.settings import Settings
from fraudstream.tables.store import ProfileStore

log = logging.getLogger(__name__)

STALLED_AFTER_S = 60.0
"""A restore that gets nothing for this long, though brokers answer and records are there, ends the process."""

SILENT_AFTER_S = 3.0
"""After this long without records it is asked whether brokers are there at all."""

RETRY_S = 2.0
LOG_EVERY_S = 5.0
RATE_OVER_S = 10.0

BULK_OFFSETS = 20_000
"""From here on a partition is loaded without RocksDB's log: less is written twice, and a crash only means to begin
where the last table on disk ends."""


@dataclass(slots=True)
class RestoreProgress:
    """How far the restore is, for /health, metrics and the log.

    Attributes:
        restored: records that were read.
        passed: offsets that were passed; more than records, because markers and what was compacted away have some too.
        total: offsets there are to pass.
        waiting: why nothing comes, though nothing is wrong here; None while it gets on.
    """

    restored: int = 0
    passed: int = 0
    total: int = 0
    is_running: bool = False
    waiting: str | None = None
    started_s: float = field(default_factory=time.monotonic)
    ended_s: float | None = None
    _marks: deque[tuple[float, int, int]] = field(default_factory=deque)

    def seconds(self) -> float:
        """How long it has taken so far, or took; 0 before the first."""
        return (time.monotonic() if self.is_running else self.ended_s or self.started_s) - self.started_s

    def note(self, now_s: float) -> None:
        """Remembers how far it is now, so that a rate can be told."""
        marks = self._marks
        if not marks or now_s - marks[-1][0] >= RATE_OVER_S / 20:
            marks.append((now_s, self.passed, self.restored))
        while now_s - marks[0][0] > RATE_OVER_S and len(marks) > 2:  # noqa: PLR2004  two make a rate
            marks.popleft()

    def rate(self) -> float:
        """Records a second, over the last seconds while it runs, over all of it afterwards."""
        return self._rate(2, self.restored)

    def left_s(self) -> float | None:
        """How long it will take yet; None where that cannot be told, 0 when it is over."""
        if not self.is_running:
            return 0.0
        rate = self._rate(1, self.passed)
        return max(self.total - self.passed, 0) / rate if rate and self.waiting is None else None

    def _rate(self, column: int, now: int) -> float:
        if not self.is_running:
            return now / self.seconds() if self.seconds() else 0.0
        if not self._marks:
            return 0.0
        elapsed_s = time.monotonic() - self._marks[0][0]
        return (now - self._marks[0][column]) / elapsed_s if elapsed_s else 0.0

    def __str__(self) -> str:
        """As /health and the log say it."""
        text = f"{self.restored} of at most {self.total} records"
        if self.waiting is not None:
            return f"{text}; {self.waiting}"
        left_s = self.left_s()
        return f"{text}, {self.rate():.0f}/s" + ("" if left_s is None else f", about {left_s:.0f} s left")


class ProfileRestore:
    """Brings the local store of some partitions up to the end of the changelog."""

    def __init__(self, settings: Settings, bootstrap: str, changelog: str, store: ProfileStore) -> None:
        self._settings = settings
        self._bootstrap = bootstrap
        self._changelog = changelog
        self._store = store
        self._heard_s = self._logged_s = 0.0
        self.progress = RestoreProgress()

    async def run(self, partitions: Sequence[int]) -> None:
        """Reads what the store does not have yet; waits for brokers that are away.

        Raises:
            BrokerError: something of it was deleted or cannot be read, or brokers answer and nothing came for a minute.
        """
        if not partitions:
            return
        tps = [TopicPartition(self._changelog, partition) for partition in partitions]
        self.progress = RestoreProgress(is_running=True)
        self._heard_s = self._logged_s = time.monotonic()
        try:
            while not await self._is_done(tps):
                continue
        finally:
            self.progress.is_running, self.progress.ended_s = False, time.monotonic()
        if self.progress.restored:
            log.info("restored %d profile records in %.1f s", self.progress.restored, self.progress.seconds())

    async def _is_done(self, tps: Sequence[TopicPartition]) -> bool:
        try:
            async with changelog_reader(self._settings, self._bootstrap) as consumer:
                await self._restore(consumer, tps)
        except (KafkaError, OSError, TimeoutError) as error:
            await self._bear_silence(said(error))
            await asyncio.sleep(RETRY_S)
            return False
        return True

    async def _restore(self, consumer: Any, tps: Sequence[TopicPartition]) -> None:
        ends: dict[TopicPartition, int] = await consumer.end_offsets(tps)
        reached = await first_missing_offsets(consumer, self._store, tps, ends)
        waiting = {tp: ends[tp] for tp, start in reached.items() if start < ends[tp]}
        bulk = {tp for tp, end in waiting.items() if end - reached[tp] >= BULK_OFFSETS}
        consumer.assign(list(waiting))
        for tp in waiting:
            consumer.seek(tp, reached[tp])
        self.progress.total = self.progress.passed + sum(end - reached[tp] for tp, end in waiting.items())
        writing: asyncio.Future[None] | None = None
        try:
            while waiting:
                fetched = await fetch(consumer, waiting)
                if writing is not None:
                    await writing
                # In a thread, because RocksDB lets others compute meanwhile: the next records are fetched and parsed.
                writing = asyncio.ensure_future(asyncio.to_thread(self._take, fetched, bulk))
                for tp in list(waiting):
                    position = await consumer.position(tp)
                    self.progress.passed += position - reached[tp]
                    reached[tp] = position
                    if position >= waiting[tp]:
                        await writing
                        await asyncio.to_thread(self._store.write, tp.partition, (), waiting.pop(tp) - 1)
                self._note(bool(fetched))
                if waiting and not fetched:
                    await self._bear_silence(_where(reached, waiting), consumer, waiting)
        finally:
            if writing is not None:
                await asyncio.shield(writing)  # nobody else may write to the store before this has ended

    def _take(self, fetched: Mapping[TopicPartition, list[Any]], bulk: Collection[TopicPartition]) -> None:
        for tp, records in fetched.items():
            # A user's newest record is enough. One without a key is nobody's; a compacted topic takes none.
            newest = {record.key: record.value for record in records if record.key is not None}
            write = self._store.load if tp in bulk else self._store.write
            write(tp.partition, newest.items(), records[-1].offset)
            self.progress.restored += len(records)

    def _note(self, has_come: bool) -> None:
        now_s = time.monotonic()
        self.progress.note(now_s)
        if has_come:
            self._heard_s, self.progress.waiting = now_s, None
        if now_s - self._logged_s > LOG_EVERY_S:
            self._logged_s = now_s
            log.info("restoring profiles: %s", self.progress)

    async def _bear_silence(self, what: str, consumer: Any = None, tps: Collection[TopicPartition] = ()) -> None:
        """Waits for brokers that are away, however long; those that answer may be silent for a minute.

        Raises:
            BrokerError: they were.
        """
        if time.monotonic() - self._heard_s < SILENT_AFTER_S:
            return
        away = await self._why_away(consumer, tps)
        now_s = time.monotonic()
        if away is not None:
            self._heard_s, self.progress.waiting = now_s - SILENT_AFTER_S, away
            self._note(False)
        elif now_s - self._heard_s > STALLED_AFTER_S:
            raise BrokerError(
                f"expected the changelog to be read to its end, got nothing for {STALLED_AFTER_S:.0f} s while Kafka "
                f"answers: {what}; look at the brokers' logs and at this worker's rights to the topic, then start again"
            )

    async def _why_away(self, consumer: Any, tps: Collection[TopicPartition]) -> str | None:
        if not await broker_answers(self._settings, self._bootstrap):
            return "waiting for Kafka, no broker answers"
        if consumer is None:
            return None
        await consumer._client.force_metadata_update()
        without = [tp.partition for tp in tps if (consumer._client.cluster.leader_for_partition(tp) or 0) < 0]
        return f"waiting for Kafka, partitions {without} of the changelog have no leader" if without else None


def _where(reached: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]) -> str:
    return ", ".join(
        f"{tp.topic} partition {tp.partition} stands at {reached[tp]} of {end}" for tp, end in ends.items()
    )
