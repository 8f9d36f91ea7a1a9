"""Scenarios in which disks fill, rot and lie."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path

from confluent_kafka import Producer

from fraudstream.topics import changelog_topic
from tests.chaos.bed import Bed, ScenarioError
from tests.chaos.scenario import Scenario
from tests.worker import Worker

STEADY_S = 5.0
SMALL_DISK = "24m"
ANSWER_WITHIN_S = 30.0


async def _full_disk(bed: Bed) -> None:
    """A further worker whose disk is small; a large file fills it, and goes away again."""
    disk = bed.workers[0].directory.parent / "small-disk"
    disk.mkdir()
    await asyncio.to_thread(_mount, disk)
    try:
        small = bed.add_worker(disk)
        await bed.until_shared()
        await asyncio.sleep(STEADY_S)
        _fill(disk / "ballast")

        async def ended() -> bool:
            return bed.exits.total() > 0

        await bed.until(ended, 30.0, "the worker with the full disk to end")
        (disk / "ballast").unlink()
        await bed.until_shared()
        await asyncio.sleep(STEADY_S)
        await bed.stop(small)
    finally:
        bed.workers[-1].end()
        await asyncio.to_thread(subprocess.run, ["umount", "-l", str(disk)], check=True)


def _mount(disk: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK}", "tmpfs", str(disk)], check=True)


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as ballast:
        try:
            while True:
                ballast.write(b"\0" * 65_536)
        except OSError:
            return


async def _damaged(bed: Bed) -> None:
    """Flips bytes in every file of a database while its worker is down."""
    victim = bed.running()[0]
    for kind in ("*.sst", "MANIFEST-*", "CURRENT", "*.log"):
        bed.kill(victim)
        _damage(victim, kind)
        bed.start(victim)
        await bed.until_shared()
        await asyncio.sleep(STEADY_S)


def _damage(worker: Worker, kind: str) -> None:
    files = [path for path in worker.data_dir.rglob(f"*.db/{kind}") if path.stat().st_size]
    if not files and kind != "*.sst":
        raise ScenarioError(f"expected files {kind} below {worker.data_dir}")
    for path in files:
        content = bytearray(path.read_bytes())
        for at in range(0, len(content), max(len(content) // 16, 1)):
            content[at] ^= 0xFF
        path.write_bytes(content)


async def _unreadable(bed: Bed) -> None:
    """Writes what is no profile behind a user's in the changelog, as a bug would; every disk is wiped."""
    for worker in list(bed.running()):
        await bed.stop(worker)
    producer = Producer(
        {"bootstrap.servers": bed.cluster.bootstrap, "transactional.id": bed.settings.app_id, "log_level": 0}
    )
    producer.init_transactions(ANSWER_WITHIN_S)
    producer.begin_transaction()
    for each in bed.source.sent[-3:]:
        producer.produce(changelog_topic(bed.settings), os.urandom(200), each.key, each.partition)
    producer.commit_transaction(ANSWER_WITHIN_S)
    for worker in bed.workers:
        bed.wipe(worker)
        bed.start(worker)
    await bed.until_shared()
    await asyncio.sleep(STEADY_S)


FULL_DISK = Scenario(
    "full disk", _full_disk, workers=1, may_end=True, about="a worker's disk (a small tmpfs) fills and is cleared again"
)
DAMAGED = Scenario(
    "damaged RocksDB", _damaged, about="bytes flipped in a worker's SST files, manifest, CURRENT and write-ahead log"
)
UNREADABLE = Scenario(
    "changelog record unreadable",
    _unreadable,
    dead_letters={"profile_unreadable": -1},
    about="random bytes behind a profile in the changelog, disks wiped: those users' transactions are dead letters",
)
