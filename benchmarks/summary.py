"""From samples to figures: medians with their spread, and ratios between cases that ran in the same round."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

_US_PER_S = 1_000_000


@dataclass(frozen=True, slots=True)
class BrokerUse:
    """What the records of one run needed of the broker, or of all brokers together.

    Attributes:
        producing_cpu_s: user and system time while the records were produced.
        consuming_cpu_s: the same while the case consumed them and wrote what it writes.
        log_bytes: what the brokers' logs grew by, all copies, by what is in them: transactions, verdicts, alerts,
            dead-letters, state (changelogs), internal (offsets and the states of transactions).
    """

    producing_cpu_s: float
    consuming_cpu_s: float
    log_bytes: dict[str, int]


@dataclass(frozen=True, slots=True)
class Sample:
    """One run of one case.

    Attributes:
        cpu_s: user and system time of the consuming process for these records.
        elapsed_s: from the moment it went on until the last record was committed.
        load: the machine's load average of the last minute, before it went on.
        broker: None where the broker is not of this machine.
        flagged: share of the verdicts, those of the warm-up among them; None where no verdict says so.
    """

    records: int
    cpu_s: float
    elapsed_s: float
    load: float
    broker: BrokerUse | None = None
    flagged: float | None = None

    @property
    def cpu_us_per_event(self) -> float:
        """CPU time of an event, in microseconds."""
        return self.cpu_s / self.records * _US_PER_S

    @property
    def events_per_second(self) -> float:
        """Events from first to last commit, per second."""
        return self.records / self.elapsed_s


@dataclass(frozen=True, slots=True)
class Spread:
    """A median with the least and the greatest value around it."""

    median: float
    min: float
    max: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """The spread of at least one value."""
        found = list(values)
        return cls(median(found), min(found), max(found))


@dataclass(frozen=True, slots=True)
class Figures:
    """What all rounds say of one case; `ratios` are to the named baseline cases, round by round."""

    cpu_us_per_event: Spread
    events_per_second: Spread
    ratios: dict[str, Spread]


def summarise(samples: Mapping[str, Sequence[Sample]], baselines: Sequence[str]) -> dict[str, Figures]:
    """Figures of each case, in the order of `samples`.

    A ratio compares two cases of one round, which met about the same load, and only then the median is taken.
    """
    return {
        name: Figures(
            Spread.of(sample.cpu_us_per_event for sample in own),
            Spread.of(sample.events_per_second for sample in own),
            {
                baseline: Spread.of(
                    sample.cpu_us_per_event / other.cpu_us_per_event
                    for sample, other in zip(own, samples[baseline], strict=True)
                )
                for baseline in baselines
            },
        )
        for name, own in samples.items()
    }


def order_of_round(names: Sequence[str], number: int) -> tuple[str, ...]:
    """The order of the cases in a round: each starts one place later, so that no case always follows the same one."""
    at = number % len(names)
    return (*names[at:], *names[:at])
