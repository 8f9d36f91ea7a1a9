"""Fails where the hot path has become dearer: `python -m benchmarks.guard [--store]`, in a minute.

Two things are held against benchmarks/guard.json: the full path's CPU as a share of Faust's stock pass-through, on a
real broker; and that of each stage beside a loop of its kind (stages.py). `--store` writes today's figures instead.

Processors differ in what a loop costs beside another, by half and more, so figures are stored for each kind of them.
One that none were stored for is held to the dearest full path alone: that ratio is the same on all of them within a
tenth. What its stages cost beside those of the others is shown, and tells where to look.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from pathlib import Path

from benchmarks.broker import running_broker
from benchmarks.cases import FULL_PATH, STOCK, WARM_UP_RECORDS
from benchmarks.catalogue import BY_NAME
from benchmarks.measure import running
from benchmarks.records import load_records
from benchmarks.stages import STAGES, stage_ratios
from fraudstream.errors import FraudstreamError
from fraudstream.machine import this_machine
from tests.servers.jars import ServerUnavailableError

STORED = Path(__file__).with_name("guard.json")
ALLOWED = 0.15
STAGES_S = 8.0
ROUNDS, MORE_ROUNDS = 3, 2
WHOLE = "full path / pass-through"


def main() -> int:
    """Measures and compares.

    Returns:
        The exit code: 0 within what is allowed, 1 dearer or not to be measured.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.guard", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=30_000, help="records of each round on the broker (default 30000)")
    parser.add_argument("--stages-only", action="store_true", help="no broker, the stages alone")
    parser.add_argument("--store", action="store_true", help="keeps what is measured as what later runs are held to")
    options = parser.parse_args()
    started_s = time.monotonic()
    kinds: dict[str, dict[str, float]] = json.loads(STORED.read_text("utf-8")) if STORED.exists() else {}
    processor = this_machine(()).processor
    stored = figures_of(processor, kinds)
    is_known, judged = processor in kinds, judged_of(processor, kinds)
    print(
        f"{processor}: held to its own figures" if is_known else
        f"{processor}: no stored figures; {WHOLE} is held to the dearest of {len(kinds)} others, stages are shown only"
    )  # fmt: skip
    try:
        measured = least(lambda: stage_ratios(STAGES_S), stored if is_known else {}, 1)
        if not options.stages_only:
            measured |= _whole_ratio(options.rows, stored)
    except (FraudstreamError, ServerUnavailableError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    if options.store:
        kinds[processor] = {**kinds.get(processor, {}), **measured}
        STORED.write_text(json.dumps(kinds, indent=2) + "\n", encoding="utf-8")
        print(f"stored in {STORED.name} for {processor}: {measured}")
        return 0
    dearer = compare(stored, measured, judged)
    print(f"measured in {time.monotonic() - started_s:.0f} s")
    for problem in dearer:
        print(f"bench-guard: {problem}", file=sys.stderr)
    return 1 if dearer else 0


def figures_of(processor: str, kinds: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """What a processor is held to: what was stored for its kind, or the dearest of all kinds."""
    if processor in kinds:
        return dict(kinds[processor])
    names = dict.fromkeys(name for figures in kinds.values() for name in figures)
    return {name: max(figures[name] for figures in kinds.values() if name in figures) for name in names}


def judged_of(processor: str, kinds: Mapping[str, object]) -> tuple[str, ...]:
    """The figures that must hold: all, or without stored ones the only one that is alike on every processor."""
    return (*STAGES, WHOLE) if processor in kinds else (WHOLE,)


def compare(stored: Mapping[str, float], measured: Mapping[str, float], judged: Collection[str]) -> list[str]:
    """Prints a line for each figure; returns which of the judged ones are dearer than allowed, in words."""
    dearer = []
    for name, now in measured.items():
        before = stored.get(name)
        if before is None:
            dearer.append(f"{name}: expected a stored figure in {STORED.name}, found none; run with --store")
            continue
        change = now / before - 1
        hint = "; store it, so that it is kept" if change < -ALLOWED else ""
        print(f"{name:26} {before:8.3f} stored, {now:8.3f} now, {change:+.1%}{hint}")
        if name in judged and _is_dearer(before, now):
            what = f"the stage `{name}`" if name in STAGES else f"the whole ({name})"
            dearer.append(
                f"{what} costs {change:+.1%} CPU against what is stored, at most {ALLOWED:+.0%} is allowed; if that is "
                "the price of something wanted, run `make bench-guard ARGS=--store` and say so in the commit"
            )
    return dearer


def least(measure: Callable[[], dict[str, float]], stored: Mapping[str, float], rounds: int) -> dict[str, float]:
    """The least of so many rounds, and of some more while one is too dear: what else the machine does only adds."""
    found: dict[str, float] = {}
    for number in range(rounds + MORE_ROUNDS):
        if number >= rounds and not any(_is_dearer(stored.get(name), now) for name, now in found.items()):
            break
        found = {name: min(now, found.get(name, now)) for name, now in measure().items()}
    return found


def _is_dearer(before: float | None, now: float) -> bool:
    return before is not None and now / before - 1 > ALLOWED


def _whole_ratio(rows: int, stored: Mapping[str, float]) -> dict[str, float]:
    """The full path beside pass-through; both run all the time, as starting them takes longer than what is measured."""
    messages = load_records(WARM_UP_RECORDS + (ROUNDS + MORE_ROUNDS) * rows).messages
    with ExitStack() as stack:
        broker = stack.enter_context(running_broker())
        stock, full = (stack.enter_context(running(BY_NAME[name], broker)) for name in (STOCK, FULL_PATH))
        for consumer in (stock, full):
            consumer.warm_up(messages[:WARM_UP_RECORDS])
        parts = iter(range(WARM_UP_RECORDS, len(messages), rows))

        def one_round() -> dict[str, float]:
            at = next(parts)
            records = messages[at : at + rows]
            return {WHOLE: 1 / stock.take(records).cpu_s * full.take(records).cpu_s}

        found = least(one_round, stored, ROUNDS)
        stock.finish()
        full.finish()
    return found


if __name__ == "__main__":
    sys.exit(main())
