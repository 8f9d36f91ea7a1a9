"""What a soak says: whether each figure grows, as a table, as a page of the documentation and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import pairwise
from typing import Literal

from benchmarks.circumstances import measured_on
from benchmarks.line import Line
from fraudstream.machine import Machine

HOUR_S = 3600.0
BYTES_PER_MB = 1e6
LAST_THIRD = 2 / 3
JUDGED_FROM = 1 / 3
"""The first third is for what fills up once: caches, RocksDB's memory, the allocator's arenas."""
MOST_GROWTH = 0.01
"""Of the mean, in an hour: what a line may grow and still be called flat."""
ERRORS = 2.0
"""Standard errors that a slope is known to."""

Verdict = Literal["flat", "not flat", "not decided"]

PAGE = """\
# Does a worker stay as it is?

Written by `{command}`.

Memory is **{verdict}**: {growth}. Its highest reading, {highest:,.1f} MB, was that after \
{highest_min:.1f} minutes; the highest of the last third is {highest_late:,.1f} MB.

{table}
{picture}
{measured} {minutes:.0f} minutes at {rate:,} transactions/s of {users:,} users, {judged:,} judged. \
Longest time between two readings: {gap_s:.0f} s; much more than ten means that the machine itself stood still.

## How it is measured

- One broker, the worker as users start it with 4 partitions, and the sender share the machine's cores.
- Every user has about {payments} payments in the last 30 days from the start on, and event time runs so much faster
  than the clock that it stays so: profiles neither grow nor shrink.
- Each figure is read every ten seconds. A line of least squares goes through the last two thirds; the error of its
  slope is widened for readings that resemble their neighbours.
- RocksDB gathers changes in memory, up to 16 MiB a partition, writes them to a file and begins anew: memory rises and
  falls with it. How much that is at each reading, the worker's own metric tells (`fraudstream_store_memory_bytes`);
  what is judged is the rest.
- *Flat* is what grows, with two standard errors on top, by at most {most:.0%} of its mean in an hour; *not flat* is
  what grows by more even with two taken away. In between nothing is decided, and a longer run tells more.
- The loop's lag is that of the worker's own metric: the bound of the bucket that its largest value fell into.
"""


@dataclass(frozen=True, slots=True)
class Reading:
    """One look at the worker.

    Attributes:
        at_s: since the first transaction of the rate.
        write_buffer_bytes: the part of memory in which RocksDB gathers changes until it writes a file.
        backlog: transactions that wait to be judged.
        most_loop_lag_ms: since the reading before.
        judged: transactions since the reading before.
    """

    at_s: float
    resident_bytes: float
    write_buffer_bytes: float
    open_files: float
    backlog: float
    most_loop_lag_ms: float
    judged: float

    @property
    def steady_bytes(self) -> float:
        """Memory without the write buffers, which rise and fall."""
        return self.resident_bytes - self.write_buffer_bytes


@dataclass(frozen=True, slots=True)
class Soak:
    """A whole run."""

    date: datetime
    machine: Machine
    loads: tuple[float, float]
    command: str
    rate: int
    users: int
    payments: int
    readings: Sequence[Reading]

    @property
    def judged_readings(self) -> list[Reading]:
        """The last two thirds."""
        return self._since(JUDGED_FROM)

    def _since(self, share: float) -> list[Reading]:
        return list(self.readings[round(len(self.readings) * share) :])

    def line(self, name: str) -> Line:
        """Through a figure of the last two thirds, over hours.

        Raises:
            ValueError: fewer than three readings.
        """
        hours = [reading.at_s / HOUR_S for reading in self.judged_readings]
        return Line.through(hours, self.values(name))

    def values(self, name: str) -> list[float]:
        """A figure of the last two thirds."""
        return [float(getattr(reading, name)) for reading in self.judged_readings]

    def verdict(self, name: str) -> Verdict:
        """Whether a figure grows."""
        values = self.values(name)
        return judge(self.line(name), sum(values) / len(values))

    def highest(self, since: float = 0.0) -> Reading:
        """Where memory was highest, from this share of the readings on."""
        return max(self._since(since), key=lambda reading: reading.resident_bytes)

    @property
    def is_flat(self) -> bool:
        """Whether memory is."""
        return self.verdict("steady_bytes") == "flat"


def judge(line: Line, mean: float) -> Verdict:
    """Whether a line over hours grows; one that falls is flat."""
    allowed, unsure = MOST_GROWTH * mean, ERRORS * line.slope_error
    if line.slope - unsure > allowed:
        return "not flat"
    return "flat" if line.slope + unsure <= allowed else "not decided"


def growth(line: Line) -> str:
    """Bytes an hour with its error."""
    return f"{line.slope:+,.0f} ± {line.slope_error:,.0f} bytes an hour (standard error)"


FIGURES = {
    "resident_bytes": ("resident memory, MB", BYTES_PER_MB, ",.1f"),
    "steady_bytes": ("the same without write buffers, MB", BYTES_PER_MB, ",.1f"),
    "open_files": ("open files", 1.0, ",.0f"),
    "backlog": ("transactions that wait", 1.0, ",.0f"),
    "most_loop_lag_ms": ("loop lag, at most, ms", 1.0, ",.0f"),
}


def judged_table(soak: Soak) -> str:
    """A row for each figure: least, mean, most, growth; of the last two thirds."""
    rows = ["| last two thirds | least | mean | most | growth an hour | |", "|---|---:|---:|---:|---:|---|"]
    for name, (title, unit, form) in FIGURES.items():
        values = [value / unit for value in soak.values(name)]
        line = soak.line(name)
        verdict = soak.verdict(name) if name in ("steady_bytes", "open_files") else ""
        rows.append(
            f"| {title} | {min(values):{form}} | {sum(values) / len(values):{form}} | {max(values):{form}} | "
            f"{line.slope / unit:+,.2f} ± {line.slope_error / unit:,.2f} | {verdict} |"
        )
    return "\n".join(rows)


def page(soak: Soak, picture: str = "") -> str:
    """docs/performance-soak.md; `picture` is the name of an image beside it."""
    return PAGE.format(
        command=soak.command,
        verdict=soak.verdict("steady_bytes"),
        growth=growth(soak.line("steady_bytes")),
        highest=soak.highest().resident_bytes / BYTES_PER_MB,
        highest_min=soak.highest().at_s / 60,
        highest_late=soak.highest(LAST_THIRD).resident_bytes / BYTES_PER_MB,
        table=judged_table(soak),
        picture=f"\n![Memory, backlog, open files and loop lag over time]({picture})\n" if picture else "",
        measured=measured_on(soak.date, soak.machine, soak.loads),
        minutes=soak.readings[-1].at_s / 60,
        rate=soak.rate,
        users=soak.users,
        gap_s=max(b.at_s - a.at_s for a, b in pairwise(soak.readings)),
        judged=round(sum(reading.judged for reading in soak.readings)),
        payments=soak.payments,
        most=MOST_GROWTH,
    )


def as_json(soak: Soak) -> str:
    """The result for machines."""
    found = {**asdict(soak), "date": soak.date.isoformat()}
    found["lines"] = {name: {**asdict(soak.line(name)), "verdict": soak.verdict(name)} for name in FIGURES}
    return json.dumps(found, indent=2) + "\n"
