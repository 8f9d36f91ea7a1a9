"""Transactions at a steady rate, whatever happens to the brokers, and where each of them went."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import partial
from types import TracebackType
from typing import Any

from confluent_kafka import Producer

from fraudstream.training.history import History, encode_chunks, read_history
from fraudstream.training.simulate import SimulationSpec, simulate
from tests.checker import Sent
from tests.datasets import DIRECTORY

SLICES_PER_S = 100
CHUNK_ROWS = 2_000
"""Encoded at a time: so few that the stream does not falter meanwhile."""
LONGEST_OUTAGE_MS = 600_000
FLUSH_WITHIN_S = 120.0


def transactions(rows: int) -> tuple[History, str]:
    """The earliest rows of the labelled data beside the checkout, or simulated ones; and what they are called."""
    path = DIRECTORY / "sparkov_a.parquet"
    if path.exists():
        return read_history(path, rows=rows), path.stem
    return simulate(SimulationSpec(transactions=rows, start=datetime(2025, 1, 1, tzinfo=UTC))), "simulated"


class Source:
    """Produces a history from `__enter__` to `__exit__`, which waits until the broker has all that was begun.

    Attributes:
        sent: every message that a broker acknowledged.
        failed: what the client gave up.
    """

    def __init__(self, bootstrap: str, topic: str, history: History, rate: float) -> None:
        self.sent: list[Sent] = []
        self.failed: list[str] = []
        self._bootstrap, self._topic, self._rate = bootstrap, topic, rate
        self._messages: Iterator[tuple[bytes, bytes]] = (
            message for chunk in encode_chunks(history, CHUNK_ROWS) for message in chunk
        )
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="source", daemon=True)

    def __enter__(self) -> Source:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def wait(self) -> None:
        """Returns when the whole history was sent."""
        self._thread.join()

    @property
    def is_over(self) -> bool:
        """Whether the history has ended before its time."""
        return not self._thread.is_alive()

    def ends(self) -> dict[int, int]:
        """The offset after the last message of each partition."""
        ends: dict[int, int] = {}
        for each in self.sent:
            ends[each.partition] = max(ends.get(each.partition, 0), each.offset + 1)
        return ends

    def _run(self) -> None:
        producer = steady_producer(self._bootstrap)
        per_slice, next_s = self._rate / SLICES_PER_S, time.monotonic()
        due = 0.0
        while not self._stop.is_set():
            due += per_slice
            for key, value in _take(self._messages, int(due)):
                now_ms = int(
                    time.time() * 1000
                )  # told, not asked back: the embedded broker answers with a made-up time
                producer.produce(self._topic, value, key, timestamp=now_ms, on_delivery=partial(self._note, now_ms))
                due -= 1
            if due >= 1:  # the history is over
                break
            next_s += 1 / SLICES_PER_S
            producer.poll(max(next_s - time.monotonic(), 0))
            time.sleep(max(next_s - time.monotonic(), 0))
        if left := producer.flush(FLUSH_WITHIN_S):
            self.failed.append(f"{left} messages were not acknowledged within {FLUSH_WITHIN_S:.0f} s")

    def _note(self, timestamp_ms: int, error: Any, message: Any) -> None:
        if error is not None:
            self.failed.append(str(error))
        else:
            self.sent.append(Sent(message.partition(), message.offset(), timestamp_ms, message.key(), message.value()))


def steady_producer(bootstrap: str) -> Producer:
    """A producer that keeps its order and its patience in an outage, and partitions as Java clients do."""
    return Producer(
        {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "partitioner": "murmur2_random",
            "linger.ms": 5,
            "message.timeout.ms": LONGEST_OUTAGE_MS,
            "queue.buffering.max.messages": 1_000_000,
            "queue.buffering.max.kbytes": 1_000_000,
            "reconnect.backoff.max.ms": 500,
            "log_level": 0,
        }
    )


def _take(messages: Iterable[tuple[bytes, bytes]], count: int) -> Iterator[tuple[bytes, bytes]]:
    for _, message in zip(range(count), messages, strict=False):
        yield message
