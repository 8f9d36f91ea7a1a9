"""How long a verdict takes: `python -m benchmarks.latency [--seconds 60] [--markdown docs/performance-latency.md]`.

A real broker, the worker as users start it, and `fraudstream load`, which sends on schedule and measures each
transaction from the moment at which it was due. Both kinds of readers, at several rates, and at several checkpoint
intervals. The three share the machine's cores.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.broker import delete_topics, running_broker
from benchmarks.cases import environment_of
from benchmarks.measure import own_settings
from benchmarks.processes import MeasurementError, cpu_s
from benchmarks.records import DATA_SET
from fraudstream.adapters.kafka_topics import create_topics
from fraudstream.errors import FraudstreamError
from fraudstream.machine import Machine, this_machine
from fraudstream.settings import Settings
from fraudstream.worker_process import WorkerProcess
from tests.servers.jars import ServerUnavailableError

READERS = ("read_uncommitted", "read_committed")
RATES = (100, 1_000, 5_000)
INTERVALS_S = (0.05, 0.1, 0.25, 0.5, 1.0)
INTERVALS_RATE = 1_000
WARM_UP_S = 5
LIBRARIES = ("faust-streaming", "aiokafka", "numba", "torch", "uvloop")


@dataclass(frozen=True, slots=True)
class Case:
    """One measurement.

    Attributes:
        rate: transactions a second.
        interval_s: CHECKPOINT_INTERVAL_S of the worker.
        reader: isolation level of whoever reads the verdicts.
    """

    rate: int
    interval_s: float
    reader: str


@dataclass(frozen=True, slots=True)
class Result:
    """What came of it.

    Attributes:
        latency_ms: percentiles from schedule to verdict.
        worker_cores: CPU seconds of the worker for each second of the load.
        load: the machine's load average before it.
    """

    case: Case
    latency_ms: dict[str, float]
    sent: int
    missed: int
    worker_cores: float
    load: float


PERCENTILES = ("p50", "p95", "p99", "p999")

PAGE = """\
# How long a verdict takes

Written by `python -m benchmarks.latency --markdown docs/performance-latency.md` (`make bench-latency`).

From the moment at which a transaction was due to be sent to the moment at which its verdict was read, in ms.

| reader | transactions/s | checkpoint s | p50 | p95 | p99 | p99.9 | missed | worker's CPU, cores |
|---|---:|---:|---:|---:|---:|---:|---:|---:|
{rows}

Measured on {date}: {processor}, {cores} cores, {memory:g} GiB, {kernel}, Python {python};
{libraries}. {seconds} s for each row. Load average before each row: {load}.

## How it is measured

- One broker, one worker as users start it, with 4 partitions, and `fraudstream load` share the machine's cores.
- `fraudstream load` sends on a schedule. A transaction's time counts from when it was due, so a system that stalls is
  charged for what would have come meanwhile (no coordinated omission). The percentiles are exact, over every verdict.
- {warm_up} s of load before each row are not counted.
- A `read_uncommitted` reader sees a verdict as soon as it is written; after a crash some come again, identical. A
  `read_committed` reader sees each exactly once, when its checkpoint's transaction is committed: on average half a
  checkpoint interval later, and the time of the commit.
- Transactions are of {source}.
"""


def main() -> int:
    """Measures every row and prints the table."""
    options = _options()
    cases = [Case(rate, 0.1, reader) for reader in READERS for rate in options.rates]
    if options.intervals:
        cases += [Case(INTERVALS_RATE, at, reader) for reader in READERS for at in INTERVALS_S]
    try:
        with running_broker() as bootstrap:
            results = [_show(_measure(case, bootstrap, options.seconds)) for case in dict.fromkeys(cases)]
    except (FraudstreamError, ServerUnavailableError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    if options.json:
        options.json.write_text(json.dumps([asdict(one) for one in results], indent=2) + "\n", encoding="utf-8")
    if options.markdown:
        options.markdown.write_text(page(results, this_machine(LIBRARIES), options.seconds), encoding="utf-8")
    return 1 if any(result.missed for result in results) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latency", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=int, default=60, help="for each row (default 60)")
    parser.add_argument(
        "--rates", type=int, nargs="*", default=RATES, help="transactions a second (default %(default)s)"
    )
    parser.add_argument(
        "--intervals", action=argparse.BooleanOptionalAction, default=True, help="checkpoint intervals too"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="writes the result for machines")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="writes the page docs/performance-latency.md")
    return parser.parse_args()


def _measure(case: Case, bootstrap: str, seconds: int) -> Result:
    with (
        tempfile.TemporaryDirectory(prefix="fraudstream-latency-") as directory,
        _running(case, bootstrap, Path(directory)) as (settings, worker),
    ):
        _load(settings, case, WARM_UP_S, Path(directory))
        load, cpu_before_s = os.getloadavg()[0], cpu_s(worker.pid)
        found = _load(settings, case, seconds, Path(directory))
        cores = (cpu_s(worker.pid) - cpu_before_s) / seconds
        return Result(case, found["latency_ms"], found["sent"], found["missed"], cores, load)


@contextmanager
def _running(case: Case, bootstrap: str, directory: Path) -> Iterator[tuple[Settings, WorkerProcess]]:
    """A worker on topics of its own, ready."""
    settings = own_settings(bootstrap, directory)
    asyncio.run(create_topics(settings, bootstrap))
    environment = environment_of(settings, {}) | {"CHECKPOINT_INTERVAL_S": str(case.interval_s)}
    for name in ("DATA_DIR", "WEB_PORT"):  # the process has ones of its own
        del environment[name]
    try:
        with WorkerProcess(environment, directory) as worker:
            worker.wait_until_ready()
            yield settings, worker
    finally:
        delete_topics(settings)


def _load(settings: Settings, case: Case, seconds: int, directory: Path) -> dict[str, Any]:
    """One run of `fraudstream load`, and what it says."""
    result = directory / "load.json"
    source = ["--input", str(DATA_SET)] if DATA_SET.exists() else []
    command = [sys.executable, "-m", "fraudstream.cli.main", "load", "--isolation", case.reader, "--json", str(result)]
    ran = subprocess.run(
        [*command, "--rate", str(case.rate), "--seconds", str(seconds), *source],
        env=environment_of(settings, os.environ),
        check=False,
        capture_output=True,
        text=True,
    )
    if not result.exists():
        raise MeasurementError(f"expected fraudstream load to measure, it said: {ran.stdout}{ran.stderr}")
    found: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
    return found


def _row(result: Result) -> str:
    case, latency = result.case, " | ".join(f"{result.latency_ms[name]:.0f}" for name in PERCENTILES)
    return (
        f"| `{case.reader}` | {case.rate:,} | {case.interval_s:g} | {latency} | {result.missed:,} | "
        f"{result.worker_cores:.2f} |"
    )


def _show(result: Result) -> Result:
    print(_row(result), flush=True)
    return result


def page(results: Sequence[Result], machine: Machine, seconds: int) -> str:
    """docs/performance-latency.md."""
    loads = [result.load for result in results]
    return PAGE.format(
        rows="\n".join(map(_row, results)),
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        processor=machine.processor,
        cores=machine.cores,
        memory=machine.memory_gib,
        kernel=machine.kernel,
        python=machine.python,
        libraries=", ".join(f"{name} {version}" for name, version in machine.libraries.items()),
        seconds=seconds,
        load=f"{min(loads):.1f} to {max(loads):.1f}",
        warm_up=WARM_UP_S,
        source=DATA_SET.name if DATA_SET.exists() else "the simulator",
    )


if __name__ == "__main__":
    sys.exit(main())
