"""The result of a run as a Markdown table, as a page of the documentation and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from benchmarks.cases import CASES, FULL_PATH, STOCK, STOCK_UVLOOP
from benchmarks.summary import Figures, Sample, Spread, summarise
from fraudstream.machine import Machine

TARGET_RATIO = 0.5
"""The full path may cost at most this share of Faust's stock pass-through, which does nothing with an event."""
BASELINES = (STOCK, STOCK_UVLOOP)
TITLES = {case.name: case.title for case in CASES}

PAGE = """\
# Performance

Written by `python -m benchmarks --markdown docs/performance.md` (`make bench` prints the same table).

{table}

{verdict}

Measured on {date}: {processor}, {cores} cores, {memory:g} GiB, {kernel}, Python {python}; {libraries}.
Load average before each measurement: {load}. Records: {records:,} in each measurement, {source}, \
{mean_bytes:.0f} bytes of JSON each, in {partitions} partitions of {broker}.

## How it is measured

- One broker, one run; each measurement is a new process with topics and a consumer group of its own. The cases take \
turns, {repeats} rounds, each round beginning with another case. Medians, least and greatest value in brackets; \
ratios are taken within a round.
- Start-up is not counted: the process first consumes and commits {warm_up:,} other records. It is then held by \
SIGSTOP until all records are in the topic, and goes on with all of them before it.
- CPU is user and system time of the consuming process and all its threads, up to {settle_s:g} s after the last record \
was committed. Broker and producer are other processes.
- Events per second count from going on to the last committed offset; stock Faust commits every 2.8 s, so up to that \
much waiting is in its figure. It says little where other work shares the machine; trust CPU per event.
- The full path is the worker as users start it. Its measurement counts only if a `read_committed` reader then finds \
exactly one verdict for each transaction.
- Stock Faust has JSON values, every setting at its default, and an agent whose loop does nothing.
"""


@dataclass(frozen=True, slots=True)
class Run:
    """A whole run: what was measured, on what, and what came out."""

    date: datetime
    machine: Machine
    broker: str
    partitions: int
    source: str
    mean_bytes: float
    records: int
    warm_up: int
    settle_s: float
    samples: Mapping[str, Sequence[Sample]]

    @property
    def figures(self) -> dict[str, Figures]:
        """What the samples say, by case."""
        return summarise(self.samples, BASELINES)

    @property
    def target_ratios(self) -> dict[str, float]:
        """Median cost of the full path, as a share of each baseline's."""
        return {name: self.figures[FULL_PATH].ratios[name].median for name in BASELINES}

    @property
    def reached(self) -> bool:
        """Whether the full path is cheap enough against Faust as it comes; uvloop's figure stands beside it."""
        return self.target_ratios[STOCK] <= TARGET_RATIO


def markdown_table(figures: Mapping[str, Figures]) -> str:
    """One row a case: CPU, speed, and CPU as a share of each baseline's."""
    rows = [
        "| case | CPU µs per event | events/s | of pass-through | of pass-through on uvloop |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, found in figures.items():
        cells = [
            TITLES[name],
            _cell(found.cpu_us_per_event, ",.1f"),
            _cell(found.events_per_second, ",.0f"),
            *(_cell(found.ratios[baseline], ".2f") for baseline in BASELINES),
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def verdict_line(run: Run) -> str:
    """Whether the target was reached, in one sentence."""
    shares = " and ".join(f"{ratio:.2f} of {TITLES[name]}" for name, ratio in run.target_ratios.items())
    word = "reached" if run.reached else "missed"
    return f"Full path: {shares} in CPU per event; the target of at most {TARGET_RATIO:g} is {word}."


def markdown_page(run: Run) -> str:
    """The page of the documentation."""
    loads = [sample.load for samples in run.samples.values() for sample in samples]
    machine = run.machine
    return PAGE.format(
        table=markdown_table(run.figures),
        verdict=verdict_line(run),
        date=f"{run.date:%Y-%m-%d %H:%M} UTC",
        processor=machine.processor,
        cores=machine.cores,
        memory=machine.memory_gib,
        kernel=machine.kernel,
        python=machine.python,
        libraries=", ".join(f"{name} {number}" for name, number in machine.libraries.items()),
        load=f"{min(loads):.1f} to {max(loads):.1f}",
        records=run.records,
        source=run.source,
        mean_bytes=run.mean_bytes,
        partitions=run.partitions,
        broker=run.broker,
        repeats=len(run.samples[FULL_PATH]),
        warm_up=run.warm_up,
        settle_s=run.settle_s,
    )


def as_json(run: Run) -> dict[str, Any]:
    """The result for machines."""
    return {
        "date": run.date.isoformat(),
        "machine": asdict(run.machine),
        "broker": run.broker,
        "partitions": run.partitions,
        "source": run.source,
        "mean_bytes": run.mean_bytes,
        "records": run.records,
        "warm_up": run.warm_up,
        "cases": {
            name: {**asdict(found), "samples": [asdict(sample) for sample in run.samples[name]]}
            for name, found in run.figures.items()
        },
        "target": {"ratio": TARGET_RATIO, "measured": run.target_ratios, "reached": run.reached},
    }


def _cell(spread: Spread, form: str) -> str:
    return f"{spread.median:{form}} ({spread.min:{form}}–{spread.max:{form}})"
