"""Keeps profiles of other workers' partitions warm, so that a takeover only has to read the tail of the changelog.

The assignor says which (STANDBY_REPLICAS); Faust's own standby reading is not used: it knows nothing of transactions
and writes its offset apart from its values.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from fraudstream.agents.changelog import changelog_reader, fetch, first_missing_offsets
from fraudstream.errors import BrokerError, said
from fraudstream.settings import Settings
from fraudstream.tables.store import ProfileStore

log = logging.getLogger(__name__)

RECORDS_PER_WRITE = 500
"""The event loop is let go after this many records: judging goes before copying."""

RETRY_S = 5.0


class Standby:
    """Copies committed changelog records into the local store, for partitions that this worker does not own.

    Attributes:
        partitions: those that are followed now.
        copied: records since the start.
    """

    def __init__(self, settings: Settings, bootstrap: str, changelog: str, store: ProfileStore) -> None:
        self._settings = settings
        self._bootstrap = bootstrap
        self._changelog = changelog
        self._store = store
        self._copying: asyncio.Task[None] | None = None
        self._behind: dict[int, int] = {}
        self.partitions: tuple[int, ...] = ()
        self.copied = 0

    def behind(self) -> int | None:
        """Changelog offsets that are not copied yet; None until every followed partition was heard of."""
        if any(partition not in self._behind for partition in self.partitions):
            return None
        return sum(self._behind.values())

    def follow(self, partitions: Iterable[int]) -> None:
        """Begins to copy; only after `rest`."""
        self.partitions, self._behind = tuple(sorted(partitions)), {}
        if self.partitions:
            self._copying = asyncio.ensure_future(self._copy_for_ever())

    async def rest(self) -> None:
        """Returns once nothing more is written: two must not write to one store."""
        copying, self._copying, self.partitions = self._copying, None, ()
        if copying is not None:
            copying.cancel()
            with suppress(asyncio.CancelledError):
                await copying

    async def _copy_for_ever(self) -> None:
        while True:
            try:
                await self._copy()
            except (KafkaError, BrokerError, OSError, TimeoutError) as error:
                # Not the end of the worker: a takeover reads more then, or says itself what is wrong.
                log.warning("profiles of other workers are not kept warm, next try in %.0f s: %s", RETRY_S, said(error))
            except Exception:
                log.exception("profiles of other workers are not kept warm, next try in %.0f s", RETRY_S)
            await asyncio.sleep(RETRY_S)

    async def _copy(self) -> None:
        async with changelog_reader(self._settings, self._bootstrap) as consumer:
            tps = [TopicPartition(self._changelog, partition) for partition in self.partitions]
            consumer.assign(tps)
            ends = await consumer.end_offsets(tps)
            for tp, start in (await first_missing_offsets(consumer, self._store, tps, ends)).items():
                consumer.seek(tp, start)
            log.info("keeps the profiles of partitions %s warm", list(self.partitions))
            while True:
                fetched = await fetch(consumer, tps, RECORDS_PER_WRITE)
                for tp, records in fetched.items():
                    self._store.write(
                        tp.partition, [(record.key, record.value) for record in records], records[-1].offset
                    )
                    self.copied += len(records)
                await self._measure(consumer, tps, ends)

    async def _measure(self, consumer: Any, tps: list[TopicPartition], ends: Mapping[TopicPartition, int]) -> None:
        for tp in tps:
            end = consumer.last_stable_offset(tp)
            position = await consumer.position(tp)
            self._behind[tp.partition] = max((ends[tp] if end is None or end < 0 else end) - position, 0)
