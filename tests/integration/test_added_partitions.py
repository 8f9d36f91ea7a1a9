"""Partitions that are added to living topics: no worker takes them over and loses profiles without a word."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions

from fraudstream.adapters.kafka_topics import create_topics
from fraudstream.settings import Settings
from fraudstream.topics import declared_topics
from tests.checker import committed_offsets, ordered_producer, produce, until, verdicts_of
from tests.servers.kafka import KafkaCluster
from tests.worker import Worker

USERS = 40
BEFORE, AFTER = 4, 6
MOVED = 27
"""Of these users, by Kafka's default partitioner; docs/operations.md tells it."""
EXIT_SETTINGS = 78
SEEN_WITHIN_S = 60.0

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


def payments(first: int) -> list[tuple[bytes | None, bytes | None]]:
    return [
        (
            f"u{number}".encode(),
            json.dumps(
                {"transaction_id": f"t{first + number}", "user_id": f"u{number}", "amount": 10, "merchant": "m"}
            ).encode(),
        )
        for number in range(USERS)
    ]


async def add_partitions(kafka: KafkaCluster, topics: list[str]) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    await admin.create_partitions({name: NewPartitions(total_count=AFTER) for name in topics})
    await admin.close()


@pytest.mark.parametrize("which", ["all topics", "transactions alone"])
async def test_workers_end_where_partitions_are_added_instead_of_judging_moved_users_as_new(
    which: str, kafka: KafkaCluster, own_settings: Settings, tmp_path: Path
) -> None:
    settings = own_settings.model_copy(update={"kafka_servers": kafka.bootstrap, "topic_partitions": BEFORE})
    await create_topics(settings, kafka.bootstrap)
    with Worker(settings, tmp_path, "one") as one, Worker(settings, tmp_path, "two") as two:
        await one.ready()
        await two.ready()
        async with ordered_producer(kafka.bootstrap) as producer:
            before = await produce(producer, settings.transactions_topic, payments(0))

        async def all_are_judged() -> bool:
            return len((await verdicts_of(kafka.bootstrap, settings.verdicts_topic)).by_id) == USERS

        await until(all_are_judged, SEEN_WITHIN_S, "a verdict for each")
        topics = [spec.name for spec in declared_topics(settings)]
        await add_partitions(kafka, topics if which == "all topics" else [settings.transactions_topic])
        for worker in (one, two):
            assert worker.wait(SEEN_WITHIN_S) == EXIT_SETTINGS, worker.tail()
            said = f"topic {settings.transactions_topic}: expected {BEFORE} partitions, found {AFTER}: some were added"
            assert said in worker.tail()
    async with ordered_producer(kafka.bootstrap) as producer:
        after = await produce(producer, settings.transactions_topic, payments(USERS))
    moved = [sent.key for sent, was in zip(after, before, strict=True) if sent.partition != was.partition]
    assert len(moved) == MOVED
    committed = await committed_offsets(kafka.bootstrap, settings.app_id, settings.transactions_topic, AFTER)
    assert [committed[new] for new in range(BEFORE, AFTER)] == [-1, -1]
