"""What a worker does while Kafka takes nothing: it waits, says so, and begins anew where that cost it a transaction.

Waiting is the clients' part: they send again until the brokers are back. What they cannot mend is a transaction that
the broker has ended meanwhile. Then everything that is not committed is dropped and the group joined again, which is
the way of every rebalance: producers start anew, profiles are restored up to what was committed, and reading goes on
from there. So it does not matter whether the broker has carried out a commit whose answer was lost.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from fraudstream.agents.fatal import EXIT_SETTINGS, stop_process
from fraudstream.agents.membership import Membership
from fraudstream.agents.producers import Producers
from fraudstream.agents.scoring import give_up
from fraudstream.errors import BrokerError, said
from fraudstream.topics import TopicProblem

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
SAID_AFTER_S = 5.0
SAID_EVERY_S = 30.0
ANEW_EVERY_S = 60.0
"""A fault that comes again so soon did not pass: the process ends, and its supervisor is told by the exit code."""


class Sender(Protocol):
    """Sends inside transactions, and tells `Outage.begin_anew` where it lost one.

    Attributes:
        producers: that send.
        is_lost: what was not committed is dropped, and everything that comes is, until partitions are taken over again.
        on_fault: is told of a fault after which nothing was committed.
    """

    on_fault: Callable[[Exception], None]

    @property
    def producers(self) -> Producers: ...
    @property
    def is_lost(self) -> bool: ...


class Outage:
    """Watches over what a worker sends.

    Args:
        senders: the judging, and the re-keying where there is one.
        membership: of the consumer group.
        misses_source: whether the broker no longer tells of the topic that is read.
        check_topics: what is wrong with the worker's topics; raises BrokerError while no broker answers.
    """

    def __init__(
        self,
        senders: Sequence[Sender],
        membership: Membership,
        misses_source: Callable[[], bool],
        check_topics: Callable[[], Awaitable[Sequence[TopicProblem]]],
    ) -> None:
        self._senders = senders
        self._membership = membership
        self._misses_source = misses_source
        self._check_topics = check_topics
        self._anew_s = -ANEW_EVERY_S
        self._joining: asyncio.Task[None] | None = None
        self._longest_s = 0.0
        self._said_s = 0.0

    async def watch(self) -> None:
        """Tells of outages, for as long as the process lives; ends it where topics have gone meanwhile."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            await self.look()

    async def look(self) -> None:
        """Looks once."""
        waiting_s = max(sender.producers.waiting_s() for sender in self._senders)
        if waiting_s < self._longest_s:
            if self._said_s:
                log.info("Kafka takes again what is sent, after %.0f s", self._longest_s)
            self._longest_s = self._said_s = 0.0
        self._longest_s = waiting_s
        if waiting_s > (self._said_s + SAID_EVERY_S if self._said_s else SAID_AFTER_S):
            self._said_s = waiting_s
            log.warning(
                "Kafka has taken nothing for %.0f s; this worker waits, loses nothing and goes on by itself", waiting_s
            )
            await self._refuse_bad_topics()
        elif self._misses_source():
            await self._refuse_bad_topics()
        waiting_in_vain = [sender.producers for sender in self._senders if sender.producers.is_too_old()]
        if waiting_in_vain and await self._refuse_bad_topics():
            # Brokers are back and will end that transaction; to be told so by them can take ten seconds and more.
            for producers in waiting_in_vain:
                producers.wait_no_longer()

    def begin_anew(self, error: Exception) -> None:
        """Goes on from the last checkpoint: in this process, or in the next where the fault does not pass.

        Everything that is not committed must be dropped already.
        """
        now_s = time.monotonic()
        is_told = sum(sender.is_lost for sender in self._senders) > 1
        if not isinstance(error, BrokerError) or (now_s - self._anew_s < ANEW_EVERY_S and not is_told):
            give_up(error)
        if is_told:  # one outage, by two senders: joining once serves both
            log.warning("%s; that is judged again, too", error)
            return
        self._anew_s = now_s
        log.warning("%s; what is not committed is dropped and judged again, after joining the group again", error)
        self._joining = asyncio.ensure_future(self._join_again())

    async def _join_again(self) -> None:
        while any(sender.is_lost for sender in self._senders):  # a rebalance may come first
            if await self._refuse_bad_topics():
                self._membership.rejoin()
                return
            await asyncio.sleep(LOOK_EVERY_S)

    async def _refuse_bad_topics(self) -> bool:
        """Whether a broker answers; ends the process where a topic is gone: to wait for it would be for ever."""
        try:
            problems = await self._check_topics()
        except BrokerError as error:
            log.debug("no broker answers yet: %s", said(error))
            return False
        if problems:
            stop_process("cannot go on:\n" + "\n".join(f"  - {problem}" for problem in problems), EXIT_SETTINGS)
        return True
