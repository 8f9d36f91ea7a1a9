"""?record=true on a real broker that dies and comes back: what was refused is not there, what was taken is."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fraudstream.adapters.kafka_topics import create_topics
from fraudstream.adapters.transaction_recorder import TransactionRecorder
from fraudstream.detector import load_detector
from fraudstream.settings import Settings
from tests.checker import read_topic
from tests.http_service import EXAMPLE, Client, Process, Reply
from tests.servers.kafka import KafkaCluster

TAKEN_WITHIN_S = 60.0


@pytest.fixture
async def client(kafka: KafkaCluster, own_settings: Settings) -> AsyncIterator[Client]:
    settings = own_settings.model_copy(update={"record_timeout_s": 2.0})
    await create_topics(settings, kafka.bootstrap)
    recorder = TransactionRecorder(settings, kafka.bootstrap)
    async with Client(Process(settings, load_detector(settings), recorder=recorder)) as client:
        yield client
    await recorder.stop()


def named(name: str) -> dict[str, Any]:
    return EXAMPLE | {"transaction_id": name, "user_id": f"user-{name}"}


async def record(client: Client, name: str) -> Reply:
    return await client.post(named(name), "/predict?record=true")


async def record_as_told(client: Client, name: str) -> Reply:
    """Asks again where the answer says so: a broker that has just come back leads no partition yet."""
    ends_s = time.monotonic() + TAKEN_WITHIN_S
    while (reply := await record(client, name)).status == 503 and time.monotonic() < ends_s:
        assert reply.json()["reason"] == "not_recorded", reply
        await asyncio.sleep(int(reply.headers["Retry-After"]))
    return reply


async def test_what_a_dead_broker_did_not_take_is_not_there_when_it_lives_again(
    client: Client, kafka: KafkaCluster
) -> None:
    topic = client.process.settings.transactions_topic
    assert (await record(client, "before")).status == 200
    kafka.kill()
    try:
        refused = [await record(client, name) for name in ("refused-1", "refused-2")]
        alone = await client.post(named("not recorded"))
    finally:
        kafka.revive()
    assert [reply.status for reply in refused] == [503, 503], refused
    assert {reply.json()["reason"] for reply in refused} == {"not_recorded"}
    assert alone.status == 200, "a verdict needs no broker"
    after = [await record_as_told(client, name) for name in ("after", "refused-1")]
    assert [reply.status for reply in after] == [200, 200], after
    found = await read_topic(kafka.bootstrap, topic)
    assert sorted(json.loads(one.value)["transaction_id"] for one in found) == ["after", "before", "refused-1"]
    assert all(one.key == json.loads(one.value)["user_id"].encode() for one in found)
