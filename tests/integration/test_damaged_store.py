"""On a real broker: a worker whose disk is damaged or full ends in words or heals itself, and no profile is wrong."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import rocksdict

from fraudstream.adapters.kafka_topics import create_topics
from fraudstream.settings import Settings
from fraudstream.topics import changelog_topic
from tests.chaos.reading import Reader
from tests.checker import (
    Sent,
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

ROWS, USERS = 6_000, 4_000
WITHIN_S = 90.0
EXIT_FAULT = 70
DISK_BYTES = 48 * 1024 * 1024
LEFT_BYTES = 256 * 1024
OF_PAGE = 4096

pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.timeout(200)]


class Judged:
    """What was sent so far, and what must have come of it."""

    def __init__(self, kafka: KafkaCluster, settings: Settings) -> None:
        self.bootstrap, self.settings = kafka.bootstrap, settings
        self.sent: list[Sent] = []
        self._rows = 0

    async def produce(self, rows: int) -> None:
        messages = [transaction_row(number) for number in range(self._rows, self._rows + rows)]
        self._rows += rows
        async with ordered_producer(self.bootstrap) as producer:
            self.sent += await produce(producer, self.settings.transactions_topic, messages)

    async def until_committed(self) -> None:
        ends = await end_offsets(self.bootstrap, self.settings.transactions_topic)

        async def is_done() -> bool:
            topic = self.settings.transactions_topic
            found = await committed_offsets(self.bootstrap, self.settings.app_id, topic, len(ends))
            return {number: max(offset, 0) for number, offset in found.items()} == ends

        await until(is_done, WITHIN_S, "everything judged and committed")

    async def assert_exact(self, data_dir: Path) -> None:
        """Each transaction has one verdict, and each profile is right, on the broker and on disk."""
        seen = await verdicts_of(self.bootstrap, self.settings.verdicts_topic)
        assert_each_once(seen, [f"t{number}" for number in range(self._rows)])
        expected = states_by_oracle(self.sent, self.settings.allowed_lateness_s)
        assert_states_equal(await states_by_changelog(self.bootstrap, changelog_topic(self.settings)), expected)
        assert_states_equal(states_by_rocksdb(data_dir), expected)


@pytest.fixture
def settings(own_settings: Settings, kafka: KafkaCluster) -> Settings:
    changed = {
        "kafka_servers": kafka.bootstrap,
        "profile_cache_size": 0,  # profiles are read from the disk, where the damage is
        "kafka_group_instance_id": "worker",  # a worker that was killed goes on without waiting for its old session
    }
    return own_settings.model_copy(update=changed)


@pytest.fixture
async def judged(kafka: KafkaCluster, settings: Settings) -> Judged:
    await create_topics(settings, kafka.bootstrap)
    return Judged(kafka, settings)


def transaction_row(number: int) -> tuple[bytes, bytes]:
    """A transaction as it travels."""
    user = f"u{number % USERS}"
    row = {
        "transaction_id": f"t{number}",
        "user_id": user,
        "amount": number % 97 + 0.25,
        "merchant": f"m{number % 7}",
        "timestamp": 1_700_000_000 + 37 * number,
    }
    return user.encode(), json.dumps(row).encode()


def databases(worker: Worker) -> list[Path]:
    return sorted(worker.data_dir.glob("v1/tables/profiles-*.db"))


def write_tables(worker: Worker) -> None:
    """Moves what is in the logs into tables, as time would."""
    for path in databases(worker):
        rocksdict.Rdict(str(path), options=rocksdict.Options(raw_mode=True)).close()


def flip_pages(path: Path) -> None:
    """Garbles the data of a table, but for its start, which has the offset, and its end, which is read first."""
    content = bytearray(path.read_bytes())
    for at in range(2 * OF_PAGE, len(content) * 3 // 4, OF_PAGE):
        content[at : at + 8] = bytes(byte ^ 0xFF for byte in content[at : at + 8])
    path.write_bytes(content)


async def test_a_damaged_database_is_restored_at_the_start_and_state_is_exact(judged: Judged, tmp_path: Path) -> None:
    worker = Worker(judged.settings, tmp_path)
    with worker:
        await worker.ready()
        await judged.produce(ROWS)
        await judged.until_committed()
        worker.kill()
    write_tables(worker)
    first, second, third, _ = databases(worker)
    os.truncate(min(first.glob("*.sst")), 100)
    os.truncate(next(second.glob("MANIFEST-*")), 20)
    min(third.glob("*.sst")).unlink()
    with worker:
        await judged.produce(500)
        await worker.ready()
        await judged.until_committed()
        text = worker.log_text()
        assert (
            len(re.findall(r"profiles of partition \d on this disk are damaged \(.*restored from the changelog", text))
            == 3
        )
        answer = await worker.ask("/metrics")
        assert answer is not None
        assert b"fraudstream_stores_damaged_total 3.0" in answer.body
        assert worker.stop() == 0, worker.tail()
    worker.assert_no_traceback()
    await judged.assert_exact(worker.data_dir)


async def test_damage_met_while_judging_ends_the_worker_and_the_next_start_heals_it(
    judged: Judged, tmp_path: Path
) -> None:
    worker = Worker(judged.settings, tmp_path)
    with worker:
        await worker.ready()
        await judged.produce(ROWS)
        await judged.until_committed()
        assert worker.stop() == 0, worker.tail()  # not killed: what is restored hides the damage
    write_tables(worker)
    harmed = databases(worker)[0]
    flip_pages(max(harmed.glob("*.sst"), key=lambda table: table.stat().st_size))
    await judged.produce(500)
    with worker:
        assert await asyncio.to_thread(worker.wait, WITHIN_S) == EXIT_FAULT, worker.tail()
    said = worker.log_text()
    assert f"profiles in {harmed} cannot be used, RocksDB says: Corruption: block checksum mismatch" in said
    assert "the next start moves this folder aside and restores its profiles from the changelog" in said
    with worker:
        await worker.ready()
        await judged.until_committed()
        assert worker.stop() == 0, worker.tail()
    await judged.assert_exact(worker.data_dir)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """An empty file system of a few MiB."""
    path = tmp_path / "worker" / "data"
    path.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(path)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a small file system cannot be mounted here, which takes root's rights: {error}")
    yield path
    subprocess.run(["umount", "--lazy", str(path)], check=True)


async def test_a_full_disk_ends_the_worker_in_words_and_it_goes_on_once_there_is_room(
    judged: Judged, small_disk: Path, tmp_path: Path
) -> None:
    worker = Worker(judged.settings, tmp_path)
    assert worker.data_dir == small_disk
    filler = small_disk / "filler"
    with worker:
        await worker.ready()
        await judged.produce(500)
        await judged.until_committed()
        filesystem = os.statvfs(small_disk)
        filler.write_bytes(bytes(filesystem.f_bavail * filesystem.f_frsize - LEFT_BYTES))
        await judged.produce(ROWS)
        assert await asyncio.to_thread(worker.wait, WITHIN_S) == EXIT_FAULT, worker.tail()
    said = worker.log_text()
    assert "No space left on device" in said
    assert "the disk under DATA_DIR is full: free some space or give it more, then start the worker again" in said
    topic = judged.settings.transactions_topic
    reader = Reader(judged.bootstrap)  # waits for a commit that was granted and is not carried out yet; others do not
    before = reader.committed(judged.settings.app_id, topic, 4)
    with worker:
        assert await asyncio.to_thread(worker.wait, WITHIN_S) == EXIT_FAULT, worker.tail()
    assert reader.committed(judged.settings.app_id, topic, 4) == before
    filler.unlink()
    with worker:
        await worker.ready()
        await judged.until_committed()
        assert worker.stop() == 0, worker.tail()
    assert "are damaged" not in worker.log_text(), "a full disk is no damage"
    worker.assert_no_traceback()
    await judged.assert_exact(worker.data_dir)
