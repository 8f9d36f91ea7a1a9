"""The embedded broker as its users meet it: real clients on a real port, and a plain word about what it cannot do."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import confluent_kafka
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from fraudstream.adapters import kafka_topics
from fraudstream.adapters.embedded_broker import EmbeddedBroker
from fraudstream.errors import BrokerError, TopicError
from fraudstream.settings import Settings
from fraudstream.topics import declared_topics


async def produce(bootstrap: str, topic: str, values: list[bytes], partition: int | None = None) -> None:
    async with AIOKafkaProducer(bootstrap_servers=bootstrap) as producer:
        for value in values:
            await producer.send(topic, value, key=value[:16], partition=partition)


async def read(consumer: AIOKafkaConsumer, count: int) -> list[bytes]:
    values: list[bytes] = []
    while len(values) < count:
        batches = await consumer.getmany(timeout_ms=2_000)
        if not batches:
            break
        values += [record.value for batch in batches.values() for record in batch]
    return values


async def test_what_is_produced_to_the_embedded_broker_is_consumed_from_it(embedded_broker: EmbeddedBroker) -> None:
    embedded_broker.create_topic("transactions", partitions=4)
    values = [b"transaction-%d" % number for number in range(1_000)]
    await produce(embedded_broker.bootstrap, "transactions", values)
    async with AIOKafkaConsumer(
        "transactions",
        bootstrap_servers=embedded_broker.bootstrap,
        group_id="readers",
        auto_offset_reset="earliest",
    ) as consumer:
        assert sorted(await read(consumer, len(values))) == sorted(values)


async def test_a_consumer_group_does_not_wait_for_its_first_member(embedded_broker: EmbeddedBroker) -> None:
    embedded_broker.create_topic("transactions", partitions=4)
    started = time.monotonic()
    async with AIOKafkaConsumer(
        "transactions", bootstrap_servers=embedded_broker.bootstrap, group_id="readers"
    ) as consumer:
        assert len(consumer.assignment()) == 4
    assert time.monotonic() - started < 2, "the mock cluster's own delay is 3 s"


@pytest.mark.parametrize("partitions", [1, 4, 12])
async def test_a_topic_has_the_partitions_it_was_created_with(embedded_broker: EmbeddedBroker, partitions: int) -> None:
    assert embedded_broker.create_topic("transactions", partitions)
    async with AIOKafkaProducer(bootstrap_servers=embedded_broker.bootstrap) as producer:
        assert await producer.partitions_for("transactions") == set(range(partitions))


async def test_a_topic_that_a_client_merely_asks_for_has_four_partitions(embedded_broker: EmbeddedBroker) -> None:
    async with AIOKafkaProducer(bootstrap_servers=embedded_broker.bootstrap) as producer:
        assert await producer.partitions_for("undeclared") == {0, 1, 2, 3}
    with pytest.raises(TopicError, match="create topics before clients start"):
        embedded_broker.create_topic("undeclared", partitions=4)


def test_creating_a_topic_again_changes_nothing(embedded_broker: EmbeddedBroker) -> None:
    assert embedded_broker.create_topic("transactions", partitions=6)
    assert not embedded_broker.create_topic("transactions", partitions=6)


def test_a_topic_cannot_be_created_again_with_other_partitions(embedded_broker: EmbeddedBroker) -> None:
    embedded_broker.create_topic("transactions", partitions=6)
    with pytest.raises(TopicError, match="with 4 partitions, but it exists with 6"):
        embedded_broker.create_topic("transactions", partitions=4)


def test_a_topic_without_partitions_is_refused(embedded_broker: EmbeddedBroker) -> None:
    with pytest.raises(TopicError, match="expected at least 1 partition, got 0"):
        embedded_broker.create_topic("transactions", partitions=0)


async def test_records_written_in_transactions_are_read_to_the_end(embedded_broker: EmbeddedBroker) -> None:
    """Newer mock clusters end a transaction with a marker that aiokafka takes for a corrupt record."""
    embedded_broker.create_topic("verdicts", partitions=1)
    async with AIOKafkaProducer(
        bootstrap_servers=embedded_broker.bootstrap, transactional_id="worker-0", enable_idempotence=True
    ) as producer:
        for number in range(3):
            async with producer.transaction():
                await producer.send_and_wait("verdicts", b"verdict-%d" % number)
    async with AIOKafkaConsumer(
        bootstrap_servers=embedded_broker.bootstrap, isolation_level="read_committed", auto_offset_reset="earliest"
    ) as consumer:
        consumer.assign([TopicPartition("verdicts", 0)])
        assert await read(consumer, 3) == [b"verdict-0", b"verdict-1", b"verdict-2"]


async def test_of_a_partition_only_the_newest_five_mib_are_kept(embedded_broker: EmbeddedBroker) -> None:
    embedded_broker.create_topic("transactions", partitions=1)
    await produce(embedded_broker.bootstrap, "transactions", [bytes(100_000)] * 80, partition=0)
    async with AIOKafkaConsumer(bootstrap_servers=embedded_broker.bootstrap) as consumer:
        partition = TopicPartition("transactions", 0)
        first = (await consumer.beginning_offsets([partition]))[partition]
        end = (await consumer.end_offsets([partition]))[partition]
    assert end == 80
    assert 4.5 <= (end - first) * 100_000 / 2**20 <= 5.5


async def test_the_topics_of_an_embedded_broker_are_checked_by_their_partitions(
    embedded_broker: EmbeddedBroker, own_settings: Settings
) -> None:
    *others, last = declared_topics(own_settings)
    for spec in others:
        embedded_broker.create_topic(spec.name, spec.partitions)
    embedded_broker.create_topic(last.name, 3)
    [problem] = await kafka_topics.check_topics(own_settings, embedded_broker.bootstrap)
    assert (problem.topic, problem.wrong) == (last.name, "expected 4 partitions, found 3")


async def test_asking_the_embedded_broker_to_create_topics_over_the_wire_says_that_it_cannot(
    embedded_broker: EmbeddedBroker, own_settings: Settings
) -> None:
    with pytest.raises(BrokerError, match="the embedded broker, it makes its topics itself"):
        await kafka_topics.create_topics(own_settings, embedded_broker.bootstrap)


def test_a_stopped_broker_starts_again_empty_and_stopping_twice_is_harmless() -> None:
    broker = EmbeddedBroker()
    broker.start()
    broker.create_topic("transactions", partitions=6)
    broker.stop()
    broker.stop()
    assert broker.bootstrap == ""
    with broker:
        assert broker.start() == broker.bootstrap
        assert broker.create_topic("transactions", partitions=6), "the topic of the first life is still remembered"


def test_a_broker_that_does_not_run_says_so() -> None:
    with pytest.raises(BrokerError, match=r"call start\(\) first"):
        EmbeddedBroker().create_topic("transactions", partitions=4)


def test_the_embedded_broker_prints_nothing_even_if_its_process_ends_without_stopping_it() -> None:
    script = (
        "from fraudstream.adapters.embedded_broker import EmbeddedBroker as B\n"
        "stopped = B(); stopped.start(); stopped.stop()\n"
        "left = B(); left.start(); left.create_topic('t', 4)\n"
    )
    ran = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True, timeout=30)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


def test_without_confluent_kafka_the_embedded_broker_names_the_extra(tmp_path: Path) -> None:
    (tmp_path / "confluent_kafka.py").write_text("raise ImportError('as if it were not installed')\n")
    script = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from fraudstream.adapters.embedded_broker import EmbeddedBroker as B\n"
        "from fraudstream.errors import BrokerError\n"
        "try:\n    B().start()\nexcept BrokerError as error:\n    print(error)\n"
    )
    ran = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True, timeout=30)
    assert "pip install 'fraudstream[demo]'" in ran.stdout, ran.stderr


def test_a_confluent_kafka_whose_mock_cluster_breaks_aiokafka_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confluent_kafka, "libversion", lambda: ("2.15.0", 0x020F00FF))
    with pytest.raises(BrokerError, match=r"up to 2\.14 .* got 2\.15\.0"):
        EmbeddedBroker().start()
