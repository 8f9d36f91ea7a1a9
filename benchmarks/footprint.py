"""What users and traffic need: `python -m benchmarks.footprint [--million] [--json FILE]`.

For each case a real broker, the worker as users start it, and RocksDB: the users' last 30 days are judged from a
backlog, then transactions come at a rate, and memory, CPU, changelog and disk are looked at. The cases are uniform
and Zipf-distributed users, with and without profiles in memory; with --million one alone, a million Zipf-distributed
users with a million transactions, which is held against targets.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import rocksdict
from confluent_kafka import Consumer, TopicPartition

from benchmarks.broker import Offsets, delete_topics, keep_changelog, running_broker
from benchmarks.circumstances import measured_on
from benchmarks.made_up import draw, produce_at_rate, produce_past
from benchmarks.measure import SETTLE_S, own_settings
from benchmarks.process_figures import MeasurementError, cpu_s, resident_mib, written_bytes
from benchmarks.targets import CHANGELOG_BYTES, DISK, MEMORY, Bound, bounds_table
from fraudstream.adapters.kafka_topics import create_topics
from fraudstream.errors import FraudstreamError
from fraudstream.machine import this_machine
from fraudstream.settings import Settings
from fraudstream.state.profile import view
from fraudstream.topics import changelog_topic
from tests.servers.jars import ServerUnavailableError
from tests.worker import Worker

MILLION = 1_000_000
PATIENCE_S = 600.0
BYTES_PER_MIB = 2**20
OFFSET_KEYS = b"__faust"
LIBRARIES = ("faust-streaming", "aiokafka", "numba", "rocksdict")


@dataclass(frozen=True, slots=True)
class Footprint:
    """What one case needed.

    Attributes:
        events_kept: events in a profile's ring, mean over the users.
        record_bytes: of a profile, mean over the users.
        rocksdb_bytes_per_user: RocksDB files after the worker ended in order, with everything that Faust keeps there.
        rocksdb_bytes: all of them.
        backlog_changelog_bytes_per_transaction: keys and records written to the changelog, of the backlog.
        disk_bytes_per_transaction: what the process had written to the disk, over backlog and fixed rate.
        changelog_bytes_per_user: a compacted changelog at its best: newest record and key of each user.
        changelog_bytes_per_transaction: keys and records written to the changelog per transaction at the fixed rate.
        changelog_records_per_transaction: below 1 where a user comes twice in a checkpoint.
        idle_mib: resident memory of the worker when it was ready and had judged nothing.
        worker_mib: the same at the end.
        cpu_us_per_event: of the worker at the fixed rate, which is more than from a backlog: batches are smaller.
    """

    users_drawn: str
    profile_cache_size: int
    users: int
    events_kept: float
    record_bytes: float
    rocksdb_bytes_per_user: float
    rocksdb_bytes: float
    disk_bytes_per_transaction: float
    backlog_changelog_bytes_per_transaction: float
    changelog_bytes_per_user: float
    changelog_bytes_per_transaction: float
    changelog_records_per_transaction: float
    idle_mib: float
    worker_mib: float
    cpu_us_per_event: float


def main() -> int:
    """Measures the cases and prints one table; with --million 1 where a target is missed."""
    options = _options()
    cases = [("uniform", options.users), ("uniform", 0), ("zipf", options.users), ("zipf", 0)]
    if options.million:
        options.users = options.rows = MILLION
        cases = [("zipf", Settings.model_fields["profile_cache_size"].default)]
    found: list[Footprint] = []
    loads: list[float] = []
    try:
        with running_broker() as broker:
            for drawn, cache in cases:
                loads.append(os.getloadavg()[0])
                found.append(_measure(broker.bootstrap, drawn, cache, options))
                print(f"{drawn}, PROFILE_CACHE_SIZE={cache}: done", file=sys.stderr, flush=True)
    except (FraudstreamError, ServerUnavailableError) as error:
        print(f"benchmarks.footprint: {error}", file=sys.stderr)
        return 1
    bounds = _bounds(found[0], options.rate) if options.million else []
    print("\n\n".join([_table(found), *([bounds_table(bounds)] if bounds else [])]))
    print(
        f"\n{measured_on(datetime.now(UTC), this_machine(LIBRARIES), loads)} {options.users:,} users, "
        f"{options.rows:,} transactions in 30 days, then {options.rate:,} a second for {options.seconds} s"
    )
    if options.json:
        options.json.write_text(json.dumps([asdict(one) for one in found], indent=2) + "\n", encoding="utf-8")
    return 0 if all(bound.is_reached(value) for bound, _, value in bounds) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.footprint", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--million", action="store_true", help="a million users and transactions, and nothing else")
    parser.add_argument("--users", type=int, default=50_000)
    parser.add_argument("--rows", type=int, default=500_000, help="transactions of the past 30 days (default 500000)")
    parser.add_argument("--rate", type=int, default=1_000, help="transactions a second afterwards (default 1000)")
    parser.add_argument("--seconds", type=int, default=30, help="for how long they come (default 30)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="writes the result for machines")
    return parser.parse_args()


def _bounds(found: Footprint, rate: int) -> list[tuple[Bound, str, float]]:
    return [
        (MEMORY, "", (found.worker_mib - found.idle_mib) * BYTES_PER_MIB / 1e6),
        (DISK, "", found.rocksdb_bytes / 1e9),
        (CHANGELOG_BYTES, "of the backlog", found.backlog_changelog_bytes_per_transaction),
        (CHANGELOG_BYTES, f"at {rate:,} a second", found.changelog_bytes_per_transaction),
    ]


def _table(found: Sequence[Footprint]) -> str:
    rows = [asdict(one) for one in found]
    lines = [f"| | {' | '.join(row['users_drawn'] for row in rows)} |", "|---|" + "---:|" * len(rows)]
    for name in list(rows[0])[1:]:
        cells = (
            f"{value:,.2f}"
            if (value := row[name]) % 1 and name.endswith(("kept", "records_per_transaction"))
            else f"{value:,.0f}"
            for row in rows
        )
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _measure(bootstrap: str, drawn: str, cache: int, options: argparse.Namespace) -> Footprint:
    with tempfile.TemporaryDirectory(prefix="fraudstream-footprint-") as directory:
        settings = own_settings(bootstrap, Path(directory)).model_copy(update={"profile_cache_size": cache})
        asyncio.run(create_topics(settings, bootstrap))
        asyncio.run(keep_changelog(settings, bootstrap))  # all that is written shall be there to be counted
        try:
            return _run(settings, drawn, Path(directory), options)
        finally:
            delete_topics(settings)


def _run(settings: Settings, drawn: str, directory: Path, options: argparse.Namespace) -> Footprint:
    live = options.rate * options.seconds
    users = draw(np.random.default_rng(0), drawn, options.users, options.rows + live)
    offsets = Offsets(settings)
    try:
        with Worker(settings, directory) as worker:
            asyncio.run(worker.ready())
            pid, idle_mib, began = worker.pid, resident_mib(worker.pid), _ends(settings)
            produce_past(settings, users[: options.rows], time.time())
            wait_for(worker, offsets, options.rows)
            between, cpu_before_s = _ends(settings), cpu_s(pid)
            produce_at_rate(settings, users[options.rows :], options.rows, options.rate)
            wait_for(worker, offsets, options.rows + live)
            time.sleep(SETTLE_S)
            cpu, resident, on_disk = cpu_s(pid) - cpu_before_s, resident_mib(pid), written_bytes(pid)
            if worker.stop() != 0:
                raise MeasurementError(f"expected the worker to end in order, got\n{worker.tail()}")
        before, written = _read(settings, began, between), _read(settings, between, _ends(settings))
        newest = _profiles(worker.data_dir)
        kept = [len(profile.events) for record in newest.values() if (profile := view(record)) is not None]
        rocksdb_bytes = _disk_bytes(worker.data_dir)
        return Footprint(
            users_drawn=drawn,
            profile_cache_size=settings.profile_cache_size,
            users=len(newest),
            events_kept=sum(kept) / len(kept),
            record_bytes=sum(map(len, newest.values())) / len(newest),
            rocksdb_bytes_per_user=rocksdb_bytes / len(newest),
            rocksdb_bytes=rocksdb_bytes,
            disk_bytes_per_transaction=on_disk / (options.rows + live),
            backlog_changelog_bytes_per_transaction=before["bytes"] / options.rows,
            changelog_bytes_per_user=sum(len(key) + len(record) for key, record in newest.items()) / len(newest),
            changelog_bytes_per_transaction=written["bytes"] / live,
            changelog_records_per_transaction=written["records"] / live,
            idle_mib=idle_mib,
            worker_mib=resident,
            cpu_us_per_event=cpu / live * 1e6,
        )
    finally:
        offsets.close()


def wait_for(worker: Worker, offsets: Offsets, wanted: int) -> None:
    """Returns when so many transactions are judged and committed.

    Raises:
        MeasurementError: the worker ended, or takes too long.
    """
    deadline_s = time.monotonic() + PATIENCE_S
    while (committed := offsets.committed()) < wanted:
        if worker.exit_code() is not None or time.monotonic() > deadline_s:
            raise MeasurementError(f"expected {wanted:,} judged transactions, got {committed:,}:\n{worker.tail()}")
        time.sleep(0.1)


def _ends(settings: Settings) -> dict[int, int]:
    with _reader(settings) as reader:
        return {
            number: reader.get_watermark_offsets(TopicPartition(changelog_topic(settings), number), 10)[1]
            for number in range(settings.topic_partitions)
        }


def _read(settings: Settings, starts: dict[int, int], ends: dict[int, int]) -> Counter[str]:
    """Records and bytes that were written to the changelog between these offsets."""
    found = Counter[str]()
    with _reader(settings) as reader:
        topic = changelog_topic(settings)
        reader.assign([TopicPartition(topic, number, at) for number, at in starts.items()])
        open_partitions = {number for number, at in starts.items() if at < ends[number]}
        while open_partitions:
            for message in reader.consume(5_000, 10):
                number = message.partition()
                if message.error() is None and (message.offset() or 0) < ends[number or 0]:
                    found.update(records=1, bytes=len(message.key() or b"") + len(message.value() or b""))
                else:  # behind the end, or the end of a partition: its last offset is a transaction's marker
                    open_partitions.discard(number)
    return found


def _reader(settings: Settings) -> Consumer:
    return Consumer(
        {
            "bootstrap.servers": settings.kafka_servers or "",
            "group.id": f"{settings.app_id}-footprint",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
        }
    )


def _profiles(data_dir: Path) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for path in sorted(data_dir.glob("v1/tables/profiles-*.db")):
        database = rocksdict.Rdict(str(path), options=rocksdict.Options(raw_mode=True))
        items: Iterable[tuple[Any, Any]] = database.items()
        found.update((key, value) for key, value in items if not key.startswith(OFFSET_KEYS))
        database.close()
    return found


def _disk_bytes(directory: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in directory.rglob("*") if path.is_file())


if __name__ == "__main__":
    sys.exit(main())
