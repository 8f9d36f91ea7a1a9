"""What each stage of the pipeline costs beside small loops of the same kind, in this process and on a fixed input.

CPU time says little on a machine that one does not know. So it is divided by that of a loop that does the same sort of
work and never changes: interpreted Python for decoding and for the verdict, a compiled loop for features and models.
Instructions would repeat better, but virtual machines seldom let them be counted, and valgrind needs most of a minute
for the imports alone.
"""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fraudstream.compiled import compiled
from fraudstream.detector import load_detector, warm_up
from fraudstream.pipeline import Detector, process
from fraudstream.settings import Settings
from fraudstream.state.profile import EMPTY
from fraudstream.training.history import encode_rows
from fraudstream.training.simulate import SimulationSpec, simulate

BATCH, BATCHES = 512, 4
USERS = 60
BROKER_TIME_MS = 1_800_000_000_000

STAGES = {"decode": "python", "load": "python", "features": "compiled", "score": "compiled", "decide": "python"}
"""The pipeline's stages, each with the loop that it is held against."""


@dataclass(frozen=True, slots=True)
class _Record:
    """A message of the fixed input."""

    key: bytes
    value: bytes
    offset: int
    topic: str = "transactions"
    partition: int = 0
    timestamp: int = BROKER_TIME_MS


def stage_ratios(seconds: float) -> dict[str, float]:
    """CPU of each stage as a multiple of its loop's, measured in turns.

    Of both the least, which noise only adds to; of a stage that of each batch, so that both are of a few milliseconds
    and find a quiet moment equally often.
    """
    detector = load_detector(Settings.model_construct())
    warm_up(detector)
    records = _fixed_input()
    loops: dict[str, Callable[[], object]] = {
        "python": _python_loop,
        "compiled": _compiled_loop,
    }
    stage_s = {stage: np.full(BATCHES, np.inf) for stage in STAGES}
    loop_s = dict.fromkeys(loops, np.inf)
    for loop in loops.values():
        loop()  # compiles
    until_s = time.monotonic() + seconds
    gc.disable()  # whose work would fall on any of them
    try:
        while time.monotonic() < until_s:
            for name, took_s in _judge(detector, records).items():
                np.minimum(stage_s[name], took_s, out=stage_s[name])
            for name, loop in loops.items():
                loop_s[name] = min(loop_s[name], _cpu_s(loop))
    finally:
        gc.enable()
    return {stage: float(stage_s[stage].sum()) / loop_s[loop] for stage, loop in STAGES.items()}


def _fixed_input() -> list[_Record]:
    """The same transactions everywhere; enough per user for profiles that are not empty."""
    messages = encode_rows(simulate(SimulationSpec(transactions=BATCH * BATCHES, users=USERS, days=20)))
    return [_Record(key, value, offset) for offset, (key, value) in enumerate(messages)]


def _judge(detector: Detector, records: list[_Record]) -> dict[str, NDArray[np.float64]]:
    """Judges all of it from empty profiles on; the CPU of each stage in each batch."""
    profiles: dict[tuple[int, bytes], bytes] = {}
    took_s = {stage: np.zeros(BATCHES) for stage in STAGES}
    for number in range(BATCHES):
        since_s = time.process_time()

        def done(stage: str, number: int = number) -> None:
            nonlocal since_s
            now_s = time.process_time()
            took_s[stage][number] += now_s - since_s
            since_s = now_s

        batch = records[number * BATCH : (number + 1) * BATCH]
        outcome = process(detector, batch, lambda partition, key: profiles.get((partition, key), EMPTY), done)
        profiles.update(outcome.profiles)
    return took_s


def _cpu_s(work: Callable[[], object]) -> float:
    before_s = time.process_time()
    work()
    return time.process_time() - before_s


def _python_loop() -> int:
    """Objects, strings and calls, kept for as long as those of a batch are: the memory that they touch counts too."""
    made = []
    for number in range(1_000):
        one = {"transaction_id": f"t{number}", "user_id": str(number % 7), "amount": number / 3, "reasons": []}
        made.append((one, json.dumps(one).encode(), [float(number + at) for at in range(20)]))
    return len(made)


def _compiled_loop() -> float:
    return float(_rescan(_VALUES))


@compiled
def _rescan(values: NDArray[np.float64]) -> float:
    """Windows summed again for each event, with a branch for each value."""
    total = 0.0
    for at in range(len(values)):
        for before in range(max(0, at - 200), at):
            if values[before] < values[at]:
                total += values[before]
            else:
                total -= 1.0
    return total


_VALUES = np.random.default_rng(0).random(12_000)
