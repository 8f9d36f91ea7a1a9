"""What counting costs an event: `python -m benchmarks.metrics [--events N]`; needs no broker.

The metrics of real outcomes are fed again and again at the batch sizes of a backlog and of a quiet stream. Ends with 0
when an event costs less than 1 µs at the sizes of a backlog, and 1 otherwise.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median

from benchmarks.circumstances import measured_on
from benchmarks.records import load_records
from fraudstream.adapters.metric_catalogue import STAGES
from fraudstream.adapters.metrics import Metrics
from fraudstream.agents.batch_metrics import BatchMetrics, StageClock
from fraudstream.agents.slices import LARGEST
from fraudstream.detector import load_detector, warm_up
from fraudstream.machine import this_machine
from fraudstream.pipeline import Detector, Outcome, process
from fraudstream.settings import Settings
from fraudstream.state.profile import EMPTY

SIZES = (16, 128, LARGEST, 1024)
MOST_NS = 1000.0
ROUNDS = 7
WARM_UP = 4


@dataclass(frozen=True, slots=True)
class Record:
    """A message in the place of a consumer's."""

    offset: int
    key: bytes
    value: bytes
    partition: int = 0
    topic: str = "transactions"
    timestamp: int = 1_900_000_000_000


def main() -> int:
    """Prints nanoseconds of CPU an event by batch size."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.metrics", description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=40_000, help="in a round (default 40000)")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    detector = load_detector(Settings.model_construct())
    warm_up(detector)
    print(f"| batch | ns an event: batch | ns an event: clock around stages |\n|{'---:|' * 3}")
    worst = 0.0
    for size in SIZES:
        batch_ns, clock_ns = _measure(detector, size, options.events)
        print(f"| {size} | {batch_ns:.0f} | {clock_ns:.0f} |", flush=True)
        if size >= LARGEST:
            worst = max(worst, batch_ns + clock_ns)
    machine = this_machine(("numpy", "prometheus-client"))
    print(
        f"\n{measured_on(datetime.now(UTC), machine, [load])} CPU time of the thread, median of {ROUNDS} rounds of "
        f"{options.events:,} events; at most {worst:.0f} ns at {LARGEST} and more"
    )
    return 0 if worst < MOST_NS else 1


def _measure(detector: Detector, size: int, events: int) -> tuple[float, float]:
    messages = load_records(size * WARM_UP).messages
    records = [Record(at, key, value) for at, (key, value) in enumerate(messages)]
    profiles: dict[tuple[int, bytes], bytes] = {}

    def load(partition: int, key: bytes) -> bytes:
        return profiles.get((partition, key), EMPTY)

    outcomes: list[Outcome] = []
    for at in range(0, len(records), size):
        outcomes.append(process(detector, records[at : at + size], load))
        profiles |= outcomes[-1].profiles
    feeding, rounds = BatchMetrics(Metrics()), max(events // size, 1)
    batch, clocked = [], []
    for _ in range(ROUNDS):
        started_ns = time.thread_time_ns()
        for number in range(rounds):
            feeding.observe_batch(detector, outcomes[number % WARM_UP], size, 0.01)
            if number % WARM_UP == 0:
                feeding.begin_commit()
                feeding.end_commit(0.01)
        batch.append((time.thread_time_ns() - started_ns) / (rounds * size))
        clocked.append(_clock_ns(feeding, rounds) / (rounds * size))
    return median(batch), median(clocked)


def _clock_ns(feeding: BatchMetrics, rounds: int) -> int:
    """What timing adds."""
    started_ns = time.thread_time_ns()
    for _ in range(rounds):
        clock = StageClock()
        for stage in STAGES:
            clock.done(stage)
        feeding.observe_stages(clock)
    return time.thread_time_ns() - started_ns


if __name__ == "__main__":
    sys.exit(main())
