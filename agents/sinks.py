"""Hands committed verdicts to functions of one's own, in this process, beside the stream and never in its way.

A sink has a queue that is bounded in verdicts. What comes while it is full is dropped for that sink and counted, since
waiting would hold up everybody's verdicts; who must see each of them reads the topic instead, with an agent or a
consumer group. What a sink raises is counted and logged, and costs it that one micro-batch.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence

from fraudstream.adapters.metrics import Metrics
from fraudstream.emitted import Emitted
from fraudstream.errors import SettingsError
from fraudstream.verdict import Verdict, decode_verdict

log = logging.getLogger(__name__)

Sink = Callable[[Sequence[Verdict]], Awaitable[object]]
"""Given the verdicts of a committed micro-batch, in order within a partition; after a crash some never come."""

MOST_AT_ONCE = 1024
"""Verdicts of one call: a larger micro-batch comes in several."""
DRAIN_S = 5.0
"""How long a stopping worker waits for its sinks."""


class SinkQueue:
    """One sink with what waits for it.

    Args:
        sink: what is called.
        name: of it in metrics and logs.
        limit: verdicts that may wait.
    """

    def __init__(self, sink: Sink, name: str, limit: int, metrics: Metrics) -> None:
        self._sink, self._name, self._limit = sink, name, limit
        self._waiting: deque[list[Emitted]] = deque()
        self._size = 0
        self._came = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._delivered, self._dropped, self._failed = (
            metrics.sink_verdicts.labels(name, outcome) for outcome in ("delivered", "dropped", "failed")
        )
        self._is_dropping = False

    def offer(self, verdicts: list[Emitted]) -> None:
        """Queues a micro-batch, or drops what has no room; never waits."""
        room = self._limit - self._size
        if len(verdicts) > room:
            self._dropped.inc(len(verdicts) - room)
            if not self._is_dropping:  # once for each time that it falls behind
                self._is_dropping = True
                log.warning("sink %s is too slow: verdicts are dropped for it, see SINK_QUEUE_VERDICTS", self._name)
            verdicts = verdicts[:room]
        if verdicts:
            self._waiting += [verdicts[at : at + MOST_AT_ONCE] for at in range(0, len(verdicts), MOST_AT_ONCE)]
            self._size += len(verdicts)
            self._idle.clear()
            self._came.set()

    async def run(self) -> None:
        """Calls the sink for as long as the worker runs."""
        while True:
            await self._came.wait()
            self._came.clear()
            while self._waiting:
                verdicts = self._waiting.popleft()
                await self._deliver(verdicts)
                self._size -= len(verdicts)
            self._is_dropping = False
            self._idle.set()

    async def _deliver(self, verdicts: list[Emitted]) -> None:
        try:
            await self._sink([decode_verdict(emitted.value) for emitted in verdicts])
        except Exception:
            self._failed.inc(len(verdicts))
            log.exception("sink %s failed for %d verdicts, which it will not get again", self._name, len(verdicts))
        else:
            self._delivered.inc(len(verdicts))

    async def drain(self) -> None:
        """Returns when nothing waits any more."""
        await self._idle.wait()

    async def close(self) -> None:
        """Calls the sink's own `close`, where it has one."""
        close = getattr(self._sink, "close", None)
        if close is not None:
            try:
                closed = close()
                if inspect.isawaitable(closed):
                    await closed
            except Exception:
                log.exception("sink %s failed to close", self._name)


class Sinks:
    """All sinks of a worker.

    Raises:
        SettingsError: one of them is no async function.
    """

    def __init__(self, sinks: Iterable[Sink], limit: int, metrics: Metrics) -> None:
        self._queues = [SinkQueue(sink, _name_of(sink, at), limit, metrics) for at, sink in enumerate(sinks)]

    def __bool__(self) -> bool:
        return bool(self._queues)

    def offer(self, verdicts: list[Emitted]) -> None:
        """Shows every sink a committed micro-batch."""
        for queue in self._queues:
            queue.offer(verdicts)

    def runs(self) -> list[Awaitable[None]]:
        """What is to run beside the stream."""
        return [queue.run() for queue in self._queues]

    async def stop(self) -> None:
        """Waits a little for what is still queued, then closes the sinks."""
        try:
            async with asyncio.timeout(DRAIN_S):
                for queue in self._queues:
                    await queue.drain()
        except TimeoutError:
            log.warning("sinks still had verdicts to take after %.0f s; the worker stops without them", DRAIN_S)
        for queue in self._queues:
            await queue.close()


def _name_of(sink: Sink, at: int) -> str:
    """The function's or class's name, with its number, so that two of a kind can be told apart."""
    function = sink if inspect.isfunction(sink) or inspect.ismethod(sink) else getattr(sink, "__call__", None)  # noqa: B004
    if not inspect.iscoroutinefunction(function):
        raise SettingsError(
            f"sinks: expected async functions, or objects with an async __call__, that take a sequence of verdicts; "
            f"got {sink!r}"
        )
    return f"{getattr(sink, '__name__', type(sink).__name__)}-{at}"
