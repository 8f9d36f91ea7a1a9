"""The example clients do what their readers copy them for: on a real broker, with a real worker between them."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka.partitioner import DefaultPartitioner
from confluent_kafka import Producer

from fraudstream.adapters.kafka_topics import create_topics
from fraudstream.settings import Settings, load_settings
from tests.checker import read_topic, until
from tests.clients import run_client
from tests.servers.jars import console_tools
from tests.servers.kafka import KafkaCluster
from tests.wire import assert_alert, assert_dead_letter, assert_verdict
from tests.worker import Worker

PRODUCERS = ("produce_confluent.py", "produce_aiokafka.py", "produce.sh")
CONSUMERS = ("consume_confluent.py", "consume_aiokafka.py")
USERS = 12
JUDGED_WITHIN_S = 60.0

pytestmark = [pytest.mark.slow]

Fields = dict[str, Any]


def payments(producer: str) -> list[Fields]:
    """Ordinary payments of each user, and then one that nobody could overlook; the same users for each producer."""
    ordinary = [
        {
            "transaction_id": f"{producer}-{user}-{day}",
            "user_id": f"user-{user}",
            "amount": 12.5 + day,
            "merchant": "Café Zürich",
            "timestamp": f"2026-03-{day:02}T12:00:00Z",
        }
        for day in range(1, 9)
        for user in range(USERS)
    ]
    odd = {
        "transaction_id": f"{producer}-odd",
        "user_id": "user-3",
        "amount": 39_000,
        "merchant": "Jewels",
        "timestamp": "2026-03-09T03:33:00Z",
    }
    return [*ordinary, odd]


def as_lines(producer: str, rows: list[Fields]) -> bytes:
    """Payments as the producer reads them on stdin."""
    keys = [f"{row['user_id']}\t" if producer.endswith(".sh") else "" for row in rows]
    return "".join(f"{key}{json.dumps(row)}\n" for key, row in zip(keys, rows, strict=True)).encode()


@pytest.fixture(scope="module")
def tools(kafka: KafkaCluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return console_tools(tmp_path_factory.mktemp("tools"))


@pytest.fixture(scope="module")
def settings(kafka: KafkaCluster, tools: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Of a running worker that has judged what every producer sent, and one message that cannot be read."""
    own = f"t{uuid.uuid4().hex[:8]}"
    with pytest.MonkeyPatch.context() as patch:
        for name in Settings.model_fields:
            patch.delenv(name.upper(), raising=False)
        settings = load_settings(
            kafka_servers=kafka.bootstrap,
            app_id=own,
            transactions_topic=f"{own}-transactions",
            verdicts_topic=f"{own}-verdicts",
            alerts_topic=f"{own}-alerts",
            dead_letters_topic=f"{own}-dead-letters",
            labels_topic=f"{own}-labels",
        )
    asyncio.run(create_topics(settings, kafka.bootstrap))
    leave_an_aborted_alert(settings)
    with Worker(settings, tmp_path_factory.mktemp("worker")) as worker:
        asyncio.run(worker.ready())
        for producer in PRODUCERS:
            run_client(producer, settings=settings, lines=as_lines(producer, payments(producer)), tools=tools)
        run_client("produce.sh", settings=settings, lines=b'user-9\t{"transaction_id":"bad"}\n', tools=tools)
        expected = sum(len(payments(producer)) for producer in PRODUCERS)
        asyncio.run(until(lambda: _judged(settings, expected), JUDGED_WITHIN_S, f"{expected} verdicts, a dead letter"))
        yield settings


def leave_an_aborted_alert(settings: Settings) -> None:
    """What a worker that died in its checkpoint leaves behind: readers of committed messages must not be told of it."""
    producer = Producer({"bootstrap.servers": settings.kafka_servers, "transactional.id": f"{settings.app_id}-dead"})
    producer.init_transactions(30)
    producer.begin_transaction()
    for topic in (settings.verdicts_topic, settings.alerts_topic, settings.dead_letters_topic):
        for number in range(settings.topic_partitions):
            producer.produce(topic, b'{"transaction_id": "aborted", "flagged": true}', b"user-0", partition=number)
    producer.flush(30)
    producer.abort_transaction(30)


async def _judged(settings: Settings, expected: int) -> bool:
    bootstrap = settings.kafka_servers or ""
    verdicts = await read_topic(bootstrap, settings.verdicts_topic)
    return len(verdicts) == expected and len(await read_topic(bootstrap, settings.dead_letters_topic)) == 1


@pytest.fixture(scope="module")
def odd() -> set[str]:
    return {f"{producer}-odd" for producer in PRODUCERS}


def all_of(settings: Settings, topic: str) -> list[Any]:
    return asyncio.run(read_topic(settings.kafka_servers or "", topic))


def test_every_message_is_as_documented(settings: Settings, odd: set[str]) -> None:
    for record in all_of(settings, settings.verdicts_topic):
        assert_verdict(record.key, record.value, dict(record.headers))
    alerts = [
        assert_alert(record.key, record.value, dict(record.headers))
        for record in all_of(settings, settings.alerts_topic)
    ]
    assert odd <= {alert["transaction_id"] for alert in alerts}
    for record in all_of(settings, settings.dead_letters_topic):
        assert_dead_letter(dict(record.headers))


async def test_the_stream_holds_messages_that_readers_must_not_see(settings: Settings) -> None:
    for topic in (settings.verdicts_topic, settings.alerts_topic, settings.dead_letters_topic):
        uncommitted = await read_topic(settings.kafka_servers or "", topic, "read_uncommitted")
        assert [record.value for record in uncommitted if b"aborted" in record.value], topic


def test_every_producer_puts_a_user_where_kafka_does(settings: Settings) -> None:
    partitions = list(range(settings.topic_partitions))
    choose = DefaultPartitioner()
    records = all_of(settings, settings.transactions_topic)
    assert len(records) == 1 + len(PRODUCERS) * (8 * USERS + 1)
    assert len({record.partition for record in records}) > 1
    for record in records:
        assert record.partition == choose(record.key, partitions, partitions), record.key


@pytest.mark.parametrize("consumer", CONSUMERS)
def test_an_alert_reaches_a_python_consumer(settings: Settings, odd: set[str], consumer: str) -> None:
    count = len(all_of(settings, settings.alerts_topic))
    group = f"{settings.app_id}-{consumer}"
    lines = run_client(consumer, "--group", group, "--max-messages", str(count), settings=settings)
    told = [json.loads(line) for line in lines]
    assert odd <= {one["verdict"]["transaction_id"] for one in told}
    assert len({one["verdict"]["transaction_id"] for one in told}) == count
    for one in told:
        assert one["verdict"]["flagged"]
        assert one["key"] == one["verdict"]["user_id"]


@pytest.mark.parametrize("consumer", CONSUMERS)
def test_a_python_consumer_shows_what_a_verdict_was_made_from(settings: Settings, consumer: str) -> None:
    sent = {row["transaction_id"]: row for producer in PRODUCERS for row in payments(producer)}
    group = f"{settings.app_id}-all-{consumer}"
    lines = run_client(consumer, "verdicts", "--group", group, "--max-messages", str(len(sent)), settings=settings)
    told = {one["verdict"]["transaction_id"]: one for one in map(json.loads, lines)}
    assert told.keys() == sent.keys()
    for name, one in told.items():
        assert one["transaction"] == sent[name]
        assert len(one["features"]) > 50


@pytest.mark.parametrize("consumer", CONSUMERS)
def test_a_group_goes_on_where_it_stopped(settings: Settings, consumer: str) -> None:
    count = len(payments(PRODUCERS[0]))
    group, seen = f"{settings.app_id}-twice-{consumer}", []
    for size in (count - 3, 3):
        lines = run_client(consumer, "verdicts", "--group", group, "--max-messages", str(size), settings=settings)
        seen += [json.loads(line)["verdict"]["transaction_id"] for line in lines]
    assert len(seen) == len(set(seen)) == count


def test_the_console_shows_alerts_with_their_key(settings: Settings, odd: set[str], tools: Path) -> None:
    count = len(all_of(settings, settings.alerts_topic))
    told = [
        line.split("\t", 1)
        for line in run_client("alerts.sh", "--max-messages", str(count), settings=settings, tools=tools)
    ]
    verdicts = [assert_alert(key.encode(), value.encode(), {}) for key, value in told]
    assert odd <= {verdict["transaction_id"] for verdict in verdicts}


def test_the_console_shows_why_a_message_could_not_be_scored(settings: Settings, tools: Path) -> None:
    (line,) = run_client("dead_letters.sh", "--max-messages", "1", settings=settings, tools=tools)
    headers, key, value = line.split("\t")
    assert (key, value) == ("user-9", '{"transaction_id":"bad"}')
    assert f"source_topic:{settings.transactions_topic},source_partition:" in headers
    assert "reason:missing_field,detail:user_id: expected" in headers
