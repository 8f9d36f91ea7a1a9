"""While Kafka is away a worker waits; when it is back the worker goes on by itself, and no reader can tell."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from fraudstream.adapters.kafka_topics import create_topics
from fraudstream.settings import Settings
from fraudstream.topics import changelog_topic, declared_topics
from tests.checker import (
    Sent,
    assert_each_once,
    assert_states_equal,
    committed_offsets,
    ordered_producer,
    produce,
    states_by_changelog,
    states_by_oracle,
    states_by_rocksdb,
    until,
    verdicts_of,
)
from tests.servers.kafka import KafkaCluster
from tests.worker import Worker

EXIT_FAULT = 70
EXIT_SETTINGS = 78
OUTAGE_S = 45.0
"""Longer than what the client grants a batch by itself, 40 s."""
RESUMES_WITHIN_S = 15.0
ENDS_WITHIN_S = 30.0
JUDGED_WITHIN_S = 60.0
CLEANUP_S = 10.0
"""How often a broker looks for transactions that are open for too long."""
USERS = 40

pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.timeout(300)]


@dataclass(slots=True)
class Stream:
    """What was sent so far, and how far the group is with it."""

    settings: Settings
    sent: list[Sent] = field(default_factory=list)

    @property
    def bootstrap(self) -> str:
        return str(self.settings.kafka_servers)

    async def send(self, rows: int) -> None:
        numbers = range(len(self.sent), len(self.sent) + rows)
        async with ordered_producer(self.bootstrap) as producer:
            self.sent += await produce(producer, self.settings.transactions_topic, map(_row, numbers))

    async def committed(self) -> int:
        found = await committed_offsets(self.bootstrap, self.settings.app_id, self.settings.transactions_topic, 4)
        return sum(max(offset, 0) for offset in found.values())

    async def until_committed(self, within_s: float, worker: Worker) -> None:
        async def is_committed() -> bool:
            assert worker.exit_code() is None, worker.tail()
            return await self.committed() == len(self.sent)

        await until(is_committed, within_s, f"{len(self.sent)} transactions judged and committed")

    async def until_judged(self, worker: Worker) -> None:
        """Of a worker that was not started again: committed or not."""

        async def is_judged() -> bool:
            health = await worker.ask("/health")
            return health is not None and health.json()["processed"] == len(self.sent)

        await until(is_judged, JUDGED_WITHIN_S, f"{len(self.sent)} transactions judged")

    async def assert_exactly_once(self, worker: Worker) -> None:
        """Of a worker that has stopped."""
        verdicts = await verdicts_of(self.bootstrap, self.settings.verdicts_topic)
        assert_each_once(verdicts, [f"t{number}" for number in range(len(self.sent))])
        uncommitted = await verdicts_of(self.bootstrap, self.settings.verdicts_topic, "read_uncommitted")
        assert uncommitted.contradictory() == []
        expected = states_by_oracle(self.sent, self.settings.allowed_lateness_s)
        assert_states_equal(await states_by_changelog(self.bootstrap, changelog_topic(self.settings)), expected)
        assert_states_equal(states_by_rocksdb(worker.data_dir), expected)


def _row(number: int) -> tuple[bytes, bytes]:
    user = f"u{number % USERS}"
    fields = {"transaction_id": f"t{number}", "user_id": user, "amount": number % 97 + 0.25, "merchant": "m"}
    return user.encode(), json.dumps(fields | {"timestamp": 1_700_000_000 + 37 * number}).encode()


async def stream_on(cluster: KafkaCluster, settings: Settings, **changed: object) -> Stream:
    stream = Stream(settings.model_copy(update={"kafka_servers": cluster.bootstrap, **changed}))
    await create_topics(stream.settings, cluster.bootstrap)
    return stream


@pytest.fixture
async def own_cluster(tmp_path: Path) -> AsyncIterator[KafkaCluster]:
    """A broker that may be killed."""
    with KafkaCluster(directory=tmp_path / "kafka") as cluster:
        yield cluster


async def test_a_worker_outlives_a_broker_that_is_killed_and_stops_in_time_without_one(
    own_cluster: KafkaCluster, own_settings: Settings, tmp_path: Path
) -> None:
    # A checkpoint that is a while away: a transaction is open when the broker is killed.
    stream = await stream_on(own_cluster, own_settings, checkpoint_interval_s=5.0, kafka_session_timeout_s=6.0)
    with (
        Worker(stream.settings, tmp_path) as worker,
        Worker(stream.settings, tmp_path, "sink", app="fraudstream.agents.audit") as sink,
    ):
        await worker.ready()
        await sink.ready()
        await stream.send(200)
        await stream.until_committed(JUDGED_WITHIN_S, worker)
        await stream.send(2_000)
        await stream.until_judged(worker)
        assert await stream.committed() < len(stream.sent), "the checkpoint came before the kill"
        await asyncio.to_thread(own_cluster.kill)
        await asyncio.sleep(OUTAGE_S)
        assert worker.exit_code() is None, worker.tail()
        assert await says(worker, "Kafka has taken nothing for ")
        assert await says(sink, "no word from Kafka's group coordinator for ")
        await asyncio.to_thread(own_cluster.revive)
        back_s = time.monotonic()
        await stream.until_committed(RESUMES_WITHIN_S, worker)
        print(f"all was committed {time.monotonic() - back_s:.1f} s after the broker's return")
        await stream.send(500)
        await stream.until_committed(JUDGED_WITHIN_S, worker)
        log = worker.log_text()
        assert "this worker waits, loses nothing and goes on by itself" in log
        assert "Kafka takes again what is sent" in log

        await stream.send(500)
        await asyncio.to_thread(own_cluster.kill)
        await asyncio.sleep(1)
        signalled_s = time.monotonic()
        code = await asyncio.to_thread(worker.stop, ENDS_WITHIN_S)
        print(f"without a broker it ended {time.monotonic() - signalled_s:.1f} s after SIGTERM")
        assert code in (0, EXIT_FAULT), worker.tail()
        await asyncio.to_thread(own_cluster.revive)
        worker.start()
        await stream.until_committed(JUDGED_WITHIN_S, worker)
        assert await asyncio.to_thread(worker.stop) == 0, worker.tail()

        async def all_is_stored() -> bool:
            health = await sink.ask("/health")
            return health is not None and health.json()["rows"] == len(stream.sent)

        await until(all_is_stored, JUDGED_WITHIN_S, "each verdict stored once by the audit sink")
        assert await asyncio.to_thread(sink.stop) == 0, sink.tail()
    worker.assert_no_traceback()
    sink.assert_no_traceback()
    await stream.assert_exactly_once(worker)


async def says(process: Worker, problem: str) -> bool:
    """Whether /health names a problem that begins so."""
    health = await process.ask("/health")
    return health is not None and any(text.startswith(problem) for text in health.json()["problems"])


async def copies_of(cluster: KafkaCluster, topics: set[str]) -> dict[str, tuple[set[int], str]]:
    """How many copies the partitions of each topic have, and how many of them a write waits for."""
    admin = AIOKafkaAdminClient(bootstrap_servers=cluster.bootstrap)
    await admin.start()
    described = await admin.describe_topics(sorted(topics))
    [configs] = await admin.describe_configs(
        [ConfigResource(ConfigResourceType.TOPIC, name) for name in sorted(topics)]
    )
    await admin.close()
    in_sync = {name: dict(entry[:2] for entry in entries) for *_, name, entries in configs.resources}
    return {
        topic["topic"]: (
            {len(partition["replicas"]) for partition in topic["partitions"]},
            in_sync[topic["topic"]]["min.insync.replicas"],
        )
        for topic in described
    }


async def test_of_three_brokers_each_may_be_killed_and_all_but_one(own_settings: Settings, tmp_path: Path) -> None:
    with KafkaCluster(brokers=3, directory=tmp_path / "kafka") as cluster:
        stream = await stream_on(cluster, own_settings, topic_replication=3, kafka_session_timeout_s=6.0)
        names = {spec.name for spec in declared_topics(stream.settings)}
        assert await copies_of(cluster, names) == dict.fromkeys(names, ({3}, "2"))
        with Worker(stream.settings, tmp_path) as worker:
            await worker.ready()
            # Leaders of transactions and of results, and both coordinators, are spread over all three.
            for killed in ((1,), (2,), (3, 1)):
                await stream.send(300)
                await asyncio.to_thread(cluster.kill, *killed)
                if len(killed) == 1:
                    await stream.send(300)
                else:
                    await asyncio.sleep(5)
                    await asyncio.to_thread(cluster.revive, *killed)
                back_s = time.monotonic()
                await stream.until_committed(RESUMES_WITHIN_S, worker)
                print(f"brokers {killed} killed: all was committed {time.monotonic() - back_s:.1f} s after")
                if len(killed) == 1:
                    await asyncio.to_thread(cluster.revive, *killed)
            assert await asyncio.to_thread(worker.stop) == 0, worker.tail()
        worker.assert_no_traceback()
        await stream.assert_exactly_once(worker)


async def test_a_transaction_that_the_broker_has_ended_costs_no_worker(
    kafka: KafkaCluster, own_settings: Settings, tmp_path: Path
) -> None:
    # Its session lasts: the group keeps it, only the transaction does not.
    stream = await stream_on(kafka, own_settings, checkpoint_interval_s=1.0, kafka_session_timeout_s=40.0)
    with Worker(stream.settings, tmp_path, app="tests.impatient") as worker:
        await worker.ready()
        await stream.send(200)
        await stream.until_committed(JUDGED_WITHIN_S, worker)
        await stream.send(200)
        await stream.until_judged(worker)
        worker.stall()
        assert await stream.committed() < len(stream.sent), "the stall came after the checkpoint"
        await asyncio.sleep(CLEANUP_S + 3)
        worker.resume()
        await stream.until_committed(JUDGED_WITHIN_S, worker)
        assert "the broker ends a transaction of partition" in worker.log_text(), worker.tail()
        await stream.send(200)
        await stream.until_committed(JUDGED_WITHIN_S, worker)
        assert await asyncio.to_thread(worker.stop) == 0, worker.tail()
    worker.assert_no_traceback()
    await stream.assert_exactly_once(worker)


@pytest.mark.parametrize(
    ("setting", "keying"),
    [("verdicts_topic", "strict"), ("transactions_topic", "strict"), ("transactions_topic", "payload")],
)
async def test_a_topic_that_is_deleted_under_a_worker_ends_it_in_words(
    kafka: KafkaCluster, own_settings: Settings, tmp_path: Path, setting: str, keying: str
) -> None:
    stream = await stream_on(kafka, own_settings, keying=keying)
    topic = getattr(stream.settings, setting)
    with Worker(stream.settings, tmp_path) as worker:
        await worker.ready()
        await stream.send(200)
        if keying == "strict":
            await stream.until_committed(JUDGED_WITHIN_S, worker)
        await stream.until_judged(worker)
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
        await admin.start()
        await admin.delete_topics([topic])
        await admin.close()
        if setting != "transactions_topic":
            await stream.send(200)
        assert await asyncio.to_thread(worker.wait, JUDGED_WITHIN_S) == EXIT_SETTINGS, worker.tail()
    assert f"topic {topic}: missing; create it with `fraudstream topics create`" in worker.log_text(), worker.tail()
    worker.assert_no_traceback()
    if setting != "transactions_topic":
        assert await stream.committed() == 200
