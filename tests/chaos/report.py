"""What came of the scenarios, as a line on the terminal, JSON and a Markdown table."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime

from tests.chaos.run import Report

HEADINGS = (
    "scenario", "sent", "lost", "repeated (committed)", "repeated (uncommitted)", "differing", "wrong states",
    "dead letters", "longest silence s", "back after s", "ended by themselves",
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


def as_json(reports: Sequence[Report]) -> str:
    """Everything, for programs."""
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
        },
        indent=2,
    )


def as_markdown(reports: Sequence[Report]) -> str:
    """The table of docs/guarantees.md."""
    lines = [HEADINGS, tuple("---" for _ in HEADINGS), *(cells(report) for report in reports)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
