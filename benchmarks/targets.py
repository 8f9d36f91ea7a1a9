"""What fraudstream must reach: ratios between two cases of the same round, and figures by themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.cases import FULL_PATH, STOCK
from benchmarks.own_cases import WITHOUT_MODELS
from benchmarks.peer_cases import KAFKA_STREAMS, NAIVE, QUIX_COUNT
from benchmarks.summary import Sample, Spread


@dataclass(frozen=True, slots=True)
class Target:
    """A ratio of two cases and what it must be.

    Attributes:
        what: in words.
        of: the case that is divided.
        by: the case that it is divided by.
        limit: what it must not be above, or below where `at_least`.
        of_speed: of events per second; else of CPU per event.
    """

    what: str
    of: str
    by: str
    limit: float
    at_least: bool = False
    of_speed: bool = False

    def spread(self, samples: Mapping[str, Sequence[Sample]]) -> Spread:
        """The ratio, round by round."""
        pairs = zip(samples[self.of], samples[self.by], strict=True)
        if self.of_speed:
            return Spread.of(one.events_per_second / other.events_per_second for one, other in pairs)
        return Spread.of(one.cpu_us_per_event / other.cpu_us_per_event for one, other in pairs)

    def is_reached(self, ratio: float) -> bool:
        """Whether a ratio is within the limit."""
        return ratio >= self.limit if self.at_least else ratio <= self.limit


TARGETS = (
    Target("CPU per event, full path / Faust stock pass-through", FULL_PATH, STOCK, 0.32),
    Target("CPU per event, full path / Quix Streams count and sum", FULL_PATH, QUIX_COUNT, 1.0),
    Target("CPU per event, full path / Kafka Streams count and sum", FULL_PATH, KAFKA_STREAMS, 2.0),
    Target("CPU per event, without models / Kafka Streams count and sum", WITHOUT_MODELS, KAFKA_STREAMS, 1.1),
    Target("CPU per event, naive scoring / full path", NAIVE, FULL_PATH, 350.0, at_least=True),
    Target("events/s, full path / Faust stock pass-through", FULL_PATH, STOCK, 4.5, at_least=True, of_speed=True),
)


@dataclass(frozen=True, slots=True)
class Bound:
    """A figure by itself, and what it must not be above."""

    what: str
    limit: float
    unit: str

    def is_reached(self, value: float) -> bool:
        """Whether a figure is within the limit."""
        return value <= self.limit


PREDICT_IDLE = Bound("`/predict` in an idle worker, p99", 5.0, "ms")
PREDICT_BESIDE = Bound("`/predict` beside 5,000 transactions/s, p99", 25.0, "ms")
VERDICT_AT = {
    (rate, reader, name): Bound(f"verdict at {rate:,} transactions/s, {name.replace('p999', 'p99.9')}", limit, "ms")
    for rate, reader, limits in (
        (1_000, "read_uncommitted", {"p50": 20.0, "p99": 45.0, "p999": 100.0}),
        (1_000, "read_committed", {"p50": 90.0, "p99": 160.0, "p999": 250.0}),
        (5_000, "read_uncommitted", {"p99": 150.0}),
        (5_000, "read_committed", {"p99": 150.0}),
    )
    for name, limit in limits.items()
}
"""By transactions a second, isolation level of the reader and percentile."""
VERDICT_AT_80_PERCENT = Bound("verdict at 80 % of the measured maximum, p99", 150.0, "ms")
WORKER_AT_100 = Bound("worker at 100 transactions/s", 0.20, "cores")
WORKER_AT_1000 = Bound("worker at 1,000 transactions/s", 0.45, "cores")
MEMORY = Bound("memory above an idle worker's", 400.0, "MB")
DISK = Bound("RocksDB on disk", 1.5, "GB")
CHANGELOG_BYTES = Bound("changelog, an event", 1_600.0, "bytes")


def bounds_table(found: Iterable[tuple[Bound, str, float]]) -> str:
    """Each bound with the figure that is held against it, and whether it is reached.

    Args:
        found: bound, which of several measurements it was (may be empty), figure.
    """
    rows = ["| figure | must be | measured | reached |", "|---|---:|---:|---|"]
    rows += [
        f"| {bound.what}{which and f', {which}'} | ≤ {bound.limit:,g} {bound.unit} | {value:,.4g} {bound.unit} | "
        f"{'yes' if bound.is_reached(value) else '**no**'} |"
        for bound, which, value in found
    ]
    return "\n".join(rows)


def measurable(cases: Iterable[str]) -> list[Target]:
    """The targets whose two cases were measured."""
    measured = set(cases)
    return [target for target in TARGETS if {target.of, target.by} <= measured]
