"""Starting and stopping a worker: it refuses what would break its promises, and leaves everything committed."""

from __future__ import annotations

import json
import re
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from fraudstream.adapters.kafka_topics import create_topics
from fraudstream.settings import Settings
from fraudstream.topics import changelog_topic, worker_topics
from tests.checker import (
    assert_each_once,
    assert_states_equal,
    committed_offsets,
    end_offsets,
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

EXIT_SETTINGS = 78
ENDS_WITHIN_S = 90.0
STOPS_WITHIN_S = 10.0
FIRST_VERDICT_WITHIN_S = 8.0
BLOCK_CACHE_BYTES = 32 * 1024 * 1024

pytestmark = [pytest.mark.slow]


@pytest.fixture
def settings(own_settings: Settings, kafka: KafkaCluster) -> Settings:
    return own_settings.model_copy(update={"kafka_servers": kafka.bootstrap})


async def create_with(kafka: KafkaCluster, partitions: dict[str, int]) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(name, count, 1) for name, count in partitions.items()])
    await admin.close()


def assert_refuses(worker: Worker, *sentences: str) -> None:
    assert worker.wait(ENDS_WITHIN_S) == EXIT_SETTINGS, worker.tail()
    log = worker.log_text()
    for sentence in sentences:
        assert sentence in log, f"expected {sentence!r} in\n{log}"
    assert "Traceback" not in log, log


def test_without_topics_the_worker_names_each_and_says_how_to_make_them(settings: Settings, tmp_path: Path) -> None:
    with Worker(settings, tmp_path) as worker:
        missing = [f"topic {topic.name}: missing; " for topic in worker_topics(settings)]
        assert_refuses(worker, *missing, "fraudstream topics create")


async def test_on_a_wrong_partition_count_the_worker_says_how_to_mend_it(
    kafka: KafkaCluster, settings: Settings, tmp_path: Path
) -> None:
    await create_with(kafka, {settings.transactions_topic: 3})
    await create_topics(settings, kafka.bootstrap)
    with Worker(settings, tmp_path) as worker:
        wrong = f"topic {settings.transactions_topic}: expected 4 partitions, found 3; "
        assert_refuses(worker, wrong, "set TOPIC_PARTITIONS=3", "stop what writes to it, delete it")
    assert await committed_offsets(kafka.bootstrap, settings.app_id, settings.transactions_topic, 3) == dict.fromkeys(
        range(3), -1
    )


def test_without_a_broker_the_worker_says_where_it_looked(own_settings: Settings, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed = f"127.0.0.1:{server.getsockname()[1]}"
    with Worker(own_settings.model_copy(update={"kafka_servers": closed}), tmp_path) as worker:
        assert_refuses(worker, f"expected a Kafka broker at {closed}", "Connection refused", "check KAFKA_SERVERS")


@pytest.mark.alone
async def test_the_first_verdict_comes_soon_after_the_start(
    kafka: KafkaCluster, settings: Settings, tmp_path: Path
) -> None:
    await create_topics(settings, kafka.bootstrap)
    async with ordered_producer(kafka.bootstrap) as producer:
        await produce(producer, settings.transactions_topic, [(b"u0", json.dumps(_transaction(0)).encode())])
    started = time.monotonic()
    with Worker(settings, tmp_path):

        async def is_judged() -> bool:
            return sum((await end_offsets(kafka.bootstrap, settings.verdicts_topic)).values()) > 0

        await until(is_judged, FIRST_VERDICT_WITHIN_S, "a verdict on the transaction that waits")
    assert time.monotonic() - started < FIRST_VERDICT_WITHIN_S


async def test_sigterm_ends_the_worker_in_order_with_everything_committed(
    kafka: KafkaCluster, settings: Settings, tmp_path: Path
) -> None:
    await create_topics(settings, kafka.bootstrap)
    rows = [
        (b"u%d" % (number % 50), json.dumps(_transaction(number), separators=(",", ":")).encode())
        for number in range(5_000)
    ]
    # A checkpoint that is far away: what is open when the signal comes must be committed by the shutdown itself.
    slow = settings.model_copy(update={"checkpoint_interval_s": 60.0})
    with Worker(slow, tmp_path) as worker:
        await worker.ready()
        async with ordered_producer(kafka.bootstrap) as producer:
            sent = await produce(producer, settings.transactions_topic, rows)

        async def has_judged_all() -> bool:
            return sum((await end_offsets(kafka.bootstrap, settings.verdicts_topic)).values()) >= len(rows)

        await until(has_judged_all, ENDS_WITHIN_S, "a verdict on each transaction, committed or not")
        started = time.monotonic()
        assert worker.stop() == 0, worker.tail()
        assert time.monotonic() - started < STOPS_WITHIN_S
        worker.assert_no_traceback()
    assert_each_once(
        await verdicts_of(kafka.bootstrap, settings.verdicts_topic),
        [_transaction(number)["transaction_id"] for number in range(len(rows))],
    )
    ends = await end_offsets(kafka.bootstrap, settings.transactions_topic)
    found = await committed_offsets(kafka.bootstrap, settings.app_id, settings.transactions_topic, len(ends))
    assert {number: max(offset, 0) for number, offset in found.items()} == ends
    expected = states_by_oracle(sent, settings.allowed_lateness_s)
    assert_states_equal(await states_by_changelog(kafka.bootstrap, changelog_topic(settings)), expected)
    assert_states_equal(states_by_rocksdb(worker.data_dir), expected)


async def test_rocksdb_options_hold_when_a_database_is_opened_again(
    kafka: KafkaCluster, settings: Settings, tmp_path: Path
) -> None:
    await create_topics(settings, kafka.bootstrap)
    worker = Worker(settings, tmp_path)
    for _ in range(2):
        with worker:
            await worker.ready()
            assert worker.stop() == 0, worker.tail()
        logs = sorted(worker.data_dir.glob("v1/tables/profiles-*.db/LOG"))
        assert len(logs) == settings.topic_partitions
        for log in logs:
            _assert_options_hold(log.read_text())
    assert sorted(worker.data_dir.glob("v1/tables/profiles-*.db/LOG.old*")), "the databases were not opened again"


def _assert_options_hold(log: str) -> None:
    """What RocksDB itself says it runs with, for every column family it opened."""
    filters = re.findall(r"^\s*filter_policy: (\S+)", log, re.MULTILINE)
    capacities = re.findall(r"block_cache_options:\s+capacity : (\d+)", log)
    cached = re.findall(r"^\s*cache_index_and_filter_blocks: (\d)", log, re.MULTILINE)
    buffers = re.findall(r"Options\.write_buffer_size: (\d+)", log)
    assert filters, log[:2_000]
    assert set(filters) == {"bloomfilter"}
    assert set(map(int, capacities)) == {BLOCK_CACHE_BYTES}
    assert set(cached) == {"0"}
    assert set(map(int, buffers)) == {BLOCK_CACHE_BYTES // 2}


def _transaction(number: int) -> dict[str, Any]:
    return {
        "transaction_id": f"t{number}",
        "user_id": f"u{number % 50}",
        "amount": number % 97 + 0.25,
        "merchant": f"m{number % 7}",
        "timestamp": 1_700_000_000 + 37 * number,
    }
