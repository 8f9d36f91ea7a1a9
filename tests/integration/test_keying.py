"""KEYING=payload on a real broker: whatever the keys, each transaction is judged once, also where workers die."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.partitioner import DefaultPartitioner

from fraudstream.adapters.consumer_group import require_same_keying
from fraudstream.adapters.kafka_topics import create_topics
from fraudstream.agents.fatal import EXIT_FAULT, EXIT_SETTINGS
from fraudstream.settings import Settings
from fraudstream.topics import judged_topic, rekeyed_topic
from tests.checker import assert_each_once, end_offsets, read_topic, until, verdicts_of
from tests.servers.kafka import KafkaCluster
from tests.servers.line import ADD_OFFSETS, Line
from tests.worker import Worker

ROWS = 12_000
USERS = 300
BAD_EVERY = 50
SLICE_ROWS = 200
SESSION_TIMEOUT_S = 6.0
WITHIN_S = 90.0
KNOWN_ROWS = 1_200
OUTAGE_S = 20.0
"""Longer than everything that a hurried worker's clients and brokers wait for (tests/hurried.py)."""
RESUMES_WITHIN_S = 15.0
ENDS_WITHIN_S = 30.0
HOUR_MS = 3_600_000
PARTITIONS = list(range(4))
_choose = DefaultPartitioner()

pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def settings(own_settings: Settings, kafka: KafkaCluster) -> Settings:
    return payload_settings(own_settings, kafka)


def payload_settings(settings: Settings, cluster: KafkaCluster) -> Settings:
    changed = {
        "kafka_servers": cluster.bootstrap,
        "kafka_session_timeout_s": SESSION_TIMEOUT_S,
        "keying": "payload",
    }
    return settings.model_copy(update=changed)


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


async def send(settings: Settings, messages: list[tuple[bytes | None, bytes]]) -> None:
    an_hour_ago_ms = int(time.time() * 1000) - HOUR_MS
    async with AIOKafkaProducer(
        bootstrap_servers=str(settings.kafka_servers), enable_idempotence=True, linger_ms=5
    ) as producer:
        for at in range(0, len(messages), SLICE_ROWS):
            more: dict[str, Any] = {"timestamp_ms": an_hour_ago_ms + at, "headers": [("n", b"1")]}
            part = [
                await producer.send(settings.transactions_topic, value, key=key, **more)
                for key, value in messages[at : at + SLICE_ROWS]
            ]
            await asyncio.gather(*part, asyncio.sleep(0.05))


def judged(settings: Settings, worker: Worker, rows: int) -> Callable[[], Awaitable[bool]]:
    """Whether the first messages all have a verdict or a dead letter; fails where the worker has ended."""
    expected = [f"t{number}" for number in range(rows) if number % BAD_EVERY]

    async def holds() -> bool:
        assert worker.exit_code() is None, worker.tail()
        return (await verdicts_of(str(settings.kafka_servers), settings.verdicts_topic)).lost(expected) == []

    return holds


async def assert_moved(settings: Settings, messages: list[tuple[bytes | None, bytes]]) -> None:
    bootstrap = str(settings.kafka_servers)
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


async def assert_each_judged_once(settings: Settings, messages: list[tuple[bytes | None, bytes]]) -> None:
    """Of workers that have stopped: every verdict and every move once, the dead letters too."""
    verdicts = await verdicts_of(str(settings.kafka_servers), settings.verdicts_topic)
    assert_each_once(verdicts, [f"t{number}" for number in range(len(messages)) if number % BAD_EVERY])
    await assert_moved(settings, messages)


async def test_transactions_with_any_key_are_judged_once_and_in_order_though_workers_are_killed(
    kafka: KafkaCluster, settings: Settings, workers: list[Worker]
) -> None:
    await create_topics(settings, kafka.bootstrap)
    messages, (first, second) = rows(seed=4), workers
    await first.start().ready()

    async def kill_at(share: float, worker: Worker, part: list[tuple[bytes | None, bytes]]) -> None:
        """Kills a worker while a part of the messages comes in."""
        sending = asyncio.create_task(send(settings, part))

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
    await until(judged(settings, first, ROWS), WITHIN_S, "a verdict on each")
    assert json.loads((await asyncio.to_thread(first.call, "GET", "/health")).body)["lag"] == 0
    said = (await asyncio.to_thread(first.call, "GET", "/metrics")).body
    assert b"fraudstream_rekeyed_total" in said
    assert first.stop() == 0, first.tail()
    await assert_each_judged_once(settings, messages)


async def test_a_worker_that_re_keys_outlives_an_outage_and_stops_in_time_in_one(
    own_settings: Settings, tmp_path: Path
) -> None:
    messages = rows(seed=5)[: ROWS // 2]
    with Line() as line, KafkaCluster(directory=tmp_path / "kafka", told_port=line.port) as cluster:
        line.lead_to(cluster.port)
        # Checkpoints that are a while away: nearly all transactions that are committed now are those of the re-keying.
        settings = payload_settings(own_settings, cluster).model_copy(
            update={"checkpoint_interval_s": 3.0, "kafka_servers": f"127.0.0.1:{line.port}"}
        )
        await create_topics(settings, cluster.bootstrap)
        with Worker(settings, tmp_path, app="tests.hurried") as worker:
            await worker.ready()
            await send(settings, messages[:KNOWN_ROWS])
            await until(judged(settings, worker, KNOWN_ROWS), WITHIN_S, "each client has learnt where all topics are")
            sending = asyncio.create_task(send(settings, messages[KNOWN_ROWS : ROWS // 4]))
            await cut_amidst_a_commit(line)
            await asyncio.sleep(OUTAGE_S)
            assert worker.exit_code() is None, worker.tail()
            health = await worker.ask("/health")
            assert health is not None, worker.tail()
            assert "Kafka has taken nothing for" in health.body.decode()
            line.mend()
            back_s = time.monotonic()
            await until(judged(settings, worker, ROWS // 4), RESUMES_WITHIN_S, "all judged")
            print(f"all was judged {time.monotonic() - back_s:.1f} s after the broker's return")
            lost = f"the broker ends a transaction of partition {{}} of {settings.transactions_topic}"
            assert any(lost.format(number) in worker.log_text() for number in PARTITIONS), worker.tail()
            worker.assert_no_traceback()

            await sending
            sending = asyncio.create_task(send(settings, messages[ROWS // 4 :]))
            await cut_amidst_a_commit(line)
            assert await asyncio.to_thread(worker.stop, ENDS_WITHIN_S) in (0, EXIT_FAULT), worker.tail()
            line.mend()
            await sending
            worker.start()
            await until(judged(settings, worker, len(messages)), WITHIN_S, "the rest is judged")
            assert await asyncio.to_thread(worker.stop) == 0, worker.tail()
        await assert_each_judged_once(settings, messages)


async def cut_amidst_a_commit(line: Line) -> None:
    """Cuts the line where a transaction has all that belongs to it and is not committed, and leaves it cut."""
    before = line.lost.get(ADD_OFFSETS, 0)
    line.lose_answer(ADD_OFFSETS)

    async def is_lost() -> bool:
        return line.lost.get(ADD_OFFSETS, 0) > before

    await until(is_lost, WITHIN_S, "a transaction is about to be committed")
    line.cut()


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
        source = TopicPartition(judged_topic(before), 1)
        consumer.assign([source])
        await consumer.commit({source: 5})
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
