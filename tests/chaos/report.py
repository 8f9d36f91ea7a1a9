"""What came of the scenarios, as a line on the terminal, JSON and a Markdown table."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from fraudstream.machine import this_machine
from tests.chaos.run import Report
from tests.servers.jars import KAFKA_VERSION

BEGIN, END = "<!-- chaos: begin -->", "<!-- chaos: end -->"

HEADINGS = (
    "scenario", "sent", "lost", "repeated (committed)", "repeated (uncommitted)", "differing", "wrong states",
    "dead letters", "takeovers", "longest silence s", "back after s", "ended by themselves",
)  # fmt: skip


def cells(report: Report) -> tuple[str, ...]:
    """A row of the table."""
    found = report.judgement
    return (
        report.scenario.name,
        f"{found.sent:,}",
        f"{found.lost:,}",
        f"{found.repeated:,}",
        f"{found.repeated_uncommitted:,}",
        f"{found.contradictory:,}",
        f"{found.wrong_states:,} of {found.users:,}",
        ", ".join(f"{reason} {count:,}" for reason, count in sorted(found.dead_letters.items())) or "0",
        f"{found.takeovers:,}",
        f"{found.longest_silence_s:.1f}",
        "" if report.resumed_s is None else f"{report.resumed_s:.1f}",
        ", ".join(f"{count} with {code}" for code, count in sorted(report.exits.items())) or "0",
    )


def print_report(report: Report) -> None:
    """Says it on the terminal at once: the whole suite takes a while."""
    row = dict(zip(HEADINGS[1:], cells(report)[1:], strict=True))
    told = ", ".join(f"{heading} {cell}" for heading, cell in row.items() if cell)
    print(f"{'broken' if report.problems else 'held  '} {report.scenario.name} (seed {report.seed}, "
          f"{report.took_s:.0f} s): {told}", flush=True)  # fmt: skip
    for problem in report.problems:
        print(f"       - {problem}", flush=True)


def as_json(reports: Sequence[Report], failures: Mapping[str, str]) -> str:
    """Everything, for programs; failures: what went wrong in scenarios that came to no end."""
    return json.dumps(
        {
            "measured": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": platform.platform(),
            "scenarios": [
                {
                    "scenario": report.scenario.name,
                    "about": report.scenario.about,
                    "brokers": report.scenario.brokers,
                    "workers": report.scenario.workers,
                    "seed": report.seed,
                    "kills": report.kills,
                    "exits": report.exits,
                    "last_words": report.last_words,
                    "seconds_until_resumed": report.resumed_s,
                    "seconds": report.took_s,
                    **{name: value for name, value in asdict(report.judgement).items() if name != "times_ms"},
                }
                for report in reports
            ],
            "failures": dict(failures),
        },
        indent=2,
    )


def write_markdown(page: Path, reports: Sequence[Report], rate: float) -> None:
    """Puts the table between the marks of a page, or makes a page of it."""
    machine = this_machine(("faust-streaming", "aiokafka", "rocksdict"))
    versions = ", ".join(f"{name} {version}" for name, version in machine.libraries.items())
    kills = sum(report.kills for report in reports)
    text = "\n".join(
        [
            BEGIN,
            *(f"| {' | '.join(line)} |" for line in (HEADINGS, ["---"] * len(HEADINGS), *map(cells, reports))),
            "",
            f"`make test-chaos`, measured on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC: {machine.processor}, "
            f"{machine.cores} cores shared by brokers, workers, sender and judge, {machine.memory_gib:g} GiB, "
            f"{machine.kernel}, Python {machine.python}, Kafka {KAFKA_VERSION}; {versions}. {rate:,.0f} transactions a "
            f"second; {kills} kills of workers; seeds {min(one.seed for one in reports)} to "
            f"{max(one.seed for one in reports)}.",
            END,
        ]
    )
    old = page.read_text(encoding="utf-8") if page.exists() else f"{BEGIN}{END}\n"
    before, _, rest = old.partition(BEGIN)
    page.write_text(before + text + rest.partition(END)[2], encoding="utf-8")
