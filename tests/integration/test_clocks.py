"""A worker's clock may be wrong: on topics as declared the broker's counts, on others the worker says what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from fraudstream.settings import Settings
from fraudstream.topics import BROKERS_CLOCK, TopicSpec, declared_topics
from tests.checker import Sent, committed_offsets, ordered_producer, produce, read_topic, until
from tests.servers.kafka import KafkaCluster
from tests.worker import Worker

EXIT_FAULT = 70
WITHIN_S = 60.0
ROWS = 50

pytestmark = [pytest.mark.slow]


async def create(kafka: KafkaCluster, settings: Settings, *, as_declared: bool) -> Settings:
    def config(spec: TopicSpec) -> dict[str, str]:
        own_clock = {} if as_declared else dict.fromkeys(BROKERS_CLOCK.keys() & spec.config.keys(), "CreateTime")
        return {**spec.config, **own_clock}

    specs = declared_topics(settings)
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(spec.name, spec.partitions, 1, topic_configs=config(spec)) for spec in specs])

    async def all_are_told() -> bool:
        return {spec.name for spec in specs} <= set(await admin.list_topics())

    await until(all_are_told, WITHIN_S, "all topics")
    await admin.close()
    return settings.model_copy(update={"kafka_servers": kafka.bootstrap})


async def send(settings: Settings) -> list[Sent]:
    fields = {"user_id": "u", "amount": 1, "merchant": "m"}
    rows = [(b"u", json.dumps(fields | {"transaction_id": f"t{number}"}).encode()) for number in range(ROWS)]
    async with ordered_producer(str(settings.kafka_servers)) as producer:
        return await produce(producer, settings.transactions_topic, rows)


async def committed(settings: Settings) -> int:
    found = await committed_offsets(str(settings.kafka_servers), settings.app_id, settings.transactions_topic, 4)
    return sum(max(offset, 0) for offset in found.values())


async def test_a_worker_whose_clock_is_two_hours_ahead_judges_on_topics_as_declared(
    kafka: KafkaCluster, own_settings: Settings, tmp_path: Path
) -> None:
    settings = await create(kafka, own_settings, as_declared=True)
    with Worker(settings, tmp_path, app="tests.hasty") as worker:
        await worker.ready()
        await send(settings)

        async def is_committed() -> bool:
            assert worker.exit_code() is None, worker.tail()
            return await committed(settings) == ROWS

        await until(is_committed, WITHIN_S, "all judged")
        assert worker.stop() == 0, worker.tail()
    stamps = {record.timestamp_type for record in await read_topic(kafka.bootstrap, settings.verdicts_topic)}
    assert stamps == {1}, "expected the broker's time on each verdict"


async def test_on_other_topics_it_ends_in_words_and_has_committed_nothing(
    kafka: KafkaCluster, own_settings: Settings, tmp_path: Path
) -> None:
    settings = await create(kafka, own_settings, as_declared=False)
    with Worker(settings, tmp_path, app="tests.hasty") as worker:
        await worker.ready()
        await send(settings)
        assert worker.wait(WITHIN_S) == EXIT_FAULT, worker.tail()
    last = worker.log_text().splitlines()[-1]
    assert "fraudstream: stops after a fault that did not pass" in last
    assert "this machine's clock and the broker's differ, see `fraudstream topics check`" in last
    worker.assert_no_traceback()
    assert await committed(settings) == 0
    assert await read_topic(kafka.bootstrap, settings.verdicts_topic) == []
