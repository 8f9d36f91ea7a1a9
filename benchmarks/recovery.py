"""How soon a worker judges again: `python -m benchmarks.recovery [--users 1000000] [--repeats 3] [--markdown FILE]`.

The profiles of many users lie in a changelog on a real broker. The worker, as users start it, and stock Faust with a
table on the same records restore them in turn, each on an empty disk; then the worker is started again on its disk.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import rocksdict
from confluent_kafka import Producer

from benchmarks.broker import Broker, delete_topics, keep_changelog, running_broker
from benchmarks.circumstances import measured_on
from benchmarks.measure import own_settings
from benchmarks.process_figures import MeasurementError, cpu_s, peak_mib
from benchmarks.profile_records import UPDATES_PER_USER, ZIPF_EXPONENT, changelog_records
from fraudstream.adapters.kafka_topics import create_topics
from fraudstream.errors import FraudstreamError
from fraudstream.machine import Machine, this_machine
from fraudstream.settings import Settings
from fraudstream.topics import changelog_topic
from tests.servers.jars import ServerUnavailableError
from tests.servers.ports import free_port
from tests.worker import CHECKOUT, environment

TARGET_RATIO = 8.0
TARGET_RESTART_S = 5.0
READY_LINE = b"Worker ready"
"""Both say this when profiles are there and reading begins."""

SLOWEST_RECORDS_PER_S = 1_500
START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 60.0
POLL_S = 0.01
LOG_LINES = 15
FLUSH_TIMEOUT_S = 120.0
WORKER, STOCK = "worker", "stock Faust"
APPS = {WORKER: "fraudstream.agents.app", STOCK: "benchmarks.stock_table"}
LIBRARIES = ("faust-streaming", "aiokafka", "rocksdict", "uvloop")
OFFSET_KEYS = b"__faust"


@dataclass(frozen=True, slots=True)
class Start:
    """One start, from the process's first moment until it is ready.

    Attributes:
        peak_mib: the most memory it had resident.
        disk_mib: below its DATA_DIR after it has ended in order.
    """

    wall_s: float
    cpu_s: float
    peak_mib: float
    disk_mib: float


@dataclass(frozen=True, slots=True)
class Run:
    """What was measured, on what, and what came out; the starts of a round stand at the same place."""

    date: datetime
    machine: Machine
    broker: str
    users: int
    partitions: int
    records: int
    mean_bytes: float
    load: tuple[float, float]
    worker: Sequence[Start]
    stock: Sequence[Start]
    restart: Sequence[Start]

    @property
    def ratios(self) -> list[float]:
        """How many times as long stock Faust takes, by round."""
        return [slow.wall_s / fast.wall_s for fast, slow in zip(self.worker, self.stock, strict=True)]

    @property
    def reached(self) -> bool:
        """Whether both targets are."""
        restart_s = median(start.wall_s for start in self.restart)
        return median(self.ratios) >= TARGET_RATIO and restart_s <= TARGET_RESTART_S


def main() -> int:
    """Measures the rounds, prints the table, writes what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recovery", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--users", type=int, default=1_000_000, help="with a profile (default 1000000)")
    parser.add_argument("--repeats", type=int, default=3, help="rounds (default 3)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="writes the result for machines")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="writes the page docs/recovery.md")
    options = parser.parse_args()
    # As Ctrl-C, so that the broker and the measured process end with this one.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with running_broker() as broker, tempfile.TemporaryDirectory(prefix="fraudstream-recovery-") as directory:
            run = _run(broker, Path(directory), options.users, options.repeats)
    except (FraudstreamError, ServerUnavailableError) as error:
        print(f"benchmarks.recovery: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("benchmarks.recovery: stopped before the end, nothing is written", file=sys.stderr)
        return 1
    print(f"\n{table(run)}\n\n{verdict_line(run)}")
    if options.json:
        result = {**asdict(run), "date": run.date.isoformat(), "ratios": run.ratios, "reached": run.reached}
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    if options.markdown:
        options.markdown.write_text(page(run), encoding="utf-8")
    return 0 if run.reached else 1


def _run(broker: Broker, directory: Path, users: int, repeats: int) -> Run:
    settings = own_settings(broker.bootstrap, directory)
    asyncio.run(create_topics(settings, broker.bootstrap))
    asyncio.run(keep_changelog(settings, broker.bootstrap))  # each start must find the same records
    loads: list[float] = []
    starts: dict[str, list[Start]] = {WORKER: [], STOCK: [], "restart": []}
    try:
        records, size = _fill(settings, users)
        for number in range(repeats):
            for name in ((WORKER, STOCK), (STOCK, WORKER))[number % 2]:
                data_dir = directory / "data"
                own = settings.model_copy(update={"data_dir": data_dir, "web_port": free_port()})
                loads.append(os.getloadavg()[0])
                starts[name].append(_start(own, name, records))
                _require_all(data_dir, users)
                if name == WORKER:
                    starts["restart"].append(_start(own, name, records))
                shutil.rmtree(data_dir)
                print(f"round {number + 1} of {repeats}: {name} {starts[name][-1].wall_s:.1f} s", flush=True)
    finally:
        delete_topics(settings)
    return Run(
        date=datetime.now(UTC),
        machine=this_machine(LIBRARIES),
        broker=broker.title,
        users=users,
        partitions=settings.topic_partitions,
        records=records,
        mean_bytes=size / records,
        load=(min(loads), max(loads)),
        worker=starts[WORKER],
        stock=starts[STOCK],
        restart=starts["restart"],
    )


def _fill(settings: Settings, users: int) -> tuple[int, int]:
    """Writes the changelog, without transactions, on which stock Faust cannot end; returns records and bytes."""
    print(f"writing the profiles of {users:,} users", flush=True)
    producer = Producer({"bootstrap.servers": settings.kafka_servers or "", "linger.ms": 50, "batch.size": 1_000_000})
    records = size = 0
    topic = changelog_topic(settings)
    source = changelog_records(users)
    while some := list(islice(source, 5_000)):
        for user, key, value in some:
            producer.produce(topic, value, key, user % settings.topic_partitions)
            size += len(key) + len(value)
        records += len(some)
        if producer.flush(FLUSH_TIMEOUT_S):
            raise MeasurementError(f"expected the broker to take all records within {FLUSH_TIMEOUT_S:.0f} s")
    return records, size


def _start(settings: Settings, name: str, records: int) -> Start:
    """Starts the process, waits until it is ready, ends it in order."""
    settings.data_dir.mkdir(exist_ok=True)
    log = settings.data_dir.parent / "log"
    command = [str(Path(sys.executable).with_name("faust")), "-A", APPS[name], "worker", "-l", "info"]
    with (
        log.open("wb") as out,
        _ended(
            subprocess.Popen(command, cwd=CHECKOUT, env=environment(settings), stdout=out, stderr=subprocess.STDOUT)
        ) as process,
    ):
        began_s = time.monotonic()
        while READY_LINE not in log.read_bytes()[-200_000:]:
            waited_s = time.monotonic() - began_s
            if process.poll() is not None or waited_s > START_TIMEOUT_S + records / SLOWEST_RECORDS_PER_S:
                tail = "\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES:])
                raise MeasurementError(f"{name}: expected it ready, after {waited_s:.0f} s it said:\n{tail}")
            time.sleep(POLL_S)
        wall_s, used_s, most_mib = time.monotonic() - began_s, cpu_s(process.pid), peak_mib(process.pid)
        process.send_signal(signal.SIGTERM)
        process.wait(STOP_TIMEOUT_S)
    on_disk = sum(path.stat().st_blocks * 512 for path in settings.data_dir.rglob("*") if path.is_file())
    return Start(wall_s, used_s, most_mib, on_disk / 2**20)


@contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _require_all(data_dir: Path, users: int) -> None:
    """A start that has not everything on its disk is no measurement."""
    found = 0
    for path in data_dir.rglob("profiles-*.db"):
        database = rocksdict.Rdict(str(path), options=rocksdict.Options(raw_mode=True))
        keys: Any = database.keys()
        found += sum(1 for key in keys if not key.startswith(OFFSET_KEYS))
        database.close()
    if found != users:
        raise MeasurementError(f"expected the profiles of {users:,} users on disk, got {found:,}")


# Report

PAGE = """\
# Recovery

Written by `python -m benchmarks.recovery --markdown docs/recovery.md`. What a restore promises is in
[guarantees.md](guarantees.md), what to do when it fails in [operations.md](operations.md).

{table}

{verdict}

{measured} {users:,} users, {records:,} records of \
{mean_bytes:.0f} bytes in a changelog of {partitions} partitions, on {broker}.

## How it is measured

- The changelog has each user's profile, of 10 to 256 payments by a Zipf law (exponent {zipf:g}), and {updates:.0%} more
  records of users drawn by the same law: what a broker has not compacted yet. They are written without transactions,
  because stock Faust waits for ever where a transaction's marker ends a changelog.
- Wall time is from the start of the process until its log says that it is ready; CPU is that of the process and all its
  threads until then; memory is the most that was resident; the disk is counted after an end in order. Each measurement
  counts only if every user is then found on the disk.
- The worker is as users start it, with its model. Stock Faust has a table of bytes in RocksDB and every setting at its
  default. They take turns, {repeats} rounds. Medians, least and greatest value in brackets.
- The restart is on the disk of the restore, after an end in order.
"""


def table(run: Run) -> str:
    """A row for each kind of start."""
    lines = ["| start | wall, s | records/s | CPU, s | memory, MiB | disk, MiB |", "|---|---:|---:|---:|---:|---:|"]
    kinds = (
        ("worker, empty disk", run.worker, True),
        ("stock Faust, empty disk", run.stock, True),
        ("worker, with its disk", run.restart, False),
    )
    for title, starts, restores in kinds:
        rates = [run.records / start.wall_s for start in starts]
        cells = [
            _cell([start.wall_s for start in starts], ",.1f"),
            _cell(rates, ",.0f") if restores else "",
            _cell([start.cpu_s for start in starts], ",.1f"),
            _cell([start.peak_mib for start in starts], ",.0f"),
            _cell([start.disk_mib for start in starts], ",.0f"),
        ]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def verdict_line(run: Run) -> str:
    """Whether the targets were reached, in one sentence."""
    return (
        f"On an empty disk the worker is ready {_cell(run.ratios, '.1f')} times as fast as stock Faust (target: "
        f"{TARGET_RATIO:g}); with its disk in {median(start.wall_s for start in run.restart):.1f} s (target: at most "
        f"{TARGET_RESTART_S:g} s): {'reached' if run.reached else 'missed'}."
    )


def page(run: Run) -> str:
    """The page of the documentation."""
    return PAGE.format(
        table=table(run),
        verdict=verdict_line(run),
        measured=measured_on(run.date, run.machine, run.load),
        users=run.users,
        records=run.records,
        mean_bytes=run.mean_bytes,
        partitions=run.partitions,
        broker=run.broker,
        zipf=ZIPF_EXPONENT,
        updates=UPDATES_PER_USER,
        repeats=len(run.worker),
    )


def _cell(values: Sequence[float], form: str) -> str:
    return f"{median(values):{form}} ({min(values):{form}}–{max(values):{form}})"


if __name__ == "__main__":
    sys.exit(main())
