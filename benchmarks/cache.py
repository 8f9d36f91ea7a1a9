"""What leaving copies of profiles in Redis costs the stream: `python -m benchmarks.cache [--rows N] [--repeats N]`.

The same worker on the same records without a cache, with Redis, and with a Redis that is killed and started again all
the time; the cases take turns, ratios are taken within a round. Ends with 0 when the median costs at most 5 %.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from statistics import median

from benchmarks.broker import running_broker
from benchmarks.cases import CASES, FULL_PATH
from benchmarks.circumstances import measured_on
from benchmarks.measure import measure
from benchmarks.records import load_records
from benchmarks.summary import Sample, order_of_round
from fraudstream.machine import this_machine
from tests.servers.redis import RedisServer

WARM_UP_RECORDS = 2_000
MOST_SHARE = 0.05
UP_S, DOWN_S = 1.0, 0.5

WITHOUT, WITH, KILLED = "without a cache", "with Redis", "Redis killed and restarted"
WORKER = next(case for case in CASES if case.name == FULL_PATH)


def main() -> int:
    """Runs the rounds and prints the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cache", description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    records = load_records(options.rows + WARM_UP_RECORDS)
    warm_up, measured = records.messages[:WARM_UP_RECORDS], records.messages[WARM_UP_RECORDS:]
    rounds: list[dict[str, Sample]] = []
    with running_broker() as broker:
        for number in range(options.repeats):
            samples: dict[str, Sample] = {}
            for name in order_of_round((WITHOUT, WITH, KILLED), number):
                with _cache(name):
                    samples[name] = measure(WORKER, broker, warm_up, measured)
                print(f"round {number + 1}  {name:27} {_shown(samples[name])}", flush=True)
            rounds.append(samples)
    return _report(rounds, options.rows)


def _report(rounds: list[dict[str, Sample]], rows: int) -> int:
    machine = this_machine(("redis", "hiredis"))
    loads = [sample.load for samples in rounds for sample in samples.values()]
    print(f"\n| case | CPU µs per event | CPU beside no cache | events/s beside no cache |\n|{'---|' * 4}")
    worst = 0.0
    for name in (WITHOUT, WITH, KILLED):
        cpu = [samples[name].cpu_us_per_event for samples in rounds]
        cpu_ratios = [samples[name].cpu_us_per_event / samples[WITHOUT].cpu_us_per_event for samples in rounds]
        rates = [samples[name].events_per_second / samples[WITHOUT].events_per_second for samples in rounds]
        print(f"| {name} | {median(cpu):.1f} | {_spread(cpu_ratios)} | {_spread(rates)} |")
        worst = max(worst, median(cpu_ratios) - 1)
    print(
        f"\n{measured_on(datetime.now(UTC), machine, loads)} {rows:,} records, {len(rounds)} rounds; "
        "median (least to greatest) of the ratios within a round"
    )
    return 0 if worst <= MOST_SHARE else 1


def _spread(ratios: list[float]) -> str:
    return f"{median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"


def _shown(sample: Sample) -> str:
    return f"{sample.cpu_us_per_event:6.1f} µs CPU per event {sample.events_per_second:9,.0f} events/s"


@contextmanager
def _cache(name: str) -> Iterator[None]:
    """REDIS_HOST as the case wants it."""
    os.environ.pop("REDIS_HOST", None)
    if name == WITHOUT:
        yield
        return
    with RedisServer() as server:
        os.environ["REDIS_HOST"] = server.host
        is_over = threading.Event()
        killer = threading.Thread(target=_kill_and_restart, args=(server, is_over))
        if name == KILLED:
            killer.start()
        try:
            yield
        finally:
            is_over.set()
            if name == KILLED:
                killer.join()
            os.environ.pop("REDIS_HOST", None)


def _kill_and_restart(server: RedisServer, is_over: threading.Event) -> None:
    while not is_over.wait(UP_S):
        server.kill()
        is_over.wait(DOWN_S)
        server.start()


if __name__ == "__main__":
    sys.exit(main())
