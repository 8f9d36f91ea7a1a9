"""How soon a worker answers `/predict`: `python -m benchmarks.predict [--seconds 60] [--rate 100] [--markdown FILE]`.

A real broker and the worker as users start it. Requests are sent on schedule and each is measured from the moment at
which it was due: alone, and while transactions flow through the same worker. Sender, broker and worker share the
machine's cores. Ends with 0 when every target is reached.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.broker import running_broker
from benchmarks.circumstances import measured_on
from benchmarks.live import Load, most_between, running_worker, scrape, wait_until_it_flows
from benchmarks.open_loop import CONNECTIONS, Answers, post, send_at_rate
from benchmarks.process_figures import MeasurementError, cpu_s, waited_for_core_s
from benchmarks.records import load_records
from benchmarks.targets import PREDICT_BESIDE, PREDICT_IDLE, Bound, bounds_table
from fraudstream.adapters.metric_catalogue import LOOP_LAG, VERDICTS
from fraudstream.errors import FraudstreamError
from fraudstream.machine import Machine, this_machine
from fraudstream.settings import Settings
from fraudstream.worker_process import WorkerProcess
from tests.servers.jars import ServerUnavailableError

STREAM_RATE = 5_000
BODIES = 5_000
WARM_UP_S = 3.0
STREAM_WARM_UP_S = 60.0
"""So long the broker's virtual machine compiles what is often run, on the cores that the worker needs."""
MARGIN_S = 10.0
"""The load goes on for longer than what is measured beside it."""
LIBRARIES = ("faust-streaming", "aiohttp", "aiokafka", "numba", "torch", "uvloop")


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one run.

    Attributes:
        latency_ms: percentiles, from when a request was due.
        failed: requests that were not answered by 200.
        judged_per_s: transactions of the stream that the worker judged meanwhile.
        most_loop_lag_ms: the bucket of the worker's own metric that its largest value fell into, its upper bound.
        waited_ms_per_s: for how long of each second the worker's event loop was ready to run and no core was free.
        load: the machine's load average before it.
    """

    stream_rate: int
    requests: int
    latency_ms: dict[str, float]
    failed: int
    judged_per_s: float
    most_loop_lag_ms: float
    worker_cores: float
    waited_ms_per_s: float
    load: float

    @property
    def bound(self) -> Bound:
        """What its p99 must be within."""
        return PREDICT_BESIDE if self.stream_rate else PREDICT_IDLE


SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "p999": 0.999}

PAGE = """\
# How soon a worker answers `/predict`

Written by `{command}`.

From the moment at which a request was due to be sent to its answer, in ms.

{rows}

{bounds}

{measured} {seconds:g} s for each row, {rate:g} requests/s.

## How it is measured

- One worker as users start it, with 4 partitions; the broker, the sender of requests and `fraudstream load` share the
  machine's cores with it. What they take from it is in the figures.
- Requests are due at fixed moments, over {connections} connections. One that finds none free waits, and its time counts
  from when it was due: a worker that stands still is charged for all that would have come (no coordinated omission).
- Each request is a transaction of its own, so no answer is one remembered; users are those of the stream.
- The loop's lag is the worker's own metric, read before and after: the bound of the bucket that its largest value fell
  into.
- How long the loop waited for a core is the kernel's own figure: ready to run, and both cores taken by the others. A
  worker with a core to itself does not wait so.
- {warm_up:g} s of requests before each row are not counted, nor {stream_warm_up:g} s of transactions before the row
  that has them beside: meanwhile the broker's virtual machine compiles, on the same cores.
"""


def main() -> int:
    """Measures both rows and prints them."""
    options = _options()
    templates = [_template(value) for _, value in load_records(BODIES).messages]
    try:
        with (
            running_broker() as broker,
            tempfile.TemporaryDirectory(prefix="fraudstream-predict-") as name,
            running_worker(broker.bootstrap, Path(name)) as (settings, worker),
        ):
            results = [
                _show(_measure(settings, worker, Path(name), templates, options, stream_rate))
                for stream_rate in (0, options.stream_rate)
            ]
    except (FraudstreamError, ServerUnavailableError) as error:
        print(f"benchmarks.predict: {error}", file=sys.stderr)
        return 1
    text = page(results, this_machine(LIBRARIES), options.seconds, options.rate)
    print(f"\n{bounds_table(_bounds(results))}")
    if options.json:
        options.json.write_text(json.dumps([asdict(one) for one in results], indent=2) + "\n", encoding="utf-8")
    if options.markdown:
        options.markdown.write_text(text, encoding="utf-8")
    return 0 if all(bound.is_reached(value) for bound, _, value in _bounds(results)) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.predict", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="for each row (default 60)")
    parser.add_argument("--rate", type=float, default=100.0, help="requests a second (default 100)")
    parser.add_argument(
        "--stream-rate", type=int, default=STREAM_RATE, help=f"transactions a second beside (default {STREAM_RATE})"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="writes the result for machines")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="writes the page docs/performance-predict.md")
    return parser.parse_args()


def _measure(
    settings: Settings,
    worker: WorkerProcess,
    directory: Path,
    templates: Sequence[bytes],
    options: argparse.Namespace,
    stream_rate: int,
) -> Result:
    seconds: float = options.seconds
    lasts_s = STREAM_WARM_UP_S + seconds + WARM_UP_S + MARGIN_S
    with Load(settings, directory, stream_rate, lasts_s) if stream_rate else nullcontext() as stream:
        if stream is not None:
            wait_until_it_flows(worker, stream)
            time.sleep(STREAM_WARM_UP_S)
        asyncio.run(_send(worker, templates, f"warm-{stream_rate}", options.rate, WARM_UP_S))
        load, before, began_s = os.getloadavg()[0], scrape(worker), time.monotonic()
        cpu_before_s, waited_before_s = cpu_s(worker.pid), waited_for_core_s(worker.pid)
        answers = asyncio.run(_send(worker, templates, f"run-{stream_rate}", options.rate, seconds))
        used_s, waited_s = cpu_s(worker.pid) - cpu_before_s, waited_for_core_s(worker.pid) - waited_before_s
        took_s, after = time.monotonic() - began_s, scrape(worker)
        if stream is not None and not stream.is_running:
            raise MeasurementError(f"expected transactions beside all requests, the load ended: {stream.result()}")
    return Result(
        stream_rate=stream_rate,
        requests=len(answers.latencies_s),
        latency_ms={name: answers.percentile_ms(share) for name, share in SHARES.items()},
        failed=answers.failed,
        judged_per_s=(after.total(VERDICTS.name) - before.total(VERDICTS.name)) / took_s,
        most_loop_lag_ms=most_between(before, after, LOOP_LAG.name) * 1000,
        worker_cores=used_s / took_s,
        waited_ms_per_s=waited_s / took_s * 1000,
        load=load,
    )


async def _send(worker: WorkerProcess, templates: Sequence[bytes], name: str, rate: float, seconds: float) -> Answers:
    def request_of(number: int) -> bytes:
        return post("/predict", templates[number % len(templates)].replace(b"@ID@", f"{name}-{number}".encode()))

    return await send_at_rate(worker.port, request_of, rate, seconds)


def _template(value: bytes) -> bytes:
    transaction: dict[str, Any] = json.loads(value)
    transaction |= {"transaction_id": "@ID@", "user_id": f"load-{transaction['user_id']}"}  # as `fraudstream load` does
    return json.dumps(transaction).encode()


HEAD = (
    "| transactions/s beside | requests | p50 | p95 | p99 | p99.9 | failed | judged/s | loop lag at most, ms "
    "| worker's CPU, cores | waited for a core, ms/s |\n|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
)


def _row(result: Result) -> str:
    latency = " | ".join(f"{result.latency_ms[name]:.1f}" for name in SHARES)
    return (
        f"| {result.stream_rate:,} | {result.requests:,} | {latency} | {result.failed} | {result.judged_per_s:,.0f} | "
        f"{result.most_loop_lag_ms:g} | {result.worker_cores:.2f} | {result.waited_ms_per_s:.0f} |"
    )


def _show(result: Result) -> Result:
    print(_row(result), flush=True)
    return result


def _bounds(results: Sequence[Result]) -> list[tuple[Bound, str, float]]:
    return [
        (
            result.bound,
            f"{result.judged_per_s:,.0f} judged a second" if result.stream_rate else "",
            result.latency_ms["p99"],
        )
        for result in results
    ]


def page(results: Sequence[Result], machine: Machine, seconds: float, rate: float) -> str:
    """docs/performance-predict.md."""
    return PAGE.format(
        command=" ".join(["python -m benchmarks.predict", *sys.argv[1:]]),
        rows="\n".join([HEAD, *map(_row, results)]),
        bounds=bounds_table(_bounds(results)),
        measured=measured_on(datetime.now(UTC), machine, [result.load for result in results]),
        seconds=seconds,
        rate=rate,
        connections=CONNECTIONS,
        warm_up=WARM_UP_S,
        stream_warm_up=STREAM_WARM_UP_S,
    )


if __name__ == "__main__":
    sys.exit(main())
