"""Bad messages among good ones: each bad one becomes a dead letter byte for byte, each good one gets its verdict."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from fraudstream.adapters.embedded_broker import EmbeddedBroker
from fraudstream.adapters.kafka_topics import create_topics
from fraudstream.settings import Settings
from fraudstream.topics import declared_topics
from tests.checker import Verdicts, ordered_producer
from tests.mutations import Message, messages
from tests.servers.kafka import KafkaCluster
from tests.wire import assert_dead_letter
from tests.worker import Worker

BAD = 3_000
BAD_ON_KAFKA = int(os.environ.get("BAD_INPUT_ROWS", "100000"))
GOOD_EVERY = 10
LARGE = 36
SLICE_BYTES = 3_000_000
SLICE_MESSAGES = 1_000
ALL_ANSWERED_WITHIN_S = 150.0
HEADERS = ["source_topic", "source_partition", "source_offset", "reason", "detail"]

pytestmark = [pytest.mark.slow]


@dataclass(slots=True)
class Answers:
    """What came back, and where each bad message was put."""

    verdicts: Verdicts = field(default_factory=Verdicts)
    verdict_count: int = 0
    letters: list[Any] = field(default_factory=list)
    placed: dict[tuple[int, int], Message] = field(default_factory=dict)


def slices(rows: Iterator[Message], most: int) -> Iterator[list[Message]]:
    """Parts that the broker can hold: the embedded one holds little."""
    part: list[Message] = []
    size = 0
    for row in rows:
        part.append(row)
        size += len(row.value or b"")
        if len(part) >= most or size >= SLICE_BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part


async def send(producer: AIOKafkaProducer, topic: str, part: list[Message], answers: Answers) -> None:
    futures = [await producer.send(topic, row.value, key=row.key) for row in part]
    for row, where in zip(part, await asyncio.gather(*futures), strict=True):
        if not row.is_good:
            answers.placed[where.partition, where.offset] = row


async def answers_to(bootstrap: str, settings: Settings, rows: Iterator[Message], most: int) -> Answers:
    """Sends everything in step with what comes back: one verdict or one dead letter for each message."""
    answers, sent = Answers(), 0
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest", enable_auto_commit=False)
    async with consumer, ordered_producer(bootstrap) as producer, asyncio.timeout(ALL_ANSWERED_WITHIN_S):
        topics = (settings.verdicts_topic, settings.dead_letters_topic)
        consumer.assign(
            [TopicPartition(topic, number) for topic in topics for number in range(settings.topic_partitions)]
        )
        for part in slices(rows, most):
            await send(producer, settings.transactions_topic, part, answers)
            sent += len(part)
            while answers.verdict_count + len(answers.letters) < sent:
                await receive(consumer, settings, answers)
        await receive(consumer, settings, answers)  # one answer too many would come now
    return answers


async def receive(consumer: AIOKafkaConsumer, settings: Settings, answers: Answers) -> None:
    for tp, batch in (await consumer.getmany(timeout_ms=500)).items():
        if tp.topic == settings.verdicts_topic:
            answers.verdict_count += answers.verdicts.add(batch)
        else:
            answers.letters += batch


def assert_all_answered(answers: Answers, rows: list[Message], settings: Settings) -> None:
    good = [json.loads(row.value or b"")["transaction_id"] for row in rows if row.is_good]
    assert answers.verdicts.lost(good) == []
    assert answers.verdicts.unasked(good) == [], "a bad message got a verdict"
    assert answers.verdicts.repeated() == []
    assert len(answers.letters) == len(answers.placed) == sum(not row.is_good for row in rows)
    for letter in answers.letters:
        assert [name for name, _ in letter.headers] == sorted(HEADERS, key=HEADERS.index)
        assert_dead_letter(dict(letter.headers))
        headers = {name: value.decode("utf-8") for name, value in letter.headers}
        origin = (int(headers["source_partition"]), int(headers["source_offset"]))
        row = answers.placed.pop(origin)  # a second letter of the same origin would find nothing
        assert headers["source_topic"] == settings.transactions_topic
        assert (letter.key, letter.value) == (row.key, row.value), f"{origin} was changed on its way"
        assert headers["reason"] in row.reasons, (
            f"expected {set(row.reasons)}, got {headers} for {(row.value or b'')[:300]!r}"
        )
        assert ": expected " in headers["detail"], headers
        assert len(headers["detail"]) < 500, "a reason must not carry the message"


async def assert_worker_stands(
    worker: Worker, bootstrap: str, rows: list[Message], slice_messages: int = SLICE_MESSAGES
) -> None:
    pid = worker.pid
    await worker.ready()
    assert_all_answered(await answers_to(bootstrap, worker.settings, iter(rows), slice_messages), rows, worker.settings)
    assert worker.pid == pid
    assert worker.exit_code() is None, worker.tail()
    answer = await worker.ask("/health")
    assert answer is not None
    assert answer.json()["ready"], answer.json()
    assert worker.stop() == 0, worker.tail()
    worker.assert_no_traceback()


@pytest.fixture
async def embedded(embedded_broker: EmbeddedBroker, own_settings: Settings, tmp_path: Path) -> AsyncIterator[Worker]:
    for topic in declared_topics(own_settings):
        embedded_broker.create_topic(topic.name, topic.partitions)
    with Worker(own_settings.model_copy(update={"kafka_servers": embedded_broker.bootstrap}), tmp_path) as worker:
        yield worker


async def test_bad_messages_become_dead_letters_and_every_good_one_among_them_is_judged(
    embedded: Worker, embedded_broker: EmbeddedBroker
) -> None:
    await assert_worker_stands(embedded, embedded_broker.bootstrap, list(messages(BAD, seed=11)))


async def test_a_hundred_thousand_bad_messages_become_dead_letters_and_the_worker_is_the_same_process_after_them(
    kafka: KafkaCluster, own_settings: Settings, tmp_path: Path
) -> None:
    await create_topics(own_settings, kafka.bootstrap)
    rows = list(messages(BAD_ON_KAFKA, seed=13, good_every=GOOD_EVERY))
    with Worker(own_settings.model_copy(update={"kafka_servers": kafka.bootstrap}), tmp_path) as worker:
        await assert_worker_stands(worker, kafka.bootstrap, rows, 10 * SLICE_MESSAGES)


async def test_messages_of_900_kb_become_dead_letters_whole(
    kafka: KafkaCluster, own_settings: Settings, tmp_path: Path
) -> None:
    await create_topics(own_settings, kafka.bootstrap)
    with Worker(own_settings.model_copy(update={"kafka_servers": kafka.bootstrap}), tmp_path) as worker:
        await assert_worker_stands(worker, kafka.bootstrap, list(messages(400 + LARGE, seed=12, large=LARGE)))
