"""Faust's recovery and table manager, with the reading done by rooms that know transactions.

Faust's recovery waits for the record before the highwater mark; in a transactional topic that is a commit marker,
which no reader ever sees. So `ProfileRestore` goes on until its position, which counts markers, reaches the end.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, cast

from faust.tables import TableManager
from faust.tables.recovery import Recovery

from fraudstream.agents.fatal import stop_process
from fraudstream.agents.restore import ProfileRestore

if TYPE_CHECKING:
    from fraudstream.agents.standby import Standby

log = logging.getLogger(__name__)


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
