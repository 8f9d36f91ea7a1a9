"""On a real broker: a restore brings what was committed, waits where that helps, and otherwise says what is wrong."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import faust
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from fraudstream.adapters.kafka_topics import create_topics
from fraudstream.adapters.metric_catalogue import STORE_PARTS
from fraudstream.agents import restore as room
from fraudstream.agents.changelog import first_missing_offsets
from fraudstream.agents.restore import ProfileRestore
from fraudstream.errors import BrokerError
from fraudstream.settings import Settings
from fraudstream.tables.profiles import profile_table
from fraudstream.tables.store import ProfileStore
from fraudstream.topics import changelog_topic
from tests.checker import until, verdicts_of
from tests.integration.test_damaged_store import transaction_row
from tests.servers.kafka import KafkaCluster
from tests.servers.ports import free_port
from tests.worker import Worker

WITHIN_S = 60.0
RECORDS = 3_000
RECORDS_PER_BATCH = 100

pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.timeout(150)]


class Changelog:
    """A changelog of its own, written by the test; users are spread over partitions by their number."""

    def __init__(self, kafka: KafkaCluster, settings: Settings) -> None:
        self.kafka, self.settings, self.topic = kafka, settings, changelog_topic(settings)
        self.partitions = range(settings.topic_partitions)
        self.admin = AdminClient({"bootstrap.servers": kafka.bootstrap})

    def write(self, users: Sequence[int], value: bytes) -> None:
        producer = Producer(
            {
                "bootstrap.servers": self.kafka.bootstrap,
                "log_level": 0,
                "linger.ms": 50,
                "batch.num.messages": RECORDS_PER_BATCH,
            }
        )
        for user in users:
            producer.produce(self.topic, value + b"%d" % user, b"u%d" % user, user % len(self.partitions))
        assert producer.flush(WITHIN_S) == 0

    async def delete_before(self, partition: int, offset: int) -> None:
        """As a retention does; Kafka refuses it for a topic that is only compacted."""
        await self._set_policy("compact,delete")
        deleted = self.admin.delete_records([TopicPartition(self.topic, partition, offset)])
        assert all(future.result(WITHIN_S).low_watermark == offset for future in deleted.values())

    async def _set_policy(self, policy: str) -> None:
        client = AIOKafkaAdminClient(bootstrap_servers=self.kafka.bootstrap)
        await client.start()
        await client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, self.topic, {"cleanup.policy": policy})])
        await client.close()

    def restore(self, directory: Path, bootstrap: str | None = None) -> tuple[ProfileRestore, ProfileStore]:
        app = faust.App("t", datadir=str(directory), store="rocksdb://", env={})
        store = profile_table(app, len(self.partitions)).store
        return ProfileRestore(self.settings, bootstrap or self.kafka.bootstrap, self.topic, store), store

    async def contents(self, directory: Path) -> dict[bytes, bytes]:
        restore, store = self.restore(directory)
        try:
            await asyncio.wait_for(restore.run(list(self.partitions)), WITHIN_S)
            return {key: value for partition in self.partitions for key, value in store.items(partition)}
        finally:
            await store.stop()


@pytest.fixture
async def changelog(kafka: KafkaCluster, own_settings: Settings) -> Changelog:
    settings = own_settings.model_copy(update={"kafka_servers": kafka.bootstrap})
    await create_topics(settings, kafka.bootstrap)
    return Changelog(kafka, settings)


@pytest.mark.parametrize("bulk_offsets", [1, 10**9])
async def test_the_newest_record_of_each_user_is_restored(
    changelog: Changelog, tmp_path: Path, bulk_offsets: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "BULK_OFFSETS", bulk_offsets)
    changelog.write(range(RECORDS), b"old")
    changelog.write(range(0, RECORDS, 2), b"new")
    expected = {b"u%d" % user: (b"new%d" if user % 2 == 0 else b"old%d") % user for user in range(RECORDS)}
    assert await changelog.contents(tmp_path) == expected
    changelog.write(range(7), b"newer")
    expected |= {b"u%d" % user: b"newer%d" % user for user in range(7)}
    assert await changelog.contents(tmp_path) == expected, "the tail on what the disk has"


async def test_records_that_were_deleted_end_a_restore_that_needs_them_and_no_other(
    changelog: Changelog, tmp_path: Path
) -> None:
    changelog.write(range(RECORDS), b"old")
    whole = await changelog.contents(tmp_path / "whole")
    await changelog.delete_before(2, 10)
    with pytest.raises(
        BrokerError, match=r"partition 2 to hold .* from offset 0 on, got a log that begins at 10: .*back"
    ):
        await changelog.contents(tmp_path / "empty")
    assert await changelog.contents(tmp_path / "whole") == whole, "this disk has what was deleted"
    changelog.write(range(RECORDS), b"new")
    await changelog.delete_before(2, RECORDS // len(changelog.partitions) + 1)
    with pytest.raises(BrokerError, match=r"partition 2 to hold .* records were deleted"):
        await changelog.contents(tmp_path / "whole")


async def test_records_that_are_deleted_under_a_restore_end_it(changelog: Changelog, tmp_path: Path) -> None:
    changelog.write(range(RECORDS), b"old")
    restore, _store = changelog.restore(tmp_path)

    async def starts_then_deleted(*arguments: Any) -> Any:
        starts = await first_missing_offsets(*arguments)
        await changelog.delete_before(1, 50)
        return starts

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "first_missing_offsets", starts_then_deleted)
        with pytest.raises(BrokerError, match=r"partition 1 to hold .* from offset 0 on, got a log that begins at 50"):
            await asyncio.wait_for(restore.run([1]), WITHIN_S)


async def test_a_batch_with_a_wrong_checksum_ends_the_restore_with_partition_and_offset(
    changelog: Changelog, kafka: KafkaCluster, tmp_path: Path
) -> None:
    for _ in range(3):  # three batches of 100 in each partition
        changelog.write(range(RECORDS_PER_BATCH * len(changelog.partitions)), b"x" * 200)
    (log,) = kafka.directory.glob(f"broker-1/data/{changelog.topic}-3/*0.log")
    with log.open("r+b") as file:
        file.seek(log.stat().st_size // 2)
        file.write(b"\xff" * 8)
    with pytest.raises(
        BrokerError, match=r"partition 3 at offset [12]00, got a batch of records whose checksum is wrong"
    ):
        await changelog.contents(tmp_path)


async def test_a_restore_waits_for_brokers_that_are_away_and_goes_on_when_they_are_back(
    changelog: Changelog, kafka: KafkaCluster, tmp_path: Path
) -> None:
    changelog.write(range(RECORDS), b"old")
    port = free_port()
    restore, store = changelog.restore(tmp_path, f"127.0.0.1:{port}")
    restoring = asyncio.create_task(restore.run(list(changelog.partitions)))

    async def waits() -> bool:
        assert not restoring.done()
        return restore.progress.waiting is not None

    await until(waits, WITHIN_S, "a restore that says that it waits")
    assert str(restore.progress).endswith("; waiting for Kafka, no broker answers")
    assert restore.progress.left_s() is None
    server = await _forward(port, kafka.bootstrap)
    await asyncio.wait_for(restoring, WITHIN_S)
    server.close()
    assert sum(1 for partition in changelog.partitions for _ in store.items(partition)) == RECORDS
    assert restore.progress.left_s() == 0.0


async def test_brokers_that_answer_and_bring_nothing_end_the_restore(
    changelog: Changelog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changelog.write(range(100), b"old")

    async def nothing(*_arguments: Any) -> dict[Any, Any]:
        await asyncio.sleep(0.1)
        return {}

    monkeypatch.setattr(room, "fetch", nothing)
    monkeypatch.setattr(room, "SILENT_AFTER_S", 0.5)
    monkeypatch.setattr(room, "STALLED_AFTER_S", 2.0)
    restore, _store = changelog.restore(tmp_path)
    started_s = time.monotonic()
    with pytest.raises(BrokerError, match=r"got nothing for 2 s while Kafka answers: .* partition 0 stands at 0 of 25"):
        await asyncio.wait_for(restore.run([0]), WITHIN_S)
    assert time.monotonic() - started_s >= 2.0


async def test_what_is_no_profile_is_a_dead_letter_of_its_user_alone(changelog: Changelog, tmp_path: Path) -> None:
    settings = changelog.settings
    rows = [transaction_row(number) for number in range(40)]
    producer = Producer(
        {"bootstrap.servers": changelog.kafka.bootstrap, "log_level": 0, "partitioner": "murmur2_random"}
    )
    producer.produce(changelog.topic, b"\x07no profile" * 9, rows[0][0])
    for key, value in rows:
        producer.produce(settings.transactions_topic, value, key)
    assert producer.flush(WITHIN_S) == 0
    with Worker(settings, tmp_path) as worker:
        await worker.ready()
        health = (await asyncio.to_thread(worker.call, "GET", "/health")).json()
        assert health["restored"] == 1
        assert health["restore_left_s"] == 0.0

        async def all_judged() -> bool:
            answer = await worker.ask("/health")
            return answer is not None and answer.json()["processed"] == len(rows)

        await until(all_judged, WITHIN_S, "all transactions judged")
        metrics = (await asyncio.to_thread(worker.call, "GET", "/metrics")).body.decode()
        assert 'fraudstream_dead_letters_total{reason="profile_unreadable"} 1.0' in metrics
        for part in STORE_PARTS:
            assert re.search(rf'fraudstream_store_memory_bytes{{part="{part}"}} \d', metrics), metrics
        assert re.search(r'fraudstream_store_memory_bytes{part="write_buffers"} [1-9]', metrics), metrics
        assert worker.stop() == 0, worker.tail()
    verdicts = await verdicts_of(changelog.kafka.bootstrap, settings.verdicts_topic)
    assert verdicts.lost(f"t{number}" for number in range(len(rows))) == ["t0"]


async def _forward(port: int, bootstrap: str) -> asyncio.Server:
    host, _, behind = bootstrap.rpartition(":")

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        except OSError:
            return
        finally:
            writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        their_reader, their_writer = await asyncio.open_connection(host, int(behind), family=socket.AF_INET)
        await asyncio.gather(pump(reader, their_writer), pump(their_reader, writer))

    return await asyncio.start_server(serve, "127.0.0.1", port)
