"""A steady stream of simulated transactions that end now, sent to a worker's broker from a thread of its own."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import TracebackType

from aiokafka import AIOKafkaProducer

from fraudstream.training.history import encode_rows
from fraudstream.training.simulate import SimulationSpec, simulate
from tests.checker import ordered_producer, produce

DAYS = 60
STEP_S = 0.1
MOST_AHEAD = 15_000


class Traffic:
    """Sends from `__enter__` to `__exit__`, first the past at once, then the rest at `rate` a second.

    Args:
        bootstrap: of the broker.
        topic: to produce to.
        past: transactions that are sent as fast as it goes, though never so fast that the broker forgets some.
        then: transactions for the time after that, the last one of them now.
        flood: transactions of others, for times of a high rate; they begin when the others are over, or by `rise`.
        rate: a second; may be changed at any time.
        judged: tells how many transactions the worker has judged. Production waits for it: the embedded broker forgets
            what is not read in time.
    """

    def __init__(
        self, bootstrap: str, topic: str, judged: Callable[[], int], *, past: int, then: int, flood: int, rate: float
    ) -> None:
        start = datetime.now(UTC).replace(microsecond=0) - timedelta(days=DAYS)
        self.messages = encode_rows(simulate(SimulationSpec(transactions=past + then, start=start, days=DAYS)))
        self._flood_from = len(self.messages)
        self.messages += encode_rows(simulate(SimulationSpec(transactions=flood, start=start, days=DAYS, seed=1)))
        self.rate = rate
        self.sent = 0
        self._judged = judged
        self._next = 0
        self._bootstrap, self._topic, self._past = bootstrap, topic, past
        self._stop = threading.Event()
        self._past_sent = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def rise(self, rate: float) -> None:
        """Goes on with the flood, at another rate."""
        self._next = max(self._next, self._flood_from)
        self.rate = rate

    def __enter__(self) -> Traffic:
        self._thread.start()
        assert self._past_sent.wait(120), "the past was not sent within two minutes"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    async def _run(self) -> None:
        async with ordered_producer(self._bootstrap) as producer:
            while self._next < self._past:
                await self._send(producer, min(500, self._past - self._next))
                await asyncio.sleep(STEP_S)
            self._past_sent.set()
            started_s, due = time.monotonic(), 0.0
            while not self._stop.is_set() and self._next < len(self.messages):
                due += self.rate * min(time.monotonic() - started_s, 1.0)  # a wait is not made up for by a burst
                started_s = time.monotonic()
                await self._send(producer, int(due))
                due -= int(due)
                await asyncio.sleep(STEP_S)

    async def _send(self, producer: AIOKafkaProducer, count: int) -> None:
        while self.sent + count > MOST_AHEAD and not self._stop.is_set():
            if self.sent + count - await asyncio.to_thread(self._judged) <= MOST_AHEAD:
                break
            await asyncio.sleep(STEP_S)
        start, self._next = self._next, min(self._next + count, len(self.messages))
        await produce(producer, self._topic, self.messages[start : self._next])
        self.sent += self._next - start
