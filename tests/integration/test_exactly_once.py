"""Exactly once, on a real broker, where nothing goes wrong; `make test-chaos` is for when it does."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fraudstream.adapters.kafka_topics import create_topics
from fraudstream.settings import Settings
from fraudstream.topics import changelog_topic
from fraudstream.training.history import encode_rows, read_history
from tests.checker import (
    Sent,
    assert_each_once,
    assert_states_equal,
    committed_offsets,
    end_offsets,
    ordered_producer,
    produce,
    states_by_changelog,
    states_by_oracle,
    verdicts_of,
)
from tests.datasets import data_set
from tests.servers.kafka import KafkaCluster
from tests.worker import Worker

ROWS = int(os.environ.get("EXACTLY_ONCE_ROWS", "20000"))
SESSION_TIMEOUT_S = 6.0  # the shortest that Kafka takes by default
SLICE_ROWS = 500
SLICE_EVERY_S = 0.05  # 10,000 transactions a second: a stream, not a finished backlog
ALL_JUDGED_WITHIN_S = 120.0
POLL_S = 0.05

pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.timeout(400)]


class Stream:
    """Produces at a steady rate in the background, and watches how far the worker is."""

    def __init__(self, bootstrap: str, settings: Settings, messages: list[tuple[bytes, bytes]]) -> None:
        self.sent: list[Sent] = []
        self.messages = messages
        self._bootstrap = bootstrap
        self._settings = settings

    async def run(self) -> None:
        async with ordered_producer(self._bootstrap) as producer:
            for start in range(0, len(self.messages), SLICE_ROWS):
                slept = asyncio.create_task(asyncio.sleep(SLICE_EVERY_S))
                rows = self.messages[start : start + SLICE_ROWS]
                self.sent += await produce(producer, self._settings.transactions_topic, rows)
                await slept

    async def judged(self) -> int:
        """How many verdicts were written so far, repeats and transaction markers counted."""
        return sum((await end_offsets(self._bootstrap, self._settings.verdicts_topic)).values())

    async def until_judged(self, rows: int, workers: list[Worker]) -> None:
        """Waits until so many verdicts were written, or fails with the log of the worker that ended."""
        async with asyncio.timeout(ALL_JUDGED_WITHIN_S):
            while await self.judged() < rows:
                for worker in workers:
                    assert worker.exit_code() is None, f"the worker ended by itself:\n{worker.tail()}"
                await asyncio.sleep(POLL_S)

    async def until_all_committed(self, workers: list[Worker]) -> None:
        """Waits until the group has committed everything that was sent."""
        ends = dict.fromkeys(range(self._settings.topic_partitions), 0)
        ends |= {each.partition: each.offset + 1 for each in sorted(self.sent, key=lambda each: each.offset)}
        async with asyncio.timeout(ALL_JUDGED_WITHIN_S):
            while True:
                found = await committed_offsets(
                    self._bootstrap, self._settings.app_id, self._settings.transactions_topic, len(ends)
                )
                if all(max(found[number], 0) == end for number, end in ends.items()):
                    return
                for worker in workers:
                    assert worker.exit_code() is None, f"the worker ended by itself:\n{worker.tail()}"
                await asyncio.sleep(POLL_S)


@pytest.fixture(scope="module")
def messages() -> list[tuple[bytes, bytes]]:
    """The earliest rows of sparkov_a as they travel."""
    return encode_rows(read_history(data_set("sparkov_a.parquet"), rows=ROWS))


@pytest.fixture
def settings(own_settings: Settings, kafka: KafkaCluster) -> Settings:
    return own_settings.model_copy(
        update={"kafka_servers": kafka.bootstrap, "kafka_session_timeout_s": SESSION_TIMEOUT_S}
    )


@pytest.fixture
def worker(settings: Settings, tmp_path: Path) -> Iterator[Worker]:
    worker = Worker(settings, tmp_path)
    yield worker
    worker.end()


async def assert_exactly_once(stream: Stream, settings: Settings, bootstrap: str) -> None:
    assert len(stream.sent) == len(stream.messages)
    expected = [json.loads(value)["transaction_id"] for _, value in stream.messages]
    committed = await verdicts_of(bootstrap, settings.verdicts_topic, "read_committed")
    assert_each_once(committed, expected)
    uncommitted = await verdicts_of(bootstrap, settings.verdicts_topic, "read_uncommitted")
    assert uncommitted.lost(expected) == []
    contradictory = uncommitted.contradictory()
    assert not contradictory, f"two truths about {len(contradictory)} transactions, such as {contradictory[:3]}"
    print(f"{len(expected)} transactions, {len(uncommitted.repeated())} repeated for a read_uncommitted reader")
    assert_states_equal(
        await states_by_changelog(bootstrap, changelog_topic(settings)),
        states_by_oracle(stream.sent, settings.allowed_lateness_s),
    )


async def test_without_faults_every_transaction_is_judged_once_and_every_state_is_exact(
    kafka: KafkaCluster, settings: Settings, worker: Worker, messages: list[tuple[bytes, bytes]]
) -> None:
    await create_topics(settings, kafka.bootstrap)
    stream = Stream(kafka.bootstrap, settings, messages)
    await worker.start().ready()
    await stream.run()
    await stream.until_all_committed([worker])
    assert worker.stop() == 0, worker.tail()
    await assert_exactly_once(stream, settings, kafka.bootstrap)
    uncommitted = await verdicts_of(kafka.bootstrap, settings.verdicts_topic, "read_uncommitted")
    assert uncommitted.repeated() == [], "nothing went wrong, so nothing may be said twice"
