"""CPU of each stage of a transaction's way, in this process: `python -m benchmarks.hot_path [--events N] [--rounds N]`.

Needs no broker: real records go through `process`, into whole producer batches and past the metrics, as in a worker;
profiles stay in memory. `--json FILE` keeps the figures, `--against FILE` compares with those of another version.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from statistics import median
from typing import Any, cast

from aiokafka.producer.message_accumulator import BatchBuilder

from benchmarks.cases import PARTITIONS
from benchmarks.circumstances import measured_on
from benchmarks.records import load_records
from fraudstream.adapters.metrics import Metrics
from fraudstream.agents.batch_metrics import BatchMetrics, StageClock
from fraudstream.agents.producers import BATCH_BYTES, PartitionProducer, Producers
from fraudstream.agents.scoring import Scoring
from fraudstream.agents.slices import LARGEST
from fraudstream.detector import load_detector, warm_up
from fraudstream.machine import this_machine
from fraudstream.pipeline import process
from fraudstream.settings import Settings
from fraudstream.state.profile import EMPTY
from fraudstream.tables.profiles import Profiles
from fraudstream.wire.records import BatchReader, FetchedBatch, Record
from tests.fetched import fetched_batch

SIZES = (4, 32, 512)
STAGES = ("decode", "load", "features", "score", "decide", "send", "observe")
HISTORY_RECORDS = 20_000
"""Judged before the first measurement, so that users have a past."""


def main() -> int:
    """Prints µs of CPU an event by stage and batch size."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hot_path", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--events", type=int, default=8_192, help="in a round of each size (default 8192)")
    parser.add_argument("--rounds", type=int, default=7, help="whose median counts (default 7)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="writes the figures")
    parser.add_argument("--against", type=Path, metavar="FILE", help="figures of another version to compare with")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    records = records_of(HISTORY_RECORDS + options.events)
    path = HotPath()
    path.run(records[:HISTORY_RECORDS], 512)
    found = {size: _medians(path, records[HISTORY_RECORDS:], size, options.rounds) for size in SIZES}
    print(_table(found, _read(options.against)))
    machine = this_machine(("aiokafka", "numpy", "numba"))
    print(
        f"\n{measured_on(datetime.now(UTC), machine, [load])} CPU time of the process, µs an event, "
        f"median of {options.rounds} rounds of {options.events:,} events"
    )
    if options.json:
        options.json.write_text(json.dumps(found) + "\n", encoding="utf-8")
    return 0


def records_of(count: int) -> list[Record]:
    """Messages in partitions by user, in the order of event time."""
    ends = [0] * PARTITIONS
    records = []
    for key, value in load_records(count).messages:
        partition = sum(key) % PARTITIONS
        records.append(Record("transactions", partition, ends[partition], 1_900_000_000_000, key, value))
        ends[partition] += 1
    return records


def fetched(records: Sequence[Record]) -> list[FetchedBatch]:
    """The same as a worker is given them: what was fetched of a partition is one batch."""
    by_partition = groupby(sorted(records, key=attrgetter("partition")), attrgetter("partition"))
    return [fetched_batch(list(of_one)) for _, of_one in by_partition]


class HotPath:
    """What a worker does with the records of a batch, up to batches that could be sent."""

    def __init__(self) -> None:
        settings = Settings.model_construct()
        self._detector = load_detector(settings)
        warm_up(self._detector)
        self._profiles = Profiles(cast(Any, _NoStore()), settings.profile_cache_size)
        self._metrics = BatchMetrics(Metrics())
        producers = cast(Producers, _Builders(settings))
        self._clock_ns = median(time.process_time_ns() - time.process_time_ns() for _ in range(1000)) * -1
        self._scoring = Scoring(settings, self._detector, self._profiles, producers, self._metrics)

    def run(self, records: list[Record], size: int) -> dict[str, float]:
        """Judges the records; profiles stay as they were, so that each round does the same. µs an event by stage."""
        taken_ns = dict.fromkeys(STAGES, 0.0)
        for at in range(0, len(records), size):
            self._batch(fetched(records[at : at + size]), taken_ns)
        self._metrics.begin_commit()
        self._metrics.end_commit(0.1)
        return {stage: ns / 1000.0 / len(records) for stage, ns in taken_ns.items()}

    def _batch(self, batches: list[FetchedBatch], taken_ns: dict[str, float]) -> None:
        since_ns = time.process_time_ns()

        def done(stage: str) -> None:
            nonlocal since_ns
            now_ns = time.process_time_ns()
            taken_ns[stage] += now_ns - since_ns - self._clock_ns
            since_ns = now_ns

        clock = StageClock()
        part = BatchReader(batches).read(LARGEST)
        outcome = process(self._detector, part, self._profiles.load, done)
        self._profiles.put(outcome.profiles)
        done("decide")
        _finish(self._scoring._send(outcome))
        done("send")
        self._metrics.observe_batch(self._detector, outcome, len(part), 0.01)
        self._metrics.observe_stages(clock)
        done("observe")

    def snapshot(self) -> Callable[[], None]:
        """Remembers the profiles; what it returns brings them back."""
        before = dict(self._profiles._dirty)

        def restore() -> None:
            self._profiles._dirty = dict(before)

        return restore


class _NoStore:
    """A disk that holds nothing: every profile is still in memory."""

    def read(self, _partition: int, _key: bytes) -> bytes:
        return EMPTY


class _Builders:
    """Producers that build whole batches and throw them away."""

    def __init__(self, settings: Settings) -> None:
        self._by_partition = {at: _Builder(at, cast(Any, self), settings) for at in range(PARTITIONS)}

    def __getitem__(self, partition: int) -> _Builder:
        return self._by_partition[partition]

    def owned(self) -> set[int]:
        return set(self._by_partition)

    def create_batch(self) -> BatchBuilder:
        return BatchBuilder(BATCH_BYTES, 0, is_transactional=True)


class _Builder(PartitionProducer):
    async def _send_batches(self, _topic: str, _partition: int, batches: Sequence[Any]) -> list[Any]:
        for batch in batches:
            batch._build()
        return []


def _finish(coroutine: Coroutine[Any, Any, None]) -> None:
    """Runs a coroutine that has nothing to wait for."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise AssertionError("expected a coroutine that waits for nothing")


def _medians(path: HotPath, records: list[Any], size: int, rounds: int) -> dict[str, float]:
    restore = path.snapshot()
    taken = []
    for _ in range(rounds):
        restore()
        taken.append(path.run(records, size))
    restore()
    return {stage: median(one[stage] for one in taken) for stage in STAGES}


def _read(file: Path | None) -> dict[int, dict[str, float]] | None:
    if file is None:
        return None
    return {int(size): stages for size, stages in json.loads(file.read_text(encoding="utf-8")).items()}


def _table(found: dict[int, dict[str, float]], other: dict[int, dict[str, float]] | None) -> str:
    rows = [f"| batch | {' | '.join(STAGES)} | all |", f"|{'---:|' * (len(STAGES) + 2)}"]
    for size, stages in found.items():
        before = other[size] if other is not None else dict.fromkeys(STAGES, float("nan"))
        cells = [_cell(stages[stage], before[stage]) for stage in STAGES]
        cells.append(_cell(sum(stages.values()), sum(before.values())))
        rows.append(f"| {size} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _cell(now_us: float, before_us: float) -> str:
    return f"{now_us:.2f}" if math.isnan(before_us) else f"{now_us:.2f} ({before_us:.2f})"


if __name__ == "__main__":
    sys.exit(main())
