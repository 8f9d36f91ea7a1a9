"""Trains and judges models on every labelled set at hand: `python -m fraudstream.training.evaluate_models`.

Training and judging are those of `fraudstream train` and `fraudstream evaluate`, with their defaults; the environment
has no say. Tables go to stdout, progress to stderr. Ends with 0, or with 2 where something cannot be read or written.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fraudstream.errors import DataFileError, FraudstreamError
from fraudstream.machine import Machine, this_machine
from fraudstream.settings import Settings
from fraudstream.training import recipe
from fraudstream.training.checks import DataReport
from fraudstream.training.evaluate import Judged, Order, judge_model
from fraudstream.training.evaluate_sets import (
    DIRECTORY,
    QUICK_ROWS,
    SIMULATED_ROWS,
    LabelledSet,
    files_in,
    known_sets,
    simulated,
)
from fraudstream.training.evaluate_tables import Measured, page, put_between_marks
from fraudstream.training.findings import find

LIBRARIES = ("numba", "numpy", "pyod", "river", "scikit-learn", "torch")
"""Whose versions have a say in the figures."""
ALLOWED_LATENESS_S = int(Settings.model_fields["allowed_lateness_s"].default)
QUICK_DRAWS = 20
TOLD_EVERY_S = 10.0
EXIT_WRONG_USE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, prints the tables and writes what was asked for; returns the exit code."""
    options = _options(arguments)
    try:
        _check_places(options)
        with TemporaryDirectory() as work:
            measured = [_measure(one, options, Path(work)) for one in _labelled_sets(options, Path(work))]
        date, machine = datetime.now(UTC), this_machine(LIBRARIES)
        tables = page(measured, date, machine)
        sys.stdout.write(f"{tables}\n")
        if options.markdown is not None:
            text = options.markdown.read_text(encoding="utf-8")
            options.markdown.write_text(put_between_marks(text, tables), encoding="utf-8")
        if options.json is not None:
            options.json.write_text(json.dumps(_as_json(measured, date, machine), indent=2) + "\n", encoding="utf-8")
    except (FraudstreamError, OSError) as error:
        _tell(f"evaluate-models: {error}")
        return EXIT_WRONG_USE
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make evaluate-models ARGS=...", description="Trains and judges models on every labelled set at hand."
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="of the models (default: 0 1)")
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="where sparkov_a.parquet and handbook.parquet are (../shared/data)"
    )
    parser.add_argument("--quick", action="store_true", help="a short simulated stream only, to see that it works")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="puts the tables between the marks of this file")
    parser.add_argument("--json", type=Path, metavar="FILE", help="writes the result for machines")
    options = parser.parse_args(arguments)
    if min(options.seeds) < 0:
        parser.error(f"argument --seeds: expected numbers from 0 on, got {min(options.seeds)}")
    return options


def _check_places(options: argparse.Namespace) -> None:
    """Finds out now, not after half an hour, what could not be read or written."""
    if options.markdown is not None:
        put_between_marks(options.markdown.read_text(encoding="utf-8"), "")
    if options.json is not None and not options.json.absolute().parent.is_dir():
        raise DataFileError(f"--json: expected a file in a directory that exists, {options.json.parent} does not")
    if options.json is not None and options.json.is_dir():
        raise DataFileError(f"--json: expected a file, {options.json} is a directory; name a file in it")
    if options.data is not None and not list(files_in(options.data)):
        raise DataFileError(f"--data: expected sparkov_a.parquet or handbook.parquet in {options.data}, found neither")


def _labelled_sets(options: argparse.Namespace, work: Path) -> Iterator[LabelledSet]:
    if not options.quick:
        for one in known_sets(options.data or DIRECTORY):
            if one.source.is_file():
                yield one
            else:
                _tell(f"{one.title}: {one.source} is not there, it is left out")
    yield simulated(work, QUICK_ROWS if options.quick else SIMULATED_ROWS)


def _measure(one: LabelledSet, options: argparse.Namespace, work: Path) -> Measured:
    by_seed, train_s = {}, {}
    other: Judged | None = None
    for seed in options.seeds:
        _tell(f"{one.title}, seed {seed}")
        model = work / f"{one.source.stem}_{seed}"
        began_s = time.perf_counter()
        recipe.train(
            recipe.Order(
                source=one.source,
                out=model,
                columns={},
                since=None,
                until=one.learnt_until,
                seed=seed,
                allowed_lateness_s=ALLOWED_LATENESS_S,
            ),
            _Told(),
        )
        train_s[seed] = time.perf_counter() - began_s
        order = Order(
            model=model,
            source=one.source,
            since=one.since,
            until=one.until,
            without_compromised=one.without_compromised,
            allowed_lateness_s=ALLOWED_LATENESS_S,
        )
        other = judge_model(order, _steps, other)
        draws = QUICK_DRAWS if options.quick else order.draws
        by_seed[seed] = find(other, order.seed, draws, _steps)
    return Measured(one, by_seed, train_s)


def _as_json(measured: Sequence[Measured], date: datetime, machine: Machine) -> dict[str, Any]:
    return {
        "date": date.isoformat(),
        "machine": asdict(machine),
        "data_sets": {
            one.data_set.source.stem: {
                "title": one.data_set.title,
                "learnt_until": one.data_set.learnt_until,
                "since": one.data_set.since,
                "until": one.data_set.until,
                "seeds": {
                    str(seed): {"train_s": round(one.train_s[seed], 1), **found.as_json()}
                    for seed, found in one.by_seed.items()
                },
            }
            for one in measured
        },
    }


@contextmanager
def _steps(what: str, total: int, unit: str = "rows") -> Iterator[Callable[[int], None]]:
    """A line each time that a step has gone on for a while, and one at its end."""
    began_s = told_s = time.monotonic()

    def advance(done: int) -> None:
        nonlocal told_s
        now_s = time.monotonic()
        if now_s - told_s >= TOLD_EVERY_S and done:
            told_s = now_s
            left_s = (total - done) * (now_s - began_s) / done
            _tell(f"  {what}: {done:,} of {total:,} {unit}, about {left_s:.0f} s left")

    yield advance
    _tell(f"  {what}: {time.monotonic() - began_s:.1f} s")


class _Told:
    """The recipe's progress; what it says of the file is known."""

    progress = staticmethod(_steps)

    @staticmethod
    def line(text: str) -> None:
        """Steps are told at their end anyway."""

    @staticmethod
    def data(report: DataReport) -> None:
        """The files are no news."""


def _tell(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
