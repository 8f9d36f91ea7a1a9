"""Latency and throughput of `fraudstream api`: `python -m benchmarks.api [--markdown FILE]`.

One API process with Redis; wrk on 16 connections for saturation, an open-loop sender for the latency at a fixed rate,
alone and while a worker chews a backlog at full speed on the same machine. Everything runs twice: sharing all cores,
and with worker and broker on one half of them. Ends with 0 when every target is reached on halves of their own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.broker import Offsets, produce, running_broker
from benchmarks.circumstances import measured_on
from benchmarks.open_loop import Answers, post, send_at_rate
from benchmarks.process_figures import cpu_s
from benchmarks.records import load_records
from fraudstream.adapters.kafka_topics import create_topics
from fraudstream.machine import this_machine
from fraudstream.settings import Settings, load_settings
from tests.api_process import ApiServer
from tests.servers.redis import RedisServer
from tests.worker import Worker

P99_MS, RATE, LEAST_RATE = 10.0, 300.0, 1_000.0
BODIES = 5_000
WARM_UP_ROWS = 20_000
SCRIPT = Path(__file__).with_name("predict_bodies.lua")


HEAD = (
    "| cores | case | requests/s | p50 ms | p95 ms | p99 ms | failed | API's CPU | worker's CPU | worker's records/s "
    "| reached |\n|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---|"
)
SHARED, SPLIT = "shared", "halves"


@dataclass(frozen=True, slots=True)
class Setup:
    """Which cores are whose: of worker and broker, and of the API, Redis and the sender."""

    name: str
    stream: set[int]
    answers: set[int]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Attributes:
        setup: who shares which cores.
        cores: CPU time over time of the API process, and of the worker.
        chewed_per_s: records that the worker judged beside it.
    """

    setup: str
    case: str
    requests_per_s: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    failed: int
    cores: tuple[float, float]
    reached: bool
    chewed_per_s: float = 0.0

    def markdown(self) -> str:
        cells = (
            self.setup,
            self.case,
            f"{self.requests_per_s:,.0f}",
            *(f"{latency_ms:.1f}" for latency_ms in (self.p50_ms, self.p95_ms, self.p99_ms)),
            str(self.failed),
            *(f"{used:.2f}" for used in self.cores),
            f"{self.chewed_per_s:,.0f}",
            "yes" if self.reached else "no",
        )
        return f"| {' | '.join(cells)} |"


def main() -> int:
    """Measures, prints the table, writes it where asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.api", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0, help="of each run (default 20)")
    parser.add_argument("--backlog", type=int, default=400_000, help="records the worker chews (default 400000)")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="writes the page docs/performance-api.md")
    parser.add_argument("--note", default="", help="a sentence about the circumstances, for the page")
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("benchmarks: wrk is missing: install the Debian package wrk")
    records = load_records(WARM_UP_ROWS + options.backlog)
    load_before = os.getloadavg()[0]
    cores = sorted(os.sched_getaffinity(0))
    half = max(len(cores) // 2, 1)
    rows: list[Row] = []
    for setup, stream, answers in ((SHARED, cores, cores), (SPLIT, cores[:half], cores[half:] or cores)):
        rows += _run(Setup(setup, set(stream), set(answers)), records.messages, options.seconds)
    page = _page(rows, load_before, options.backlog, options.note)
    print(page)
    if options.markdown:
        options.markdown.write_text(page, encoding="utf-8")
    return 0 if all(row.reached for row in rows if row.setup == SPLIT) else 1


def _run(setup: Setup, messages: Sequence[tuple[bytes, bytes]], seconds: float) -> list[Row]:
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fraudstream-bench-")))
        os.sched_setaffinity(0, setup.stream)  # children begin where their parent is
        bootstrap = stack.enter_context(running_broker()).bootstrap
        redis = RedisServer()
        settings = load_settings(kafka_servers=bootstrap, redis_host=redis.host, app_id="bench-api", access_log=False)
        asyncio.run(create_topics(settings, bootstrap))
        worker = stack.enter_context(Worker(settings, directory))
        os.sched_setaffinity(0, setup.answers)
        stack.enter_context(redis)
        asyncio.run(worker.ready())
        offsets = stack.enter_context(closing(Offsets(settings)))
        produce(settings, messages[:WARM_UP_ROWS])
        _until(lambda: offsets.committed() >= WARM_UP_ROWS)
        api = stack.enter_context(ApiServer(settings, directory))
        api.ready()
        return _measure(setup.name, api, worker, settings, messages, seconds, offsets, directory)


def _measure(
    setup: str,
    api: ApiServer,
    worker: Worker,
    settings: Settings,
    messages: Sequence[tuple[bytes, bytes]],
    seconds: float,
    offsets: Offsets,
    directory: Path,
) -> list[Row]:
    templates = [_template(value) for _, value in messages[:BODIES]]
    asyncio.run(_send(api, templates, "warm", 3.0))
    rows = [_wrk(setup, api, worker, templates, seconds, directory)]
    rows.append(_open_loop(setup, f"{RATE:.0f} requests/s", api, worker, templates, "quiet", seconds))
    worker.stall()
    produce(settings, messages[WARM_UP_ROWS:])
    with _running_on(worker):
        before, started_s = offsets.committed(), time.monotonic()
        row = _open_loop(setup, f"{RATE:.0f} requests/s beside a backlog", api, worker, templates, "backlog", seconds)
        chewed, took_s = offsets.committed() - before, time.monotonic() - started_s
    left = len(messages) - offsets.committed()
    if left <= 0:
        sys.exit(
            f"benchmarks: the backlog ended after {chewed:,} records, before the run did: give more with --backlog"
        )
    print(f"the worker chewed {chewed / took_s:,.0f} records/s beside it; {left:,} waited at the end", flush=True)
    return [*rows, replace(row, chewed_per_s=chewed / took_s)]


def _open_loop(
    setup: str, case: str, api: ApiServer, worker: Worker, templates: list[bytes], name: str, seconds: float
) -> Row:
    with _Cores(api.pid, worker.pid) as cores:
        answers = asyncio.run(_send(api, templates, name, seconds))
    p50_ms, p95_ms, p99_ms = (answers.percentile_ms(share) for share in (0.5, 0.95, 0.99))
    reached = p99_ms <= P99_MS and not answers.failed
    rate = len(answers.latencies_s) / seconds
    row = Row(setup, case, rate, p50_ms, p95_ms, p99_ms, answers.failed, cores.used, reached)
    print(row.markdown(), flush=True)
    return row


async def _send(api: ApiServer, templates: list[bytes], name: str, seconds: float) -> Answers:
    def request_of(number: int) -> bytes:
        body = templates[number % len(templates)].replace(b"@ID@", f"{name}-{number}".encode())
        return post("/predict", body)

    return await send_at_rate(api.port, request_of, RATE, seconds)


def _wrk(setup: str, api: ApiServer, worker: Worker, templates: list[bytes], seconds: float, directory: Path) -> Row:
    bodies = directory / "bodies"
    bodies.write_bytes(b"\n".join(templates) + b"\n")
    command = [
        "wrk",
        "-t1",
        "-c16",
        f"-d{seconds:.0f}s",
        "--latency",
        "-s",
        str(SCRIPT),
        f"http://127.0.0.1:{api.port}",
    ]
    with _Cores(api.pid, worker.pid) as cores:
        said = subprocess.run(
            command, env={**os.environ, "BODIES": str(bodies)}, capture_output=True, text=True, check=True
        ).stdout
    rate = float(re.findall(r"Requests/sec:\s+([\d.]+)", said)[0])
    refused = re.findall(r"Non-2xx or 3xx responses: (\d+)", said)
    failed = int(refused[0]) if refused else 0
    p50_ms, p99_ms = (_milliseconds(said, share) for share in ("50%", "99%"))
    row = Row(
        setup,
        "wrk, 16 connections",
        rate,
        p50_ms,
        _milliseconds(said, "90%"),
        p99_ms,
        failed,
        cores.used,
        rate >= LEAST_RATE and not failed,
    )
    print(row.markdown(), flush=True)
    return row


def _milliseconds(said: str, share: str) -> float:
    number, unit = re.findall(rf"\s{share}\s+([\d.]+)(us|ms|s)", said)[0]
    return float(number) * {"us": 1e-3, "ms": 1.0, "s": 1e3}[unit]


class _Cores:
    """CPU time over time of two processes."""

    used = (0.0, 0.0)

    def __init__(self, *pids: int) -> None:
        self._pids = pids

    def __enter__(self) -> _Cores:
        self._began = time.monotonic(), [cpu_s(pid) for pid in self._pids]
        return self

    def __exit__(self, *_: object) -> None:
        began_s, before_s = self._began
        took_s = time.monotonic() - began_s
        api, worker = ((cpu_s(pid) - before) / took_s for pid, before in zip(self._pids, before_s, strict=True))
        self.used = api, worker


@contextmanager
def _running_on(worker: Worker) -> Iterator[None]:
    worker.resume()
    time.sleep(1.0)  # until it is at full speed
    yield


def _template(value: bytes) -> bytes:
    transaction = json.loads(value)
    transaction["transaction_id"] = "@ID@"
    return json.dumps(transaction).encode()


def _until(holds: Callable[[], bool], within_s: float = 120.0) -> None:
    deadline_s = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > deadline_s:
            sys.exit("benchmarks: the worker did not judge the first records in time")
        time.sleep(0.1)


def _page(rows: list[Row], load_before: float, backlog: int, note: str) -> str:
    machine = this_machine(("aiohttp", "redis", "hiredis", "uvloop", "torch"))
    wrk = (subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False).stdout.split() or ["", "?"])[1]
    machine.libraries["wrk"] = wrk
    return f"""# Performance of the API process

Written by `python -m benchmarks.api --markdown docs/performance-api.md`.

{HEAD}
{chr(10).join(row.markdown() for row in rows)}

Targets: at least {LEAST_RATE:,.0f} requests/s with wrk; p99 at most {P99_MS:.0f} ms at {RATE:.0f} requests/s, alone and
beside a worker with a backlog.

{measured_on(datetime.now(UTC), machine, [load_before])}{note and f" {note}"}

## How it is measured

- One `fraudstream api` process. `shared`: it, Redis, Kafka, the worker and the sender share the machine's
  {machine.cores} cores. `halves`: worker and Kafka have one half of the cores, the API, Redis and the sender the other.
- Single transactions of real users, each with a transaction_id of its own, so that no answer is one remembered.
- wrk sends the next request when an answer came; its p95 column is the 90th percentile, which is what wrk tells.
- At a fixed rate each request is due at a moment of its own, and its latency counts from that moment, whether or not a
  connection was free: a slow answer makes those that wait behind it slow as well (no coordinated omission).
- The backlog is {backlog:,} records that are there before the worker goes on; the run is void if it ends before.
"""


if __name__ == "__main__":
    sys.exit(main())
