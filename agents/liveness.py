"""Whether a process has come to a standstill that a restart could mend.

A standstill is: there is something to get on with, and nothing gets on. What a restart cannot mend is not held against
the process: nothing to do, and a broker that does not answer.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from fraudstream.web.service import LivenessReport

log = logging.getLogger(__name__)

LOOKS_PER_LIMIT = 30
LONGEST_TICK_S = 1.0


class Work(NamedTuple):
    """What a process should get on with.

    Attributes:
        mark: changes whenever it does.
        standstill: what is wrong if it does not, in words.
    """

    mark: object
    standstill: str


class Liveness:
    """Looks at a process from inside, from `watch` on.

    Args:
        limit_s: so long a standstill may last.
        work: what there is to get on with now, None: nothing.
        broker_answers: asked only once half of the limit is over.
    """

    def __init__(
        self, limit_s: float, work: Callable[[], Work | None], broker_answers: Callable[[], Awaitable[bool]]
    ) -> None:
        self._limit_s = limit_s
        self._work = work
        self._broker_answers = broker_answers
        self._mark: object = None
        self._own_s = 0.0
        self.still_s = 0.0
        """How long nothing has got on, whoever is to blame."""
        self.problem: str | None = None

    def report(self) -> LivenessReport:
        """What /health/live answers."""
        return LivenessReport(alive=self.problem is None, problem=self.problem)

    async def watch(self) -> None:
        """Looks again and again, for as long as the process lives."""
        tick_s = min(LONGEST_TICK_S, self._limit_s / LOOKS_PER_LIMIT)
        looked_s = time.monotonic()
        while True:
            await asyncio.sleep(tick_s)
            now_s = time.monotonic()
            # A process that stood still as a whole (SIGSTOP, a moved machine) gets time to get on again.
            await self.look(min(now_s - looked_s, 2 * tick_s))
            looked_s = now_s

    async def look(self, elapsed_s: float) -> None:
        """Looks once, so long after the last time."""
        work = self._work()
        mark = None if work is None else work.mark
        if work is None or mark != self._mark:
            self._mark, self.still_s, self._own_s = mark, 0.0, 0.0
            self._note(None)
            return
        self.still_s += elapsed_s
        self._own_s += elapsed_s
        if self._own_s >= self._limit_s / 2 and not await self._broker_answers():
            self._own_s = 0.0
        # What was found stays until something gets on: whoever restarts processes asks several times.
        if self._own_s >= self._limit_s:
            self._note(f"{work.standstill}, for {self.still_s:.0f} s while the broker answers")

    def _note(self, problem: str | None) -> None:
        if problem is not None and self.problem is None:
            log.error("not alive: %s; a restart goes on from the last checkpoint", problem)
        self.problem = problem
