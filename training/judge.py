"""Judges a history offline on all cores: the engine, the ensemble and the words of the worker's pipeline, on columns.

A verdict is, byte for byte, the one that a worker makes of the row as a message that came in its own second.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fraudstream.features.engine import ComputedRows
from fraudstream.pipeline import Detector, Facts, say
from fraudstream.score.ensemble import Ensemble
from fraudstream.training.cores import Cores
from fraudstream.training.history import History
from fraudstream.training.packing import pack_history
from fraudstream.training.refusals import find_refusals
from fraudstream.training.replay import FeatureStream
from fraudstream.training.times import NS_PER_S
from fraudstream.verdict_lines import VerdictColumns
from fraudstream.wire.texts import json_texts, texts_of

BATCH_ROWS = 4096
STRETCH_BATCHES = 16
"""Batches whose features are in memory at a time: enough to share their users out among the cores."""

PARTITION = 0
"""Of all rows, as if they came from a topic with one partition."""

_NS_PER_MS = 1_000_000


@dataclass(frozen=True, slots=True, eq=False)
class JudgedRows:
    """What was said of some rows that follow on each other, without those that a worker would refuse.

    Attributes:
        verdicts: column by column.
        features: (n, FEATURE_COUNT).
    """

    verdicts: VerdictColumns
    features: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.verdicts)


def judge(
    detector: Detector, history: History, *, batch: int = BATCH_ROWS, workers: int | None = None
) -> Iterator[tuple[int, JudgedRows]]:
    """Rows judged so far and what was said of the latest of them, in the history's order.

    Args:
        detector: what judges.
        history: row i counts as source offset i, and its own time as the broker's.
        batch: rows that are judged at a time; verdicts do not depend on it.
        workers: cores to use (default: all); verdicts do not depend on it. A model of one's own runs on one.

    Raises:
        ModelError: no model is left to score with.
    """
    refused, _ = find_refusals(history.table, math.inf)
    rows = np.flatnonzero(~refused)
    accepted = History(history.table.filter(pa.array(~refused))) if refused.any() else history
    packed = pack_history(accepted)
    with Cores(workers) as cores, Cores(1) as one:
        stream = FeatureStream(packed, detector.engine.again, cores, {}, batch)
        # Nobody promised that a model of one's own can be asked twice at a time.
        judging = cores if isinstance(detector.ensemble, Ensemble) else one
        for start in range(0, len(packed), batch * STRETCH_BATCHES):
            stop = min(start + batch * STRETCH_BATCHES, len(packed))
            computed = stream.compute(start, stop)
            parts = [slice(at, min(at + batch, stop)) for at in range(start, stop, batch)]
            tasks = (
                partial(_judge, detector, accepted, rows[part], part.start, computed.part(_moved(part, -start)))
                for part in parts
            )
            for part, judged in zip(parts, judging.map(tasks), strict=True):
                yield int(rows[part.stop]) if part.stop < len(rows) else len(history), judged


def _judge(
    detector: Detector, history: History, offsets: NDArray[np.int64], first: int, computed: ComputedRows
) -> JudgedRows:
    """Judges the rows of the history from `first` on, as many as there are offsets."""
    scores = detector.ensemble.score(computed.features, computed.sequences)
    rows = History(history.table.slice(first, len(offsets)))
    times_ns = rows.numbers("timestamp")
    facts = Facts(
        texts=texts_of(*(json_texts(rows.table[name].to_pylist()) for name in ("transaction_id", "user_id"))),
        amounts=rows.numbers("amount"),
        event_s=times_ns // NS_PER_S,
        received_ms=times_ns // _NS_PER_MS,
        partitions=np.full(len(offsets), PARTITION),
        offsets=offsets,
    )
    return JudgedRows(say(detector, facts, computed, scores), computed.features)


def _moved(part: slice, by: int) -> slice:
    return slice(part.start + by, part.stop + by)
