"""Restores profiles from the changelog before a partition is read: an own reader that knows transactions.

Faust's recovery waits for the record before the highwater mark; in a transactional topic that is a commit marker,
which no reader ever sees. So this reader goes on until its position, which counts markers, reaches the end.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import aiokafka
from aiokafka.structs import TopicPartition
from faust.tables import TableManager
from faust.tables.recovery import Recovery

from fraudstream.adapters.kafka_client import kafka_arguments
from fraudstream.agents.fatal import stop_process
from fraudstream.errors import BrokerError
from fraudstream.settings import Settings
from fraudstream.tables.store import ProfileStore

if TYPE_CHECKING:
    from fraudstream.agents.standby import Standby

log = logging.getLogger(__name__)

FETCH_TIMEOUT_MS = 500
FETCH_BYTES = 8 * 1024 * 1024
STALLED_AFTER_S = 60.0
"""A restore that gets nothing for this long, though records are there, gives up: the process ends and says so."""

LOG_EVERY_S = 5.0


@dataclass(slots=True)
class RestoreProgress:
    """How far the restore is, for /health and the log."""

    restored: int = 0
    total: int = 0
    is_running: bool = False
    started_s: float = field(default_factory=time.monotonic)
    ended_s: float | None = None

    def seconds(self) -> float:
        """How long it has taken so far, or took; 0 before the first."""
        return (time.monotonic() if self.is_running else self.ended_s or self.started_s) - self.started_s


class ProfileRestore:
    """Brings the local store of some partitions up to the end of the changelog."""

    def __init__(self, settings: Settings, bootstrap: str, changelog: str, store: ProfileStore) -> None:
        self._settings = settings
        self._bootstrap = bootstrap
        self._changelog = changelog
        self._store = store
        self.progress = RestoreProgress()

    async def run(self, partitions: Sequence[int]) -> None:
        """Reads what the store does not have yet.

        Raises:
            BrokerError: nothing came for a minute.
        """
        if not partitions:
            return
        async with changelog_reader(self._settings, self._bootstrap) as consumer:
            self.progress = RestoreProgress(is_running=True)
            try:
                await self._restore(consumer, [TopicPartition(self._changelog, partition) for partition in partitions])
            finally:
                self.progress.is_running, self.progress.ended_s = False, time.monotonic()

    async def _restore(self, consumer: Any, assigned: list[TopicPartition]) -> None:
        consumer.assign(assigned)
        ends: dict[TopicPartition, int] = await consumer.end_offsets(assigned)
        waiting = dict[TopicPartition, int]()
        for tp, start in (await first_missing_offsets(consumer, self._store, assigned, ends)).items():
            if start < ends[tp]:
                consumer.seek(tp, start)
                waiting[tp] = ends[tp]
                self.progress.total += ends[tp] - start
        started_s = logged_s = heard_s = time.monotonic()
        while waiting:
            fetched = await consumer.getmany(*waiting, timeout_ms=FETCH_TIMEOUT_MS)
            now_s = time.monotonic()
            if fetched:
                heard_s = now_s
            for tp, records in fetched.items():
                self._store.write(tp.partition, [(record.key, record.value) for record in records], records[-1].offset)
                self.progress.restored += len(records)
            for tp in list(waiting):
                if await consumer.position(tp) >= waiting[tp]:
                    self._store.write(tp.partition, (), waiting.pop(tp) - 1)
            if now_s - heard_s > STALLED_AFTER_S:
                raise BrokerError(
                    f"expected {len(waiting)} changelog partitions to be read to their end, "
                    f"got nothing for {STALLED_AFTER_S:.0f} s"
                )
            if now_s - logged_s > LOG_EVERY_S:
                logged_s = now_s
                self._log_progress(now_s - started_s)
            await asyncio.sleep(0)
        if self.progress.restored:
            log.info("restored %d profile records in %.1f s", self.progress.restored, time.monotonic() - started_s)

    def _log_progress(self, elapsed_s: float) -> None:
        progress = self.progress
        rate = progress.restored / elapsed_s
        left_s = max(progress.total - progress.restored, 0) / rate if rate else 0.0
        log.info(
            "restoring profiles: %d of at most %d records, %.0f/s, about %.0f s left",
            progress.restored, progress.total, rate, left_s,
        )  # fmt: skip


@asynccontextmanager
async def changelog_reader(settings: Settings, bootstrap: str) -> AsyncIterator[Any]:
    """A consumer outside any group that sees only what was committed."""
    consumer = aiokafka.AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        enable_auto_commit=False,
        isolation_level="read_committed",
        max_partition_fetch_bytes=FETCH_BYTES,
        fetch_max_wait_ms=100,
        **kafka_arguments(settings),
    )
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


async def first_missing_offsets(
    consumer: Any, store: ProfileStore, tps: Iterable[TopicPartition], ends: Mapping[TopicPartition, int]
) -> dict[TopicPartition, int]:
    """Where to go on reading each changelog partition, after what the store has.

    Raises:
        BrokerError: the store has seen more than the changelog holds.
    """
    firsts: dict[TopicPartition, int] = await consumer.beginning_offsets(list(tps))
    starts = dict[TopicPartition, int]()
    for tp, first in firsts.items():
        have = store.persisted_offset(tp)
        if have is not None and have >= ends[tp]:
            raise BrokerError(
                f"expected the changelog {tp.topic} partition {tp.partition} to reach offset {have}, which the "
                f"local store has seen, got an end of {ends[tp]}: the topic was deleted and made anew, or "
                "DATA_DIR belongs to another cluster; empty DATA_DIR or name another one"
            )
        starts[tp] = first if have is None else max(have + 1, first)
    return starts


class ProfileRecovery(Recovery):
    """Faust's recovery, with the reading done by `ProfileRestore` and, for standbys, by `Standby`.

    Attributes:
        warm_partitions: those that the last assignment wants kept warm here.
    """

    restore: ProfileRestore
    warm_partitions: tuple[int, ...] = ()

    async def on_rebalance(
        self, assigned: set[Any], revoked: set[Any], newly_assigned: set[Any], generation_id: int = 0
    ) -> None:
        """As Faust's, which then believes that there are no standbys."""
        await super().on_rebalance(assigned, revoked, newly_assigned, generation_id)
        self.warm_partitions = tuple(sorted({tp.partition for tp in self.standby_tps}))
        self.standby_tps.clear()
        self.standbys_for_table.clear()

    async def _wait(self, coro: Any, timeout: Any = None) -> None:
        # Faust takes the end of its timeout for the end of the service: a restore that lasts longer than a broker
        # request may would be given up without a word, and the worker would never judge.
        await super()._wait(coro)

    async def _build_highwaters(self, consumer: Any, tps: set[Any], destination: Any, title: str) -> None:
        if title == "active":
            try:
                await self.restore.run(sorted(tp.partition for tp in tps))
            except Exception as error:
                log.debug("restore failed", exc_info=True)
                stop_process(f"profiles cannot be restored: {error}")
        await super()._build_highwaters(consumer, tps, destination, title)

    async def _build_offsets(self, consumer: Any, tps: set[Any], destination: Any, title: str) -> None:
        await super()._build_offsets(consumer, tps, destination, title)
        if title == "active":
            for tp in tps:  # one by one: the destination is a Counter, whose update() adds
                destination[tp] = self.active_highwaters[tp]

    def need_recovery(self) -> bool:
        """Never: what there was to read, `ProfileRestore` has read."""
        return False

    async def _seek_offsets(self, consumer: Any, tps: set[Any], offsets: Any, title: str) -> None:
        if title != "active":  # Faust reads nothing of the active ones
            await super()._seek_offsets(consumer, tps, offsets, title)


class ProfileTableManager(TableManager):
    """Faust's table manager with our recovery."""

    restore: ProfileRestore
    standby: Standby

    async def on_start(self) -> None:
        """Registers the tables at once: Faust's own second of waiting serves tables that are declared late."""
        if not self.should_stop:
            await self._update_channels()
            await self.recovery.start()

    async def on_rebalance(
        self, assigned: set[Any], revoked: set[Any], newly_assigned: set[Any], generation_id: int = 0
    ) -> None:
        """As Faust's; whoever becomes the owner of a partition must find nobody else writing to its store."""
        await self.standby.rest()
        await super().on_rebalance(assigned, revoked, newly_assigned, generation_id)

    def on_actives_ready(self) -> None:
        """Own profiles go first; then those of others are kept warm."""
        super().on_actives_ready()
        self.standby.follow(self.recovery.warm_partitions)

    async def on_stop(self) -> None:
        """Writes nothing more before the store closes."""
        await self.standby.rest()
        await super().on_stop()

    @property
    def recovery(self) -> ProfileRecovery:
        """The recovery service."""
        if self._recovery is None:
            recovery = ProfileRecovery(self.app, self, beacon=self.beacon, loop=self.loop)
            recovery.restore = self.restore
            self._recovery = recovery
        return cast(ProfileRecovery, self._recovery)
