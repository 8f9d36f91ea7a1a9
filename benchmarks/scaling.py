"""What many transactions a second would take, computed from what was measured: `python -m benchmarks.scaling FILE`.

FILE is what `python -m benchmarks --all --json FILE` wrote. Prints the arithmetic line by line, and what the same
arithmetic says about the cases that were measured. `python -m benchmarks --markdown` puts it into docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.cases import FULL_PATH, PARTITIONS
from benchmarks.line import Line
from benchmarks.own_cases import INTERVALS_S, THREE_BROKERS, TWO_WORKERS, name_of_interval
from benchmarks.summary import BrokerUse, Sample
from benchmarks.targets import CHANGELOG_BYTES
from fraudstream.agents.checkpoint_pace import BACKLOG_INTERVAL_S
from fraudstream.settings import Settings

RATE = 100_000
COPIES = 3
WORKER_LOAD, BROKER_LOAD = 0.7, 0.5
"""How busy a worker and a broker's core are planned to be: the rest is for backlogs, and for a broker that is away."""
US_PER_S = 1_000_000.0
CHECKS = {FULL_PATH: (1, PARTITIONS), "partitions_1": (1, 1), "partitions_2": (1, 2), TWO_WORKERS: (2, 2)}
"""Measured cases that the model is not made of: workers, and partitions of each."""

Samples = Mapping[str, Sequence[Sample]]


@dataclass(frozen=True, slots=True)
class Model:
    """Costs in µs of CPU, as they were measured.

    Attributes:
        event_us: of an event in a worker, without checkpoints.
        partition_us: of a partition's part in a checkpoint.
        worker_cores: most that a worker uses of the machine's cores.
        broker_us: of an event in one broker, while it is consumed and its verdict written.
        replicated_us: of an event in all three brokers together, producing too.
        event_bytes: of an event's records in the log, one copy, by what is in them; the state as planned.
        state_bytes: of the changelog, an event, at the shortest interval that was measured.
    """

    event_us: float
    partition_us: float
    worker_cores: float
    broker_us: float
    replicated_us: float
    event_bytes: dict[str, float]
    state_bytes: float

    @classmethod
    def of(cls, samples: Samples, changelog_bytes: float = CHANGELOG_BYTES.limit) -> Model:
        """The model of these cases (`can_scale`), with a changelog as it is planned."""
        points = [
            (1.0 / (sample.events_per_second * interval_s), sample.cpu_us_per_event)
            for interval_s in INTERVALS_S
            for sample in samples[name_of_interval(interval_s)]
        ]
        line = Line.through(*zip(*points, strict=True))
        fitted = [sample for interval_s in INTERVALS_S for sample in samples[name_of_interval(interval_s)]]
        written = _bytes(samples[FULL_PATH])
        return cls(
            event_us=line.intercept,
            partition_us=max(line.slope, 0.0) / PARTITIONS,
            worker_cores=max(sample.cpu_s / sample.elapsed_s for sample in fitted),
            broker_us=_broker_us(fitted, lambda use: use.consuming_cpu_s),
            replicated_us=_broker_us(samples[THREE_BROKERS], lambda use: use.producing_cpu_s + use.consuming_cpu_s),
            event_bytes={name: written[name] for name in ("transactions", "verdicts", "alerts")}
            | {"changelog": changelog_bytes},
            state_bytes=_bytes(samples[name_of_interval(min(INTERVALS_S))])["state"],
        )

    def checkpoints_us(self, interval_s: float, partitions: int) -> float:
        """µs of CPU in each second for checkpoints of so many partitions."""
        return self.partition_us * partitions / interval_s

    def most_per_s(self, interval_s: float, partitions: int) -> float:
        """Events a second of a worker that does nothing else."""
        return (self.worker_cores * US_PER_S - self.checkpoints_us(interval_s, partitions)) / self.event_us

    def predict(self, workers: int, partitions: int, cores: int) -> tuple[float, float]:
        """Events a second and µs an event of workers with a backlog and their broker on one machine.

        Whichever ends first: what the workers can do, or what the cores can.
        """
        checkpoints_us = workers * self.checkpoints_us(BACKLOG_INTERVAL_S, partitions)
        by_cores = (cores * US_PER_S - checkpoints_us) / (self.event_us + self.broker_us)
        rate = min(workers * self.most_per_s(BACKLOG_INTERVAL_S, partitions), by_cores)
        return rate, self.event_us + checkpoints_us / rate


def can_scale(samples: Samples) -> bool:
    """Whether the cases are there that the model is made of and held against, on a broker that could be watched."""
    needed = {*map(name_of_interval, INTERVALS_S), THREE_BROKERS, *CHECKS}
    return needed <= samples.keys() and all(one.broker for name in needed for one in samples[name])


def section(samples: Samples, cores: int, rate: int = RATE, changelog_bytes: float = CHANGELOG_BYTES.limit) -> str:
    """The section of docs/performance.md."""
    model = Model.of(samples, changelog_bytes)
    lines = "\n".join(f"{number}. {line}" for number, line in enumerate(_plan(model, rate), 1))
    return f"""\
## What {rate:,} transactions a second would take

Computed from the cases above; nobody has measured it.

{lines}

What the same arithmetic says of cases that it is not made of, one worker and two with a backlog, on these {cores} cores
together with the broker:

{_checks(model, samples, cores)}

Not in it: users that are not in memory (a read of RocksDB each), readers of the verdicts, compaction of the changelog,
skewed keys (one user is one partition), TLS, and what a network adds. Measure before you buy."""


def _plan(model: Model, rate: int) -> list[str]:
    interval_s = Settings.model_fields["checkpoint_interval_s"].default
    checkpoints_us = model.checkpoints_us(interval_s, PARTITIONS)
    most = model.most_per_s(interval_s, PARTITIONS)
    workers = math.ceil(rate / (most * WORKER_LOAD))
    broker_cores = rate * model.replicated_us / US_PER_S
    event_bytes = sum(model.event_bytes.values())
    given, verdicts = model.event_bytes["transactions"], model.event_bytes["verdicts"]
    logged = rate * event_bytes
    shares = " + ".join(f"{size:,.0f} {name}" for name, size in model.event_bytes.items())
    intervals = ", ".join(f"{interval_s * 1000:.0f}" for interval_s in INTERVALS_S)
    exactly = rate / most / WORKER_LOAD
    return [
        f"Worker, an event: {model.event_us:.1f} µs, and {model.partition_us:,.0f} µs for each partition's part in a "
        f"checkpoint (the line through CPU an event over checkpoints an event, at {intervals} ms).",
        f"Checkpoints of {PARTITIONS} partitions each {interval_s * 1000:.0f} ms: {PARTITIONS} × "
        f"{model.partition_us:,.0f} µs / {interval_s:g} s = {checkpoints_us / US_PER_S:.3f} cores.",
        f"A worker at its limit uses {model.worker_cores:.2f} cores: ({model.worker_cores:.2f} - "
        f"{checkpoints_us / US_PER_S:.3f}) × 1,000,000 / {model.event_us:.1f} = {most:,.0f} events/s.",
        f"Workers at {WORKER_LOAD:.0%} of that: {rate:,} / ({most:,.0f} × {WORKER_LOAD:g}) = {exactly:.1f}, "
        f"so **{workers} workers**, a core each.",
        f"Partitions: {PARTITIONS} each as measured = **{workers * PARTITIONS} partitions**, "
        f"{rate / workers / PARTITIONS:,.0f} events/s in each.",
        f"Brokers with {COPIES} copies: {rate:,} × {model.replicated_us:.1f} µs (all three, producing and consuming) = "
        f"{broker_cores:.1f} cores busy; at {BROKER_LOAD:.0%} = **{math.ceil(broker_cores / BROKER_LOAD)} broker "
        "cores**.",
        f"Bytes of an event in the log, one copy: {shares} = {event_bytes:,.0f}. The changelog is as planned "
        f"(unless told otherwise, its target); with this data's few users, who share a checkpoint's record, it took "
        f"{model.state_bytes:,.0f} at {min(INTERVALS_S) * 1000:.0f} ms; `benchmarks.footprint` measures that of many.",
        f"Disks: {rate:,} × {event_bytes:,.0f} × {COPIES} = **{_megabytes(logged * COPIES)} MB/s written**.",
        f"Network into the brokers: {rate:,} × {event_bytes:,.0f} = {_megabytes(logged)} MB/s from clients, and "
        f"{COPIES - 1} × that = {_megabytes(logged * (COPIES - 1))} MB/s between brokers: "
        f"**{_megabytes(logged * COPIES)} MB/s**.",
        f"Network out of the brokers to workers: {rate:,} × {given:,.0f} = {_megabytes(rate * given)} MB/s; each "
        f"reader of all verdicts takes {_megabytes(rate * verdicts)} MB/s more.",
        f"Network of one worker: {_megabytes(rate * given / workers)} MB/s in, "
        f"{_megabytes((logged - rate * given) / workers)} MB/s out.",
    ]


def _checks(model: Model, samples: Samples, cores: int) -> str:
    rows = [
        "| case | events/s: computed | measured | off by | CPU µs an event: computed | measured | off by |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, (workers, partitions) in CHECKS.items():
        rate, cost = model.predict(workers, partitions, cores)
        real_rate = median(sample.events_per_second for sample in samples[name])
        real_cost = median(sample.cpu_us_per_event for sample in samples[name])
        what = f"{workers} worker{'s' * (workers > 1)}, {partitions} partition{'s' * (partitions > 1)} each"
        rows.append(
            f"| {what} | {rate:,.0f} | {real_rate:,.0f} | {_off(rate, real_rate)} | {cost:.1f} | {real_cost:.1f} | "
            f"{_off(cost, real_cost)} |"
        )
    return "\n".join(rows)


def _off(computed: float, measured: float) -> str:
    return f"{round(100 * (computed / measured - 1)):+d}%"


def _uses(samples: Sequence[Sample]) -> list[tuple[int, BrokerUse]]:
    return [(sample.records, sample.broker) for sample in samples if sample.broker is not None]


def _broker_us(samples: Sequence[Sample], cpu_s: Callable[[BrokerUse], float]) -> float:
    return median(cpu_s(use) / records * US_PER_S for records, use in _uses(samples))


def _bytes(samples: Sequence[Sample]) -> dict[str, float]:
    """Bytes an event in the log, by what is in them."""
    names = {name for _, use in _uses(samples) for name in use.log_bytes} | {
        "transactions",
        "verdicts",
        "alerts",
        "state",
    }
    return {name: median(use.log_bytes.get(name, 0) / records for records, use in _uses(samples)) for name in names}


def _megabytes(size: float) -> str:
    return f"{size / 1e6:,.0f}"


def read_samples(file: Path) -> tuple[dict[str, list[Sample]], int]:
    """The samples that a run kept, and the cores of its machine."""
    kept = json.loads(file.read_text(encoding="utf-8"))
    samples = {name: [_sample(one) for one in case["samples"]] for name, case in kept["cases"].items()}
    return samples, kept["machine"]["cores"]


def _sample(kept: dict[str, object]) -> Sample:
    broker = kept.get("broker")
    return Sample(**{**kept, "broker": BrokerUse(**broker) if isinstance(broker, dict) else None})  # type: ignore[arg-type]


def main() -> int:
    """Prints the section; 1 where the cases are missing."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", type=Path, help="what `python -m benchmarks --all --json FILE` wrote")
    parser.add_argument("--rate", type=int, default=RATE, help=f"transactions a second (default {RATE})")
    parser.add_argument(
        "--changelog-bytes",
        type=float,
        default=CHANGELOG_BYTES.limit,
        help=f"of an event, as `python -m benchmarks.footprint` says (default {CHANGELOG_BYTES.limit:g}, its target)",
    )
    options = parser.parse_args()
    samples, cores = read_samples(options.file)
    if not can_scale(samples):
        needed = ", ".join(sorted({*map(name_of_interval, INTERVALS_S), THREE_BROKERS, *CHECKS}))
        print(f"benchmarks.scaling: expected the cases {needed}, beside a broker of their own", file=sys.stderr)
        return 1
    print(section(samples, cores, options.rate, options.changelog_bytes))
    return 0


if __name__ == "__main__":
    sys.exit(main())
