"""The result of a run as a Markdown table, as a page of the documentation and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from statistics import median
from typing import Any

from benchmarks.cases import STOCK, STOCK_UVLOOP
from benchmarks.catalogue import BY_NAME
from benchmarks.circumstances import measured_on
from benchmarks.scaling import can_scale, section
from benchmarks.summary import Figures, Sample, Spread, summarise
from benchmarks.targets import measurable
from fraudstream.machine import Machine

CONTENTS = ("transactions", "verdicts", "alerts", "state", "internal")
"""What the broker's logs hold, as `BrokerUse` names it."""

BASELINES = {STOCK: "of pass-through", STOCK_UVLOOP: "of pass-through on uvloop"}
"""What each case's CPU is held against, with the heading of its column."""

PAGE = """\
# Performance

Written by `{command}` (`make bench` prints the same for the short list of cases).

{table}

{targets}

{broker_use}
{picture}
{measured} Records: {source}, {mean_bytes:.0f} bytes of JSON each, in {broker}; \
{partitions} partitions where nothing else is said.

## How it is measured

- One broker, one run; each measurement is a new process with topics and a consumer group of its own. The cases take \
turns, {repeats} rounds, each round beginning with another case. Medians, least and greatest value in brackets; \
ratios are taken within a round.
- All cases take the same records from the first on; a slow one takes fewer of them, as the table says.
- Start-up is not counted: the process first consumes and commits other records ({warm_up:,} where nothing else is \
said). It is then held by SIGSTOP until all records are in the topic, and goes on with all of them before it.
- The broker is warm: before the first round the full path has judged its records, unmeasured. One that has just \
started takes a whole core, because its virtual machine compiles.
- CPU is user and system time of the consuming process and all its threads, up to {settle_s:g} s after the last record \
was committed. Broker and producer are other processes.
- Events per second count from going on to the last committed offset, so the wait for the next commit is in it. \
The figure says little where other work shares the machine; trust CPU per event.
- The broker's CPU and the growth of its logs are read when the records have been produced and after the last commit; \
the time in which it says how far a case is (50 times a second) is in it. A reader of verdicts is not.
- A case that gives verdicts counts only if a `read_committed` reader then finds exactly one for each transaction, and \
a case that keeps totals only if those are right.

{notes}

{scaling}
"""


@dataclass(frozen=True, slots=True)
class Run:
    """A whole run: what was measured, on what, and what came out."""

    date: datetime
    machine: Machine
    command: str
    broker: str
    partitions: int
    source: str
    mean_bytes: float
    warm_up: int
    settle_s: float
    samples: Mapping[str, Sequence[Sample]]

    @property
    def figures(self) -> dict[str, Figures]:
        """What the samples say, by case."""
        return summarise(self.samples, [name for name in BASELINES if name in self.samples])

    @property
    def reached(self) -> bool:
        """Whether every target is reached whose cases were measured."""
        targets = measurable(self.samples)
        return all(target.is_reached(target.spread(self.samples).median) for target in targets)


def markdown_table(run: Run) -> str:
    """One row a case: CPU, speed, and CPU as a share of each baseline's."""
    figures = run.figures
    baselines = [name for name in BASELINES if name in figures]
    heads = ["case", "records", "CPU µs per event", "events/s", *(BASELINES[name] for name in baselines)]
    rows = [_line(heads), f"|---|{'---:|' * (len(heads) - 1)}"]
    for name, found in figures.items():
        rows.append(
            _line(
                [
                    BY_NAME[name].title,
                    f"{run.samples[name][0].records:,}",
                    _cell(found.cpu_us_per_event, ",.1f"),
                    _cell(found.events_per_second, ",.0f"),
                    *(_cell(found.ratios[baseline], ",.2f") for baseline in baselines),
                ]
            )
        )
    return "\n".join(rows)


def targets_table(run: Run) -> str:
    """What must be reached beside the others, and whether it is; of the cases that were measured."""
    rows = [_line(["ratio", "must be", "measured", "reached"]), "|---|---:|---:|---|"]
    for target in measurable(run.samples):
        ratio = target.spread(run.samples)
        rows.append(
            _line(
                [
                    target.what,
                    f"{'≥' if target.at_least else '≤'} {target.limit:g}",
                    _cell(ratio, ",.2f"),
                    "yes" if target.is_reached(ratio.median) else "**no**",
                ]
            )
        )
    return "\n".join(rows) if measurable(run.samples) else "No target compares the cases that were measured."


def broker_table(run: Run) -> str:
    """What each case needed of the broker and wrote to it; of those that give verdicts and ran beside it."""
    heads = [
        "case",
        "broker's CPU µs per event: producing",
        "consuming",
        *(f"{one}, bytes" for one in CONTENTS),
        "alerts",
    ]
    rows = [_line(heads), f"|---|{'---:|' * (len(heads) - 1)}"]
    for name, samples in run.samples.items():
        uses = [(sample.records, sample.broker) for sample in samples if sample.broker is not None]
        if not uses or not BY_NAME[name].gives_verdicts:
            continue
        cells = [
            f"{median(use.producing_cpu_s / records * 1e6 for records, use in uses):,.1f}",
            f"{median(use.consuming_cpu_s / records * 1e6 for records, use in uses):,.1f}",
            *(f"{median(use.log_bytes.get(one, 0) / records for records, use in uses):,.0f}" for one in CONTENTS),
        ]
        flagged = samples[0].flagged
        rows.append(_line([BY_NAME[name].title, *cells, "" if flagged is None else f"{flagged:.1%}"]))
    return (
        "\n".join(["What the broker did for an event, and what it wrote to its logs:", "", *rows]) if rows[2:] else ""
    )


def markdown_page(run: Run, picture: str = "") -> str:
    """The page of the documentation; `picture` is the name of an image beside it."""
    loads = [sample.load for samples in run.samples.values() for sample in samples]
    notes = [f"- {_plain(BY_NAME[name].title)} — {BY_NAME[name].note}" for name in run.samples if BY_NAME[name].note]
    return (
        PAGE.format(
            command=run.command,
            table=markdown_table(run),
            targets=targets_table(run),
            picture=f"\n![CPU per event of each case]({picture})\n" if picture else "",
            broker_use=broker_table(run),
            measured=measured_on(run.date, run.machine, loads),
            source=run.source,
            mean_bytes=run.mean_bytes,
            partitions=run.partitions,
            broker=run.broker,
            repeats=max(map(len, run.samples.values())),
            warm_up=run.warm_up,
            settle_s=run.settle_s,
            notes="## The cases\n\n" + "\n".join(notes) if notes else "",
            scaling=section(run.samples, run.machine.cores) if can_scale(run.samples) else "",
        ).rstrip()
        + "\n"
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
        "warm_up": run.warm_up,
        "cases": {
            name: {**asdict(found), "samples": [asdict(sample) for sample in run.samples[name]]}
            for name, found in run.figures.items()
        },
        "targets": [
            {
                **asdict(target),
                "measured": asdict(ratio := target.spread(run.samples)),
                "reached": target.is_reached(ratio.median),
            }
            for target in measurable(run.samples)
        ],
        "reached": run.reached,
    }


def _plain(title: str) -> str:
    return title.strip("*")


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(spread: Spread, form: str) -> str:
    return f"{spread.median:{form}} ({spread.min:{form}}–{spread.max:{form}})"
