"""Measures every case in turn: `python -m benchmarks [--all] [--rows 200000] [--repeats 3] [--markdown FILE] ...`.

Ends with 0 when each target is reached whose cases were measured, with 1 when one is not or nothing could be measured.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.broker import Broker, running_broker
from benchmarks.cases import CASES, FULL_PATH, PARTITIONS, WARM_UP_RECORDS, Case
from benchmarks.catalogue import ALL_CASES, BY_NAME
from benchmarks.measure import SETTLE_S, measure, warm_broker
from benchmarks.peer_cases import KAFKA_STREAMS, PYTHON, java_version, peer_versions
from benchmarks.records import Records, load_records, of_few_users
from benchmarks.report import Run, as_json, markdown_page, markdown_table, targets_table
from benchmarks.summary import Sample, order_of_round
from fraudstream.errors import FraudstreamError
from fraudstream.machine import Machine, this_machine
from tests.servers.jars import ServerUnavailableError

LIBRARIES = ("faust-streaming", "aiokafka", "msgspec", "numba", "numpy", "rocksdict", "scikit-learn", "torch", "uvloop")
"""Whose versions have a say in the figures."""


def main() -> int:
    """Runs the rounds, prints the table, writes what was asked for."""
    options = _options()
    # As Ctrl-C, so that the broker and the measured process end with this one.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        run = _run(_chosen(options), _rows(options), options.repeats)
    except (FraudstreamError, ServerUnavailableError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("benchmarks: stopped before the end, nothing is written", file=sys.stderr)
        return 1
    print(f"\n{markdown_table(run)}\n\n{targets_table(run)}")
    if options.json:
        options.json.write_text(json.dumps(as_json(run), indent=2) + "\n", encoding="utf-8")
    if options.plot:
        from benchmarks.plot import draw

        draw(run.figures, options.plot)
    if options.markdown:
        options.markdown.write_text(markdown_page(run, options.plot.name if options.plot else ""), encoding="utf-8")
    return 0 if run.reached else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=(__doc__ or "").splitlines()[0],
        epilog="cases: " + ", ".join(BY_NAME),
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--all", action="store_true", help="every case; without it the short list")
    which.add_argument("--cases", type=_names, metavar="A,B", help="these cases")
    parser.add_argument("--rows", type=_positive, default=200_000, help="records in a measurement (default 200000)")
    parser.add_argument(
        "--rows-of",
        type=_rows_of,
        action="append",
        default=[],
        metavar="CASE=N",
        help="records of one case, which is a share of --rows otherwise; may be given several times",
    )
    parser.add_argument("--repeats", type=_positive, default=3, help="rounds (default 3)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="writes the result for machines")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="writes the page docs/performance.md")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draws CPU per event; the page shows it")
    return parser.parse_args()


def _chosen(options: argparse.Namespace) -> tuple[Case, ...]:
    if options.all:
        return ALL_CASES
    return tuple(case for case in ALL_CASES if case.name in options.cases) if options.cases else CASES


def _rows(options: argparse.Namespace) -> dict[str, int]:
    """Records of each case."""
    shares = {case.name: max(1, round(options.rows * case.share)) for case in ALL_CASES}
    return shares | dict(options.rows_of)


def _run(cases: Sequence[Case], rows: Mapping[str, int], repeats: int) -> Run:
    used = (BY_NAME[FULL_PATH], *cases)
    for prepare in dict.fromkeys(case.prepare for case in used):
        prepare()
    wanted = max(case.warm_up + rows[case.name] for case in used)
    print(f"reading {wanted:,} transactions", flush=True)
    records = load_records(wanted)
    with running_broker() as broker:
        print(f"records are {records.source}; Kafka at {broker.bootstrap}", flush=True)
        full_path = BY_NAME[FULL_PATH]
        given = records.messages[: full_path.warm_up + rows[FULL_PATH]]
        warm_broker(full_path, broker, given[: full_path.warm_up], given[full_path.warm_up :])
        samples = _measure_all(broker, cases, records, rows, repeats)
    return Run(
        date=datetime.now(UTC),
        machine=_machine(cases),
        command=" ".join(["python -m benchmarks", *sys.argv[1:]]),
        broker=broker.title,
        partitions=PARTITIONS,
        source=records.source,
        mean_bytes=records.mean_bytes,
        warm_up=WARM_UP_RECORDS,
        settle_s=SETTLE_S,
        samples=samples,
    )


def _measure_all(
    broker: Broker, cases: Sequence[Case], records: Records, rows: Mapping[str, int], repeats: int
) -> dict[str, list[Sample]]:
    samples: dict[str, list[Sample]] = {case.name: [] for case in cases}
    for number in range(repeats):
        for name in order_of_round(tuple(samples), number):
            case = BY_NAME[name]
            sample = _measured(case, broker, records, rows)
            samples[name].append(sample)
            print(
                f"round {number + 1} of {repeats}  {name:26} {sample.cpu_us_per_event:8.1f} µs CPU per event "
                f"{sample.events_per_second:10,.0f} events/s  load {sample.load:.1f}",
                flush=True,
            )
    return samples


def _measured(case: Case, broker: Broker, records: Records, rows: Mapping[str, int]) -> Sample:
    given = records.messages[: case.warm_up + rows[case.name]]
    if case.users:
        given = of_few_users(given, case.users)
    with nullcontext(broker) if case.brokers == 1 else running_broker(case.brokers) as used:
        return measure(case, used, given[: case.warm_up], given[case.warm_up :])


def _machine(cases: Iterable[Case]) -> Machine:
    """This machine, with the versions of what was measured."""
    machine = this_machine(LIBRARIES)
    if any(case.command[0] == str(PYTHON) for case in cases):
        machine.libraries.update(peer_versions())
    if any(case.name == KAFKA_STREAMS for case in cases):
        machine.libraries["Java"] = java_version()
    return machine


def _names(text: str) -> list[str]:
    names = text.split(",")
    unknown = [name for name in names if name not in BY_NAME]
    if unknown:
        raise argparse.ArgumentTypeError(f"expected some of {', '.join(BY_NAME)}, got {', '.join(unknown)}")
    return names


def _rows_of(text: str) -> tuple[str, int]:
    name, _, number = text.partition("=")
    _names(name)
    return name, _positive(number)


def _positive(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, got {text}")
    return number


if __name__ == "__main__":
    sys.exit(main())
