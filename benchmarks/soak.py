"""Whether a worker stays as it is for long: `python -m benchmarks.soak [--minutes 30] [--rate 2000] [--markdown FILE]`.

A real broker, the worker as users start it, and transactions at a fixed rate. Every ten seconds its memory, open files,
backlog and loop lag are looked at; a line through the last two thirds says whether they grow. Event time runs faster
than the clock, so that the users' last 30 days hold about as many payments at the start as at the end: profiles
neither grow nor shrink, and what grows is a leak. Ends with 0 when memory is flat.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from benchmarks.broker import Offsets, running_broker
from benchmarks.live import Scrape, most_between, running_worker, scrape
from benchmarks.made_up import DAYS_S, draw, produce_at_rate, produce_past
from benchmarks.process_figures import MeasurementError, open_files, resident_mib
from benchmarks.soak_report import Reading, Soak, as_json, judged_table, page
from fraudstream.adapters import metric_catalogue as metrics
from fraudstream.errors import FraudstreamError
from fraudstream.machine import this_machine
from fraudstream.settings import Settings
from fraudstream.worker_process import WorkerProcess
from tests.servers.jars import ServerUnavailableError

EVERY_S = 10.0
PAYMENTS = 20
"""In each user's last 30 days, in the mean."""
EARLIEST = datetime(2001, 1, 1, tzinfo=UTC).timestamp()
PATIENCE_S = 300.0
BYTES_PER_MIB = 2**20
LIBRARIES = ("faust-streaming", "aiohttp", "aiokafka", "numba", "prometheus-client", "rocksdict", "uvloop")


def main() -> int:
    """Runs for the given time, prints what it saw, writes what was asked for."""
    options = _options()
    load = os.getloadavg()[0]
    try:
        with (
            running_broker() as broker,
            tempfile.TemporaryDirectory(prefix="fraudstream-soak-") as name,
            running_worker(broker.bootstrap, Path(name)) as (settings, worker),
        ):
            readings = _run(settings, worker, options)
    except (FraudstreamError, ServerUnavailableError) as error:
        print(f"benchmarks.soak: {error}", file=sys.stderr)
        return 1
    soak = Soak(
        date=datetime.now(UTC),
        machine=this_machine(LIBRARIES),
        loads=(load, os.getloadavg()[0]),
        command=" ".join(["python -m benchmarks.soak", *sys.argv[1:]]),
        rate=options.rate,
        users=options.users,
        payments=PAYMENTS,
        readings=readings,
    )
    print(f"\n{judged_table(soak)}")
    if options.json:
        options.json.write_text(as_json(soak), encoding="utf-8")
    if options.plot:
        from benchmarks.plot import draw_soak

        draw_soak(soak, options.plot)
    if options.markdown:
        options.markdown.write_text(page(soak, options.plot.name if options.plot else ""), encoding="utf-8")
    return 0 if soak.is_flat else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30.0, help="for how long (default 30)")
    parser.add_argument("--rate", type=int, default=2_000, help="transactions a second (default 2000)")
    parser.add_argument("--users", type=int, default=10_000, help="who pay alike (default 10000)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="writes the result for machines")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draws what was seen, such as docs/soak.png")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="writes the page docs/performance-soak.md")
    options = parser.parse_args()
    begins_s = time.time() - options.minutes * 60 * _speed(options.rate, options.users)
    if begins_s < EARLIEST:
        parser.error(
            f"expected event times after {datetime.fromtimestamp(EARLIEST, UTC):%Y}, {options.minutes:g} minutes of "
            f"{options.users:,} users at {options.rate:,}/s begin before: take more --users"
        )
    return options


def _speed(rate: int, users: int) -> float:
    """Seconds of event time in a second, so that a user pays PAYMENTS times in 30 days."""
    return DAYS_S * rate / (users * PAYMENTS)


def _run(settings: Settings, worker: WorkerProcess, options: argparse.Namespace) -> list[Reading]:
    rng, past = np.random.default_rng(0), options.users * PAYMENTS
    speed = _speed(options.rate, options.users)
    begins_s = time.time() - options.minutes * 60 * speed
    with closing(Offsets(settings)) as offsets:
        produce_past(settings, draw(rng, "uniform", options.users, past), begins_s)
        deadline_s = time.monotonic() + PATIENCE_S
        while (committed := offsets.committed()) < past:
            worker.check()
            if time.monotonic() > deadline_s:
                raise MeasurementError(f"expected {past:,} transactions of the past to be judged, got {committed:,}")
            time.sleep(0.1)
    print(f"the past of {options.users:,} users is judged", flush=True)
    is_over, started_s = threading.Event(), time.monotonic()
    users = draw(rng, "uniform", options.users, round(options.minutes * 60 * options.rate))
    sender = threading.Thread(
        target=produce_at_rate,
        args=(settings, users, past, options.rate),
        kwargs={
            "event_time_s": lambda: begins_s + (time.monotonic() - started_s) * speed,
            "is_over": is_over.is_set,
        },
    )
    sender.start()
    try:
        return _watch(worker, options.minutes * 60)
    finally:
        is_over.set()
        sender.join()


def _watch(worker: WorkerProcess, lasts_s: float) -> list[Reading]:
    readings: list[Reading] = []
    before, began_s = scrape(worker), time.monotonic()
    while (at_s := time.monotonic() - began_s) + EVERY_S <= lasts_s:
        time.sleep(EVERY_S - at_s % EVERY_S)  # a reading that was missed, by a machine that stood still, is left out
        worker.check()
        now = scrape(worker)
        readings.append(_reading(worker, before, now, time.monotonic() - began_s))
        before = now
        print(_line(readings), flush=True)
    return readings


def _reading(worker: WorkerProcess, before: Scrape, now: Scrape, at_s: float) -> Reading:
    return Reading(
        at_s=at_s,
        resident_bytes=resident_mib(worker.pid) * BYTES_PER_MIB,
        write_buffer_bytes=now.total(metrics.STORE_MEMORY.name, part="write_buffers"),
        open_files=open_files(worker.pid),
        backlog=now.total(metrics.LAG.name),
        most_loop_lag_ms=most_between(before, now, metrics.LOOP_LAG.name) * 1000,
        judged=now.total(metrics.VERDICTS.name) - before.total(metrics.VERDICTS.name),
    )


def _line(readings: Sequence[Reading]) -> str:
    now = readings[-1]
    return (
        f"{now.at_s:6.0f} s  {now.resident_bytes / 1e6:7.1f} MB  {now.open_files:4} files  "
        f"{now.backlog:6,.0f} waiting  loop lag at most {now.most_loop_lag_ms:g} ms  {now.judged:8,.0f} judged"
    )


if __name__ == "__main__":
    sys.exit(main())
