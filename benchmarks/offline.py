"""How fast a history is replayed and learnt: `python -m benchmarks.offline [--markdown docs/performance-offline.md]`.

Features alone and whole verdicts, on one core and on all, then `fraudstream train` as users start it. No broker takes
part. The runs on one core and on all take turns, so that what else the machine does falls on both.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from benchmarks.process_figures import MeasurementError
from benchmarks.records import DATA_SET
from fraudstream.detector import load_detector, warm_up
from fraudstream.errors import FraudstreamError
from fraudstream.machine import Machine, this_machine
from fraudstream.pipeline import Detector
from fraudstream.settings import load_settings
from fraudstream.training.cores import available_cores
from fraudstream.training.history import History, read_history, write
from fraudstream.training.judge import judge
from fraudstream.training.replay import replay_features
from fraudstream.training.simulate import SimulationSpec, simulate

ROWS = 1_200_000
ROUNDS = 3
WARM_UP_ROWS = 5_000
FEATURES, VERDICTS, TRAINING = "features", "verdicts", "training"
TARGET_ROWS_PER_S = {FEATURES: 200_000, VERDICTS: 60_000}
"""On two cores of a machine of today."""
TARGET_TRAINING_S = 360
LIBRARIES = ("numba", "numpy", "pyarrow", "scikit-learn", "torch")


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one kind of work.

    Attributes:
        work: features, verdicts or training.
        cores: how many it used.
        rows: of the history.
        seconds: of the clock, of each round.
        cpu_s: seconds of CPU, of each round.
        load: the machine's load average before the first round.
    """

    work: str
    cores: int
    rows: int
    seconds: tuple[float, ...]
    cpu_s: tuple[float, ...]
    load: float

    @property
    def rows_per_s(self) -> float:
        """Of the round in the middle."""
        return self.rows / median(self.seconds)


PAGE = """\
# How fast a history is replayed and learnt

Written by `python -m benchmarks.offline --markdown docs/performance-offline.md` (`make bench-offline`).

| work | cores | rows/s | seconds | CPU s |
|---|---:|---:|---:|---:|
{rows}

{total:,} rows of {source}. Measured on {date}: {processor}, {cores} cores, {memory:g} GiB, {kernel}, Python {python};
{libraries}. The middle of {rounds} rounds, training once. Load average before each row: {load}.

## How it is measured

- `features`: from the columns in memory to the features and sequences of every row, as `fraudstream train` and
  `fraudstream evaluate` replay them.
- `verdicts`: the same, and scores, thresholds and reasons of every row, as `fraudstream replay` judges them, without
  writing them to a file. {flagged:.1%} of the rows are flagged; each of them needs its reasons found.
- `training`: `fraudstream train` from the start of its process to the finished model directory.
- Rows of one user are computed in their order by one core, whichever it is. One core or several, and batches of any
  size, give the same bits (`tests/meticulous/test_replay.py`, `tests/meticulous/test_judge.py`).
- Asked for on two cores: {features_target:,} rows/s of features, {verdicts_target:,} rows/s of verdicts, and a training
  on 1.2 million rows within {training_target} s.
"""


def main() -> int:
    """Measures everything and prints the table."""
    options = _options()
    try:
        history, source = _history(options.input, options.rows)
        detector = load_detector(load_settings())
        warm_up(detector)
        for _, work in _works(detector, history.head(WARM_UP_ROWS)):
            work(None)
        results = [_show(one) for one in _offline(detector, history, options.rounds)]
        if options.train:
            results.append(_show(_training(history)))
    except FraudstreamError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    machine, flagged = this_machine(LIBRARIES), _flagged(detector, history)
    if options.json:
        told = {"source": source, "date": _now(), "machine": asdict(machine), "flagged": flagged}
        told["results"] = [asdict(one) | {"rows_per_s": one.rows_per_s} for one in results]
        options.json.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    if options.markdown:
        options.markdown.write_text(page(results, machine, source, flagged), encoding="utf-8")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.offline", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=ROWS, help="of the history (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of each (default %(default)s)")
    parser.add_argument(
        "--input", type=Path, default=DATA_SET, metavar="FILE", help="default: a data set, or the simulator's stream"
    )
    parser.add_argument("--train", action=argparse.BooleanOptionalAction, default=True, help="the training too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="writes the result for machines")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="writes the page docs/performance-offline.md")
    return parser.parse_args()


def _history(path: Path, rows: int) -> tuple[History, str]:
    if path.exists():
        return read_history(path, rows=rows), path.name
    if path != DATA_SET:
        raise MeasurementError(f"{path}: expected a .parquet or .csv file, there is none")
    return simulate(SimulationSpec(transactions=rows)), "the simulator"


def _works(detector: Detector, history: History) -> Iterator[tuple[str, Callable[[int | None], object]]]:
    """Each kind of work, which takes the number of cores."""
    engine = detector.engine
    yield (
        FEATURES,
        lambda cores: replay_features(history, engine.allowed_lateness_s, engine.reference, workers=cores),
    )
    yield VERDICTS, lambda cores: [done for done, _ in judge(detector, history, workers=cores)]


def _offline(detector: Detector, history: History, rounds: int) -> Iterator[Result]:
    for name, work in _works(detector, history):
        load, counts = os.getloadavg()[0], sorted({1, available_cores()})
        taken: dict[int, list[tuple[float, float]]] = {cores: [] for cores in counts}
        for _ in range(rounds):
            for cores in counts:
                started_s, cpu_s = time.perf_counter(), time.process_time()
                work(cores)
                taken[cores].append((time.perf_counter() - started_s, time.process_time() - cpu_s))
        for cores in counts:
            seconds, cpus_s = zip(*taken[cores], strict=True)
            yield Result(name, cores, len(history), seconds, cpus_s, load)


def _training(history: History) -> Result:
    """`fraudstream train` in a process of its own, as users start it."""
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="fraudstream-offline-") as directory:
        source = Path(directory) / "history.parquet"
        write(history, source)
        started_s, before = time.perf_counter(), os.times()
        command = [sys.executable, "-m", "fraudstream.cli.main", "train", "--input", str(source)]
        ran = subprocess.run(
            [*command, "--out", str(Path(directory) / "model")], check=False, capture_output=True, text=True
        )
        seconds, after = time.perf_counter() - started_s, os.times()
    if ran.returncode:
        raise MeasurementError(f"expected fraudstream train to make a model, it said: {ran.stdout}{ran.stderr}")
    cpu_s = after.children_user + after.children_system - before.children_user - before.children_system
    return Result(TRAINING, available_cores(), len(history), (seconds,), (cpu_s,), load)


def _flagged(detector: Detector, history: History) -> float:
    """Share of the rows whose reasons have to be found."""
    flags = [flag for _, judged in judge(detector, history) for flag in judged.verdicts.flagged.tolist()]
    return float(sum(flags) / max(len(flags), 1))


def _row(result: Result) -> str:
    return (
        f"| {result.work} | {result.cores} | {result.rows_per_s:,.0f} | {median(result.seconds):.1f} | "
        f"{median(result.cpu_s):.1f} |"
    )


def _show(result: Result) -> Result:
    print(_row(result), flush=True)
    return result


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")


def page(results: Sequence[Result], machine: Machine, source: str, flagged: float) -> str:
    """docs/performance-offline.md.

    Args:
        source: where the rows come from.
        flagged: share of the rows that is flagged.
    """
    loads = [result.load for result in results]
    return PAGE.format(
        rows="\n".join(map(_row, results)),
        total=results[0].rows,
        source=source,
        flagged=flagged,
        date=_now(),
        processor=machine.processor,
        cores=machine.cores,
        memory=machine.memory_gib,
        kernel=machine.kernel,
        python=machine.python,
        libraries=", ".join(f"{name} {version}" for name, version in machine.libraries.items()),
        rounds=len(results[0].seconds),
        load=f"{min(loads):.1f} to {max(loads):.1f}",
        features_target=TARGET_ROWS_PER_S[FEATURES],
        verdicts_target=TARGET_ROWS_PER_S[VERDICTS],
        training_target=TARGET_TRAINING_S,
    )


if __name__ == "__main__":
    sys.exit(main())
