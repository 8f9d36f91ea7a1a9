"""What users and traffic need, by the worker as users start it: `python -m benchmarks.footprint [--json FILE]`.

For each case a real broker, worker and RocksDB: the users' last 30 days are judged from a backlog, then transactions
come at a fixed rate, and memory, CPU, changelog and disk are looked at. The cases are uniform and Zipf-distributed
users, with and without profiles in memory.
"""

from __future__ import annotations

import argparse
import asyncio
import json
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
from confluent_kafka import Consumer, Producer, TopicPartition

from benchmarks.broker import Offsets, delete_topics, produce, running_broker
from benchmarks.measure import SETTLE_S, own_settings
from benchmarks.processes import MeasurementError, cpu_s
from fraudstream.adapters.kafka_topics import create_topics
from fraudstream.errors import FraudstreamError
from fraudstream.machine import this_machine
from fraudstream.settings import Settings
from fraudstream.state.profile import view
from fraudstream.topics import changelog_topic
from tests.servers.jars import ServerUnavailableError
from tests.worker import Worker

DAYS_S = 30 * 86_400
PATIENCE_S = 600.0
ZIPF_EXPONENT = 1.0
SECONDS_AT_A_TIME = 0.02
OFFSET_KEYS = b"__faust"
MERCHANTS = 500


@dataclass(frozen=True, slots=True)
class Footprint:
    """What one case needed.

    Attributes:
        events_kept: events in a profile's ring, mean over the users.
        record_bytes: of a profile, mean over the users.
        rocksdb_bytes_per_user: RocksDB files after the worker ended in order, with everything that Faust keeps there.
        changelog_bytes_per_user: a compacted changelog at its best: newest record and key of each user.
        changelog_bytes_per_transaction: keys and records written to the changelog per transaction at the fixed rate.
        changelog_records_per_transaction: below 1 where a user comes twice in a checkpoint.
        worker_mib: resident memory of the worker at the end.
        cpu_us_per_event: of the worker at the fixed rate, which is more than from a backlog: batches are smaller.
    """

    users_drawn: str
    profile_cache_size: int
    users: int
    events_kept: float
    record_bytes: float
    rocksdb_bytes_per_user: float
    changelog_bytes_per_user: float
    changelog_bytes_per_transaction: float
    changelog_records_per_transaction: float
    worker_mib: float
    cpu_us_per_event: float


def main() -> int:
    """Measures the cases and prints one table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.footprint", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--users", type=int, default=50_000)
    parser.add_argument("--rows", type=int, default=500_000, help="transactions of the past 30 days (default 500000)")
    parser.add_argument("--rate", type=int, default=1_000, help="transactions a second afterwards (default 1000)")
    parser.add_argument("--seconds", type=int, default=30, help="for how long they come (default 30)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="writes the result for machines")
    options = parser.parse_args()
    found: list[Footprint] = []
    try:
        with running_broker() as bootstrap:
            for drawn, cache in (("uniform", options.users), ("uniform", 0), ("zipf", options.users), ("zipf", 0)):
                found.append(_measure(bootstrap, drawn, cache, options))
                print(f"{drawn}, PROFILE_CACHE_SIZE={cache}: done", file=sys.stderr, flush=True)
    except (FraudstreamError, ServerUnavailableError) as error:
        print(f"benchmarks.footprint: {error}", file=sys.stderr)
        return 1
    print(_table(found))
    machine = this_machine(("rocksdict",))
    print(
        f"\n{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {machine.processor}, {machine.cores} cores, Python "
        f"{machine.python}; {options.users:,} users, {options.rows:,} transactions in 30 days, then {options.rate:,} "
        f"a second for {options.seconds} s"
    )
    if options.json:
        options.json.write_text(json.dumps([asdict(one) for one in found], indent=2) + "\n", encoding="utf-8")
    return 0


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
        try:
            return _run(settings, drawn, Path(directory), options)
        finally:
            delete_topics(settings)


def _run(settings: Settings, drawn: str, directory: Path, options: argparse.Namespace) -> Footprint:
    rng = np.random.default_rng(0)
    live = options.rate * options.seconds
    users = _draw(rng, drawn, options.users, options.rows + live)
    offsets = Offsets(settings)
    try:
        with Worker(settings, directory) as worker:
            began_s = time.time() - DAYS_S
            past = [
                _message(number, int(user), began_s + DAYS_S * number / options.rows)
                for number, user in enumerate(users[: options.rows])
            ]
            produce(settings, past)
            _wait(worker, offsets, options.rows)
            pid = worker.pid
            before, cpu_before_s = _ends(settings), cpu_s(pid)
            _at_rate(settings, users[options.rows :], options.rows, options.rate)
            _wait(worker, offsets, options.rows + live)
            time.sleep(SETTLE_S)
            cpu = cpu_s(pid) - cpu_before_s
            resident = _resident_mib(pid)
            if worker.stop() != 0:
                raise MeasurementError(f"expected the worker to end in order, got\n{worker.tail()}")
        written = _read(settings, before)
        newest = _profiles(worker.data_dir)
        kept = [len(profile.events) for record in newest.values() if (profile := view(record)) is not None]
        return Footprint(
            users_drawn=drawn,
            profile_cache_size=settings.profile_cache_size,
            users=len(newest),
            events_kept=sum(kept) / len(kept),
            record_bytes=sum(map(len, newest.values())) / len(newest),
            rocksdb_bytes_per_user=_disk_bytes(worker.data_dir) / len(newest),
            changelog_bytes_per_user=sum(len(key) + len(record) for key, record in newest.items()) / len(newest),
            changelog_bytes_per_transaction=written["bytes"] / live,
            changelog_records_per_transaction=written["records"] / live,
            worker_mib=resident,
            cpu_us_per_event=cpu / live * 1e6,
        )
    finally:
        offsets.close()


def _draw(rng: np.random.Generator, drawn: str, users: int, rows: int) -> np.ndarray:
    """(rows,) numbers of users."""
    if drawn == "uniform":
        return rng.integers(0, users, rows)
    weights = 1.0 / np.arange(1, users + 1) ** ZIPF_EXPONENT
    return rng.choice(users, rows, p=weights / weights.sum())


def _message(number: int, user: int, event_time_s: float) -> tuple[bytes, bytes]:
    name = f"user_{user:08d}"
    transaction = {
        "transaction_id": f"t{number}",
        "user_id": name,
        "amount": 5 + number % 97,
        "merchant": f"merchant_{(user * 31 + number % 7) % MERCHANTS}",
        "category": "grocery",
        "device_id": f"device_{user}",
        "timestamp": int(event_time_s * 1000),
    }
    return name.encode(), json.dumps(transaction).encode()


def _at_rate(settings: Settings, users: np.ndarray, first: int, rate: int) -> None:
    producer = Producer(
        {"bootstrap.servers": settings.kafka_servers or "", "partitioner": "murmur2_random", "linger.ms": 5}
    )
    at_a_time = max(1, int(rate * SECONDS_AT_A_TIME))
    started_s = time.perf_counter()
    for start in range(0, len(users), at_a_time):
        time.sleep(max(0.0, started_s + start / rate - time.perf_counter()))
        for number in range(start, min(start + at_a_time, len(users))):
            key, value = _message(first + number, int(users[number]), time.time())
            producer.produce(settings.transactions_topic, value, key)
        producer.poll(0)
    if producer.flush(30):
        raise MeasurementError("expected the broker to take all transactions within 30 s")


def _wait(worker: Worker, offsets: Offsets, wanted: int) -> None:
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


def _read(settings: Settings, starts: dict[int, int]) -> Counter[str]:
    """Records and bytes that were written to the changelog from these offsets on."""
    found, ends = Counter[str](), _ends(settings)
    with _reader(settings) as reader:
        topic = changelog_topic(settings)
        reader.assign([TopicPartition(topic, number, at) for number, at in starts.items()])
        open_partitions = {number for number, at in starts.items() if at < ends[number]}
        while open_partitions:
            for message in reader.consume(5_000, 10):
                number = message.partition()
                if message.error() is None:
                    found.update(records=1, bytes=len(message.key() or b"") + len(message.value() or b""))
                else:  # the end of a partition: its last offset is a transaction's marker
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


def _resident_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


if __name__ == "__main__":
    sys.exit(main())
