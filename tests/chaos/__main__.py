"""`make test-chaos`: breaks workers, brokers and disks, and says what came of it.

    python -m tests.chaos [--short] [--only WORDS] [--seed N] [--rate N] [--json FILE] [--markdown FILE]

Ends with 1 where a promise was broken.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import random
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from tests.chaos.report import as_json, print_report, write_markdown
from tests.chaos.run import Place, Report, run
from tests.chaos.scenario import Scenario
from tests.chaos.source import transactions
from tests.chaos.suite import FULL, SHORT
from tests.servers.jars import ServerUnavailableError
from tests.servers.kafka import KafkaCluster
from tests.servers.line import Line

ROWS = 600_000
"""Five minutes at 2,000 a second: longer than any scenario."""


def main() -> int:
    """Runs the scenarios one after the other; returns the exit code."""
    options = _parser().parse_args()
    scenarios = [
        scenario
        for scenario in (SHORT if options.short else FULL)
        if any(word in scenario.name for word in options.only or [""])
    ]
    if options.list:
        for scenario in scenarios:
            print(f"{scenario.name}: {scenario.about}")
        return 0
    try:
        reports, failures = _run_all(scenarios, options)
    except ServerUnavailableError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped before the end, nothing is written", file=sys.stderr)
        return 130
    if options.json:
        options.json.write_text(as_json(reports, failures), encoding="utf-8")
    if options.markdown:
        write_markdown(options.markdown, reports, options.rate)
    broken = len(failures) + sum(1 for report in reports if report.problems)
    kills = sum(report.kills for report in reports)
    outcome = f"{broken} broke a promise" if broken else "every promise held"
    print(f"{len(scenarios)} scenarios, {kills} kills of workers: {outcome}")
    return 1 if broken else 0


def _run_all(scenarios: list[Scenario], options: argparse.Namespace) -> tuple[list[Report], dict[str, str]]:
    """The reports, and of the scenarios that came to no end what went wrong."""
    history, called = transactions(ROWS)
    print(f"seed {options.seed}, {options.rate:,.0f} transactions a second ({called}), {len(scenarios)} scenarios")
    reports: list[Report] = []
    failures: dict[str, str] = {}
    for seed, (place, scenario) in enumerate(_places(scenarios, options.logs), options.seed):
        try:
            report = asyncio.run(run(scenario, place, history, options.rate, seed))
        except (AssertionError, ServerUnavailableError) as error:
            print(f"broken {scenario.name} (seed {seed}): {error}", flush=True)
            failures[scenario.name] = str(error)
            continue
        print_report(report)
        reports.append(report)
    return reports, failures


def _places(scenarios: list[Scenario], logs: Path | None) -> Iterator[tuple[Place, Scenario]]:
    """Each scenario with running brokers of its kind and a directory of its own."""
    with tempfile.TemporaryDirectory(prefix="fraudstream-chaos-") as temporary:
        root = logs or Path(temporary)
        numbers = itertools.count(1)
        for (brokers, has_line), group in itertools.groupby(scenarios, lambda one: (one.brokers, one.has_line)):
            number = next(numbers)
            with ExitStack() as stack:
                line = stack.enter_context(Line()) if has_line else None
                cluster = KafkaCluster(
                    brokers, directory=root / f"{number}-brokers", told_port=line.port if line else None
                )
                if line is not None:
                    line.lead_to(cluster.port)
                stack.enter_context(cluster)
                for scenario in group:
                    directory = root / f"{next(numbers)}"
                    directory.mkdir(parents=True)
                    yield Place(cluster, line, directory), scenario


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="tries to break what is promised")
    parser.add_argument("--short", action="store_true", help="a few minutes of it, as CI does")
    parser.add_argument("--only", action="append", help="scenarios whose names hold this; may be given again")
    parser.add_argument("--list", action="store_true", help="say what would run")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000), help="of every random choice")
    parser.add_argument("--rate", type=float, default=2_000.0, help="transactions a second (default 2000)")
    parser.add_argument("--logs", type=Path, help="a new directory that keeps logs and disks of workers and brokers")
    parser.add_argument("--json", type=Path, help="write the reports here")
    parser.add_argument("--markdown", type=Path, help="put the table between the marks of this page")
    return parser


if __name__ == "__main__":
    sys.exit(main())
