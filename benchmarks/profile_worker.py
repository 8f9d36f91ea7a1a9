"""Where a worker's time goes under a backlog: `python -m benchmarks.profile_worker [--rows 300000] [--raw FILE]`.

py-spy samples the worker of the full path while it works off records that lie ready; each sample counts for the
innermost part that its stack passes through. Shares of time, not of CPU: what waits for the kernel counts too.
"""

from __future__ import annotations

import argparse
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from shutil import which

from benchmarks.broker import running_broker
from benchmarks.cases import FULL_PATH, WARM_UP_RECORDS
from benchmarks.catalogue import BY_NAME
from benchmarks.circumstances import measured_on
from benchmarks.measure import running, warm_broker
from benchmarks.process_figures import MeasurementError
from benchmarks.records import load_records
from benchmarks.summary import Sample
from fraudstream.errors import FraudstreamError
from fraudstream.machine import this_machine
from tests.servers.jars import ServerUnavailableError

SAMPLES_PER_S = 400
ATTACHED_AFTER_S = 1.0

PARTS: Mapping[str, str] = {
    "forest": r"Forest\.score ",
    "autoencoder, with the ranks of its inputs": r"Autoencoder\.score ",
    "lstm": r"Lstm\.score ",
    "ranks and the ensemble's score": r"Ensemble\.|Prepared\.score ",
    "reasons of flagged transactions": r"reasons_of_rows ",
    "verdicts as JSON": r"encoded \(fraudstream/verdict_lines",
    "records out of fetched batches": r"BatchReader\.",
    "decode": r"decode \(fraudstream/intake",
    "profiles looked up, transactions packed": r"with_profiles ",
    "features and new profiles": r"FeatureEngine\.run |prepare \(",
    "thresholds, columns, evidence": r"conclude \(",
    "producer batches": r"Scoring\._send ",
    "checkpoint: changelog, RocksDB, commit": r"Scoring\._(checkpoint|start_checkpoint|end_commit) ",
    "metrics and the console's feed": r"BatchMetrics\.|LiveFeed\.",
    "requests to the broker": r"aiokafka/producer|aiokafka/client|aiokafka/conn",
    "fetching": r"aiokafka/consumer|faust/transport|fraudstream/agents/transport|ServiceThread",
    "letting go of a batch's objects": r"Scoring\._take ",
    "event loop, Faust's stream and agent": r"",
}
"""Names of the parts, in the order of the table, and what a frame of theirs looks like; the last takes what is left."""


def main() -> int:
    """Prints one table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.profile_worker", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--rows", type=int, default=300_000, help="records that lie ready (default 300000)")
    parser.add_argument("--raw", type=Path, metavar="FILE", help="keeps the stacks, for a flame graph")
    options = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as directory:
            raw = options.raw or Path(directory) / "stacks"
            sample = _profile(options.rows, raw)
            stacks = raw.read_text(encoding="utf-8").splitlines()
    except (FraudstreamError, ServerUnavailableError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    print(table(shares(stacks), sample.cpu_us_per_event))
    print("\n" + measured_on(datetime.now(UTC), this_machine(("aiokafka", "numba", "uvloop")), [sample.load]))
    return 0


def shares(stacks: Iterable[str]) -> dict[str, float]:
    """The share of each part, in the order of PARTS.

    Args:
        stacks: lines of py-spy's raw form, `outermost;...;innermost count`.
    """
    patterns = {part: re.compile(pattern) for part, pattern in PARTS.items()}
    counts: Counter[str] = Counter()
    for line in stacks:
        frames, _, count = line.rpartition(" ")
        counts[_part_of(frames.split(";"), patterns)] += int(count)
    total = counts.total() or 1
    return {part: counts[part] / total for part in PARTS}


def _part_of(frames: list[str], patterns: Mapping[str, re.Pattern[str]]) -> str:
    *named, rest = patterns
    for frame in reversed(frames):
        for part in named:
            if patterns[part].search(frame):
                return part
    return rest


def table(found: Mapping[str, float], cpu_us_per_event: float) -> str:
    """A line for each part: its share, and what that is of an event's CPU."""
    rows = ["| part | share | µs per event |", "|---|---:|---:|"]
    rows += [f"| {part} | {share:.1%} | {share * cpu_us_per_event:.1f} |" for part, share in found.items()]
    return "\n".join([*rows, f"| all, py-spy's own disturbance included | 100 % | {cpu_us_per_event:.1f} |"])


def _profile(rows: int, raw: Path) -> Sample:
    beside = Path(sys.executable).with_name("py-spy")
    spy = str(beside) if beside.exists() else which("py-spy")
    if spy is None:
        raise MeasurementError("expected py-spy, found none: pip install 'fraudstream[bench]'")
    records = load_records(WARM_UP_RECORDS + rows).messages
    given, full_path = (records[:WARM_UP_RECORDS], records[WARM_UP_RECORDS:]), BY_NAME[FULL_PATH]
    with running_broker() as broker:
        warm_broker(full_path, broker, *given)
        with running(full_path, broker) as consumer:
            consumer.warm_up(given[0])
            (pid,) = consumer.pids
            command = [spy, "record", "--pid", str(pid), "--rate", str(SAMPLES_PER_S), "--nonblocking"]
            command += ["--format", "raw", "--output", str(raw), "--duration", "3600"]
            with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as spying:
                time.sleep(ATTACHED_AFTER_S)
                sample = consumer.take(given[1])
                spying.send_signal(signal.SIGINT)
                _, said = spying.communicate()
            consumer.finish()
    if not raw.exists():
        raise MeasurementError(f"expected py-spy to write its samples, it ended with {spying.returncode}: {said}")
    return sample


if __name__ == "__main__":
    sys.exit(main())
