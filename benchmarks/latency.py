"""How long a verdict takes: `python -m benchmarks.latency [--seconds 60] [--markdown docs/performance-latency.md]`.

A real broker, the worker as users start it, and `fraudstream load`, which sends on schedule and measures each
transaction from the moment at which it was due. Both kinds of readers, at several rates, at 80 % of what they all take
together, and at several checkpoint intervals. They share the machine's cores.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.broker import Broker, running_broker
from benchmarks.circumstances import measured_on
from benchmarks.live import Load, running_worker
from benchmarks.process_figures import cpu_s
from benchmarks.records import DATA_SET
from benchmarks.targets import (
    VERDICT_AT,
    VERDICT_AT_80_PERCENT,
    WORKER_AT_100,
    WORKER_AT_1000,
    Bound,
    bounds_table,
)
from fraudstream.cli.stream_client import MANY, TICK_S
from fraudstream.errors import FraudstreamError
from fraudstream.machine import Machine, this_machine
from fraudstream.settings import Settings
from tests.servers.jars import ServerUnavailableError

READERS = ("read_uncommitted", "read_committed")
RATES = (100, 1_000, 5_000, 15_000, 25_000)
INTERVALS_S = (0.05, 0.1, 0.25, 0.5, 1.0)
INTERVALS_RATE = 1_000
CHECKPOINT_S: float = Settings.model_fields["checkpoint_interval_s"].default
SHARE_OF_MOST = 0.8
MOST_RATE, MOST_SECONDS = 50_000, 20
"""More than comes back: what limits is how many may have no verdict yet."""
MOST_IN_FLIGHT = 20_000
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
        sender_cores: the same of `fraudstream load`, over its whole life; near 1 it is the sender that is measured.
        broker_cores: the same of the broker; None where it cannot be seen.
        load: the machine's load average before it.
    """

    case: Case
    latency_ms: dict[str, float]
    sent: int
    missed: int
    worker_cores: float
    sender_cores: float
    broker_cores: float | None
    load: float


PERCENTILES = ("p50", "p95", "p99", "p999")

PAGE = """\
# How long a verdict takes

Written by `python -m benchmarks.latency --markdown docs/performance-latency.md` (`make bench-latency`).

From the moment at which a transaction was due to be sent to the moment at which its verdict was read, in ms.

| reader | transactions/s | checkpoint s | p50 | p95 | p99 | p99.9 | missed | worker's cores | sender's | broker's |
|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|
{rows}

{most}{bounds}

{measured} {seconds} s for each row.

## How it is measured

- One broker, one worker as users start it, with 4 partitions, and `fraudstream load` share the machine's cores.
- `fraudstream load` sends on a schedule. A transaction's time counts from when it was due, so a system that stalls is
  charged for what would have come meanwhile (no coordinated omission). The percentiles are exact, over every verdict.
- It sends every {tick_ms:g} ms what has become due, as a client that lingers does; where fewer than {many} become due
  meanwhile, each as soon as the broker has taken those before. Waiting so is in the figures.
- {warm_up} s of load before each row are not counted. The worker's CPU is that from the load's start until its last
  verdict, over its seconds of sending.
- The sender is one Python process and shares the cores. Its CPU is that of its whole life, with reading the data; where
  it comes near a core, or the three use up the cores, a row tells of sender and broker as much as of the worker.
- A `read_uncommitted` reader sees a verdict as soon as it is written; after a crash some come again, identical. A
  `read_committed` reader sees each exactly once, when its checkpoint's transaction is committed: on average half a
  checkpoint interval later, and the time of the commit.
- Transactions are of {source}.
"""

MOST = """\
The measured maximum is {most:,.0f} transactions/s: `fraudstream load --in-flight {in_flight}` sends as fast as \
verdicts come back, on the same cores. From a backlog, while nobody sends, a worker takes more: \
[performance.md](performance.md).

"""


def main() -> int:
    """Measures every row and prints the table."""
    options = _options()
    try:
        with running_broker() as broker:
            most = _most_per_s(broker) if options.most else None
            cases = dict.fromkeys(_cases(options.rates, most, options.intervals))
            results = [_show(_measure(case, broker, options.seconds)) for case in cases]
    except (FraudstreamError, ServerUnavailableError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    text = page(results, most, this_machine(LIBRARIES), options.seconds)
    print(f"\n{bounds_table(bounds(results, most))}")
    if options.json:
        kept = {"most_per_s": most, "rows": [asdict(one) for one in results]}
        options.json.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
    if options.markdown:
        options.markdown.write_text(text, encoding="utf-8")
    reached = all(bound.is_reached(value) for bound, _, value in bounds(results, most))
    return 0 if reached and not any(result.missed for result in results) else 1


def _cases(rates: Sequence[int], most: float | None, with_intervals: bool) -> Iterator[Case]:
    for reader in READERS:
        yield from (Case(rate, CHECKPOINT_S, reader) for rate in rates)
        if most is not None:
            yield Case(rate_near(most), CHECKPOINT_S, reader)
    if with_intervals:
        yield from (Case(INTERVALS_RATE, at, reader) for reader in READERS for at in INTERVALS_S)


def rate_near(most: float) -> int:
    """80 % of the most, in whole hundreds."""
    return max(100, int(most * SHARE_OF_MOST / 100) * 100)


def _most_per_s(broker: Broker) -> float:
    """Transactions a second that worker, broker, sender and reader take together: sent as fast as verdicts come back.

    The second of two runs: a broker that has just started takes a core for itself.
    """
    with (
        tempfile.TemporaryDirectory(prefix="fraudstream-latency-") as name,
        running_worker(broker.bootstrap, directory := Path(name)) as (settings, _),
    ):
        _, most = (_as_fast_as_it_goes(settings, directory) for _run in range(2))
    print(f"at most: {most:,.0f} transactions/s", flush=True)
    return most


def _as_fast_as_it_goes(settings: Settings, directory: Path) -> float:
    """Verdicts a second."""
    with Load(settings, directory, MOST_RATE, MOST_SECONDS, in_flight=MOST_IN_FLIGHT) as load:
        return float(load.result()["per_second"])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latency", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=int, default=60, help="for each row (default 60)")
    parser.add_argument(
        "--rates", type=int, nargs="*", default=RATES, help="transactions a second (default %(default)s)"
    )
    parser.add_argument(
        "--intervals", action=argparse.BooleanOptionalAction, default=True, help="checkpoint intervals too"
    )
    parser.add_argument(
        "--most", action=argparse.BooleanOptionalAction, default=True, help="80 %% of the measured maximum too"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="writes the result for machines")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="writes the page docs/performance-latency.md")
    return parser.parse_args()


def _measure(case: Case, broker: Broker, seconds: int) -> Result:
    with tempfile.TemporaryDirectory(prefix="fraudstream-latency-") as name:
        directory, variables = Path(name), {"CHECKPOINT_INTERVAL_S": str(case.interval_s)}
        with running_worker(broker.bootstrap, directory, variables) as (settings, worker):
            with Load(settings, directory, case.rate, WARM_UP_S, case.reader) as warm_up:
                warm_up.result()
            load, cpu_before_s, broker_before_s = os.getloadavg()[0], cpu_s(worker.pid), broker.cpu_s()
            with Load(settings, directory, case.rate, seconds, case.reader) as sender:
                found = sender.result()
                sender_s = sender.cpu_s
            cores = (cpu_s(worker.pid) - cpu_before_s) / seconds
            broker_s = broker.cpu_s()
        return Result(
            case, found["latency_ms"], found["sent"], found["missed"], cores, sender_s / seconds,
            None if broker_s is None or broker_before_s is None else (broker_s - broker_before_s) / seconds, load,
        )  # fmt: skip


def bounds(results: Sequence[Result], most: float | None) -> list[tuple[Bound, str, float]]:
    """What must be reached, of the rows with the usual checkpoints, with the row's reader."""
    worker = {100: WORKER_AT_100, 1_000: WORKER_AT_1000}
    found: list[tuple[Bound, str, float]] = []
    for result in results:
        rate, reader = result.case.rate, f"`{result.case.reader}`"
        if result.case.interval_s != CHECKPOINT_S:
            continue
        found += [
            (bound, reader, result.latency_ms[name])
            for (at, of, name), bound in VERDICT_AT.items()
            if (at, of) == (rate, result.case.reader)
        ]
        if most is not None and rate == rate_near(most):
            found.append((VERDICT_AT_80_PERCENT, reader, result.latency_ms["p99"]))
        if rate in worker:
            found.append((worker[rate], reader, result.worker_cores))
    return found


def _row(result: Result) -> str:
    case, latency = result.case, " | ".join(f"{result.latency_ms[name]:.0f}" for name in PERCENTILES)
    broker = "unknown" if result.broker_cores is None else f"{result.broker_cores:.2f}"
    return (
        f"| `{case.reader}` | {case.rate:,} | {case.interval_s:g} | {latency} | {result.missed:,} | "
        f"{result.worker_cores:.2f} | {result.sender_cores:.2f} | {broker} |"
    )


def _show(result: Result) -> Result:
    print(_row(result), flush=True)
    return result


def page(results: Sequence[Result], most: float | None, machine: Machine, seconds: int) -> str:
    """docs/performance-latency.md."""
    told = MOST.format(most=most, in_flight=MOST_IN_FLIGHT) if most is not None else ""
    return PAGE.format(
        rows="\n".join(map(_row, results)),
        most=told,
        bounds=bounds_table(bounds(results, most)),
        measured=measured_on(datetime.now(UTC), machine, [result.load for result in results]),
        seconds=seconds,
        warm_up=WARM_UP_S,
        tick_ms=TICK_S * 1000,
        many=MANY,
        source=DATA_SET.name if DATA_SET.exists() else "the simulator",
    )


if __name__ == "__main__":
    sys.exit(main())
