"""KEYING=payload on a real broker: whatever the keys, each transaction is judged once, also where workers die."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.partitioner import DefaultPartitioner

from fraudstream.adapters.consumer_group import require_same_keying
from fraudstream.adapters.kafka_topics import create_topics
from fraudstream.agents.fatal import EXIT_SETTINGS
from fraudstream.settings import Settings
from fraudstream.topics import judged_topic, rekeyed_topic
from tests.checker import assert_each_once, end_offsets, read_topic, until, verdicts_of
from tests.servers.kafka import KafkaCluster
from tests.worker import Worker

ROWS = 12_000
USERS = 300
BAD_EVERY = 50
SLICE_ROWS = 200
SESSION_TIMEOUT_S = 6.0
WITHIN_S = 90.0
HOUR_MS = 3_600_000
PARTITIONS = list(range(4))
_choose = DefaultPartitioner()

pytestmark = [pytest.mark.slow]


@pytest.fixture
def settings(own_settings: Settings, kafka: KafkaCluster) -> Settings:
    return own_settings.model_copy(
        update={
            "kafka_servers": kafka.bootstrap,
            "kafka_session_timeout_s": SESSION_TIMEOUT_S,
            "keying": "payload",
        }
    )


@pytest.fixture
def workers(settings: Settings, tmp_path: Path) -> Iterator[list[Worker]]:
    workers = [Worker(settings, tmp_path, name) for name in ("first", "second")]
    yield workers
    for worker in workers:
        worker.end()


def rows(seed: int) -> list[tuple[bytes | None, bytes]]:
    """Keys of every kind before payloads of many users, some of which no transaction can be read from."""
    chance = random.Random(seed)
    made: list[tuple[bytes | None, bytes]] = []
    for number in range(ROWS):
        user = f"u{chance.randrange(USERS)}"
        key = chance.choice([None, b"", user.encode(), b"somebody else", b"\xff\x00"])
        fields = {"transaction_id": f"t{number}", "user_id": user, "amount": 1 + number % 9, "merchant": "m"}
        value = json.dumps(fields).encode()
        made.append((key, value[:-1] if number % BAD_EVERY == 0 else value))
    return made


async def send(bootstrap: str, settings: Settings, messages: list[tuple[bytes | None, bytes]]) -> None:
    an_hour_ago_ms = int(time.time() * 1000) - HOUR_MS
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True, linger_ms=5) as producer:
        for at in range(0, len(messages), SLICE_ROWS):
            more: dict[str, Any] = {"timestamp_ms": an_hour_ago_ms + at, "headers": [("n", b"1")]}
            part = [
                await producer.send(settings.transactions_topic, value, key=key, **more)
                for key, value in messages[at : at + SLICE_ROWS]
            ]
            await asyncio.gather(*part, asyncio.sleep(0.05))


async def assert_moved(bootstrap: str, settings: Settings, messages: list[tuple[bytes | None, bytes]]) -> None:
    good = Counter(value for number, (_, value) in enumerate(messages) if number % BAD_EVERY)
    source = {one.value: one for one in await read_topic(bootstrap, settings.transactions_topic)}
    moved = await read_topic(bootstrap, rekeyed_topic(settings))
    assert Counter(one.value for one in moved) == good
    lanes: dict[tuple[str, int], int] = {}
    for one in moved:
        user, was = json.loads(one.value)["user_id"], source[one.value]
        assert one.key == user.encode()
        assert one.partition == _choose(one.key, PARTITIONS, PARTITIONS)
        assert (one.timestamp, one.headers) == (was.timestamp, was.headers)
        lane = (user, was.partition)
        assert was.offset > lanes.get(lane, -1), f"{lane}: the order of a source partition was not kept"
        lanes[lane] = was.offset
    letters = await read_topic(bootstrap, settings.dead_letters_topic)
    assert len(letters) == len(messages) - good.total()
    for letter in letters:
        headers = {name: content.decode() for name, content in letter.headers}
        was = source[letter.value]
        assert (letter.key, headers["source_topic"]) == (was.key, settings.transactions_topic)
        assert (int(headers["source_partition"]), int(headers["source_offset"])) == (was.partition, was.offset)
        assert headers["reason"] == "malformed_json"


async def test_transactions_with_any_key_are_judged_once_and_in_order_though_workers_are_killed(
    kafka: KafkaCluster, settings: Settings, workers: list[Worker]
) -> None:
    await create_topics(settings, kafka.bootstrap)
    messages, (first, second) = rows(seed=4), workers
    await first.start().ready()

    async def kill_at(share: float, worker: Worker, part: list[tuple[bytes | None, bytes]]) -> None:
        """Kills a worker while a part of the messages comes in."""
        sending = asyncio.create_task(send(kafka.bootstrap, settings, part))

        async def is_moved() -> bool:
            return sum((await end_offsets(kafka.bootstrap, rekeyed_topic(settings))).values()) >= share * ROWS

        await until(is_moved, WITHIN_S, f"{share:.0%} of the messages re-keyed")
        worker.kill()
        assert not sending.done(), "the kill came too late to hit the stream"
        await sending

    await kill_at(0.15, first, messages[: ROWS // 2])
    await second.start().ready()
    await kill_at(0.65, second, messages[ROWS // 2 :])
    await asyncio.to_thread(first.start)
    expected = [f"t{number}" for number in range(ROWS) if number % BAD_EVERY]

    async def all_are_judged() -> bool:
        assert first.exit_code() is None, first.tail()
        return (await verdicts_of(kafka.bootstrap, settings.verdicts_topic)).lost(expected) == []

    await until(all_are_judged, WITHIN_S, "a verdict on each")
    assert json.loads((await asyncio.to_thread(first.call, "GET", "/health")).body)["lag"] == 0
    said = (await asyncio.to_thread(first.call, "GET", "/metrics")).body
    assert b"fraudstream_rekeyed_total" in said
    assert first.stop() == 0, first.tail()
    assert_each_once(await verdicts_of(kafka.bootstrap, settings.verdicts_topic), expected)
    await assert_moved(kafka.bootstrap, settings, messages)


@pytest.mark.parametrize("keying", ["strict", "payload"])
async def test_an_app_id_that_has_judged_under_the_other_keying_is_refused(
    kafka: KafkaCluster, settings: Settings, tmp_path: Path, keying: str
) -> None:
    other = "payload" if keying == "strict" else "strict"
    before, after = (settings.model_copy(update={"keying": each}) for each in (other, keying))
    await create_topics(settings, kafka.bootstrap)
    await require_same_keying(after, kafka.bootstrap)
    async with AIOKafkaConsumer(
        bootstrap_servers=kafka.bootstrap, group_id=settings.app_id, enable_auto_commit=False
    ) as consumer:
        judged = TopicPartition(judged_topic(before), 1)
        consumer.assign([judged])
        await consumer.commit({judged: 5})
    await require_same_keying(before, kafka.bootstrap)
    with Worker(after, tmp_path) as worker:
        assert await asyncio.to_thread(worker.wait, 60.0) == EXIT_SETTINGS, worker.tail()
        for said in (f"KEYING={keying}: expected {other}", "another APP_ID"):
            assert said in worker.log_text()


async def test_a_missing_topic_for_what_is_rekeyed_is_named_at_the_start(
    kafka: KafkaCluster, settings: Settings, tmp_path: Path
) -> None:
    await create_topics(settings.model_copy(update={"keying": "strict"}), kafka.bootstrap)
    with Worker(settings, tmp_path) as worker:
        assert await asyncio.to_thread(worker.wait, 60.0) == EXIT_SETTINGS, worker.tail()
        assert f"topic {rekeyed_topic(settings)}: missing" in worker.log_text()
