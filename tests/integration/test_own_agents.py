"""On a real broker: an agent of one's own commits its own offsets, those of the transactions stay the checkpoint's."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from fraudstream.adapters.kafka_topics import create_topics
from fraudstream.adapters.transaction_stream import TransactionStream, transaction_stream
from fraudstream.settings import Settings
from fraudstream.verdict import decode_verdict
from fraudstream.worker_process import WorkerProcess
from tests.checkout import ROOT
from tests.functional.test_examples import EXAMPLES, stream

if TYPE_CHECKING:
    from tests.servers.kafka import KafkaCluster

WITHIN_S = 60.0


async def committed(settings: Settings, topic: str) -> int:
    """Records of a topic that the worker's group has done with."""
    admin = AIOKafkaAdminClient(bootstrap_servers=str(settings.kafka_servers))
    await admin.start()
    try:
        offsets = await admin.list_consumer_group_offsets(settings.app_id)
    finally:
        await admin.close()
    partitions = [TopicPartition(topic, number) for number in range(settings.topic_partitions)]
    return sum(max(offsets[tp].offset, 0) for tp in partitions if tp in offsets)


def cases_in(path: Path) -> int:
    with sqlite3.connect(path) as connection:
        return int(connection.execute("SELECT count(*) FROM cases").fetchone()[0])


async def test_an_agent_goes_on_where_it_was_and_the_transactions_offsets_are_the_checkpoints(
    kafka: KafkaCluster, own_settings: Settings, tmp_path: Path
) -> None:
    settings = own_settings.model_copy(update={"kafka_servers": kafka.bootstrap, "contamination": 0.02})
    await create_topics(settings, kafka.bootstrap)
    transactions = stream(users=4, rows=12)
    names = ("kafka_servers", "app_id", "contamination", *(f"{name}_topic" for name in TOPICS))
    environment = {name.upper(): str(getattr(settings, name)) for name in names}
    environment["PYTHONPATH"] = os.pathsep.join([str(EXAMPLES / "case_agent"), str(ROOT)])
    environment["CASES_DB"] = str(tmp_path / "cases.sqlite")
    worker = WorkerProcess(environment, tmp_path, "cases")
    try:
        async with transaction_stream(settings, kafka.bootstrap) as client:
            worker.start()
            await asyncio.to_thread(worker.wait_until_ready)
            await client.send((one["user_id"].encode(), msgspec.json.encode(one)) for one in transactions)
            flagged = {
                name for name, is_flagged in (await verdicts_of(client, settings, len(transactions))) if is_flagged
            }
        deadline = time.monotonic() + WITHIN_S
        while cases_in(tmp_path / "cases.sqlite") < len(flagged) or not await committed(
            settings, settings.alerts_topic
        ):
            assert time.monotonic() < deadline, worker.tail()
            await asyncio.sleep(0.2)
        await asyncio.to_thread(worker.stop)
        assert await committed(settings, settings.transactions_topic) >= len(transactions)
        assert await committed(settings, settings.alerts_topic) >= len(flagged)
        assert cases_in(tmp_path / "cases.sqlite") == len(flagged)
    finally:
        await asyncio.to_thread(worker.stop)


TOPICS = ("transactions", "verdicts", "alerts", "dead_letters")


async def verdicts_of(client: TransactionStream, settings: Settings, number: int) -> set[tuple[str, bool]]:
    found: set[tuple[str, bool]] = set()
    async with asyncio.timeout(WITHIN_S):
        while len(found) < number:
            for topic, value in await client.receive(0.2):
                if topic == settings.verdicts_topic:
                    verdict = decode_verdict(value)
                    found.add((verdict.transaction_id, verdict.flagged))
    return found
