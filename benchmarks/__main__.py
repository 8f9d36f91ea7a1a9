"""Measures every case in turn: `python -m benchmarks [--rows 200000] [--repeats 3] [--json FILE] [--markdown FILE]`.

Ends with 0 when the full path reaches its target, 1 when it does not or when nothing could be measured.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.broker import running_broker
from benchmarks.cases import CASES
from benchmarks.measure import PARTITIONS, SETTLE_S, measure
from benchmarks.records import Records, load_records
from benchmarks.report import Run, as_json, markdown_page, markdown_table, verdict_line
from benchmarks.summary import Sample, order_of_round
from fraudstream.errors import FraudstreamError
from fraudstream.machine import this_machine
from tests.servers.jars import KAFKA_VERSION, ServerUnavailableError

WARM_UP_RECORDS = 2_000
LIBRARIES = ("faust-streaming", "aiokafka", "msgspec", "numba", "numpy", "rocksdict", "torch", "uvloop")
"""Whose versions have a say in the figures."""


def main() -> int:
    """Runs the rounds, prints the table, writes what was asked for."""
    options = _options()
    # As Ctrl-C, so that the broker and the measured process end with this one.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        run = _run(options.rows, options.repeats)
    except (FraudstreamError, ServerUnavailableError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("benchmarks: stopped before the end, nothing is written", file=sys.stderr)
        return 1
    print(f"\n{markdown_table(run.figures)}\n\n{verdict_line(run)}")
    if options.json:
        options.json.write_text(json.dumps(as_json(run), indent=2) + "\n", encoding="utf-8")
    if options.markdown:
        options.markdown.write_text(markdown_page(run), encoding="utf-8")
    return 0 if run.reached else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=_positive, default=200_000, help="records in a measurement (default 200000)")
    parser.add_argument("--repeats", type=_positive, default=3, help="rounds (default 3)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="writes the result for machines")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="writes the page docs/performance.md")
    return parser.parse_args()


def _run(rows: int, repeats: int) -> Run:
    print(f"reading {rows + WARM_UP_RECORDS:,} transactions", flush=True)
    records = load_records(rows + WARM_UP_RECORDS)
    given = os.environ.get("KAFKA_SERVERS")
    with running_broker() as bootstrap:
        print(f"records are {records.source}; Kafka at {bootstrap}", flush=True)
        samples = _measure_all(bootstrap, records, repeats)
    return Run(
        date=datetime.now(UTC),
        machine=this_machine(LIBRARIES),
        broker="the Kafka of KAFKA_SERVERS" if given else f"one Kafka {KAFKA_VERSION} broker on the same machine",
        partitions=PARTITIONS,
        source=records.source,
        mean_bytes=records.mean_bytes,
        records=rows,
        warm_up=WARM_UP_RECORDS,
        settle_s=SETTLE_S,
        samples=samples,
    )


def _measure_all(bootstrap: str, records: Records, repeats: int) -> dict[str, list[Sample]]:
    warm_up, measured = records.messages[:WARM_UP_RECORDS], records.messages[WARM_UP_RECORDS:]
    cases = {case.name: case for case in CASES}
    samples: dict[str, list[Sample]] = {name: [] for name in cases}
    for number in range(repeats):
        for name in order_of_round(tuple(cases), number):
            sample = measure(cases[name], bootstrap, warm_up, measured)
            samples[name].append(sample)
            print(
                f"round {number + 1} of {repeats}  {name:26} {sample.cpu_us_per_event:7.1f} µs CPU per event "
                f"{sample.events_per_second:10,.0f} events/s  load {sample.load:.1f}",
                flush=True,
            )
    return samples


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, got {number}")
    return number


if __name__ == "__main__":
    sys.exit(main())
