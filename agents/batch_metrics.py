"""What a worker counts of each micro-batch: a few array operations, whose cost is shared by all that is in it."""

from __future__ import annotations

import time
from collections import Counter

import numpy as np
from numpy.typing import NDArray

from fraudstream.adapters.metric_catalogue import STAGES
from fraudstream.adapters.metrics import Metrics
from fraudstream.drift import Drift, DriftReference
from fraudstream.features.engine import DUPLICATE, LATE
from fraudstream.pipeline import Detector, Outcome
from fraudstream.score.ensemble import Ensemble
from fraudstream.score.transform import SMALLEST_TAIL

_AT = {stage: at for at, stage in enumerate(STAGES)}
_WAITING = _AT["commit_wait"], _AT["send"]


class StageClock:
    """Tells how long each stage of one micro-batch took.

    Attributes:
        seconds: by the order of STAGES.
        held_s: the longest time in which nothing else could run, as of the last `let_go`.
    """

    __slots__ = ("_held_before_s", "_since_s", "_started_s", "held_s", "seconds")

    def __init__(self) -> None:
        self.seconds = [0.0] * len(STAGES)
        self.held_s = self._held_before_s = 0.0
        self._started_s = self._since_s = time.perf_counter()

    def done(self, stage: str) -> None:
        """A stage is over; one that is told twice has two parts."""
        now_s = time.perf_counter()
        self.seconds[_AT[stage]] += now_s - self._since_s
        self._since_s = now_s

    def elapsed_s(self) -> float:
        """Since the beginning."""
        return time.perf_counter() - self._started_s

    def let_go(self, after_s: float) -> bool:
        """Others may run now, after a stage that was told, if nothing else could for so long; False otherwise.

        They also did in the stages that wait for the broker.
        """
        all_s = sum(self.seconds) - sum(self.seconds[at] for at in _WAITING)
        held_s = all_s - self._held_before_s
        self.held_s = max(self.held_s, held_s)
        if held_s < after_s:
            return False
        self._held_before_s = all_s
        return True

    def go_on(self) -> None:
        """The next stage begins now: the time of others is no stage's."""
        self._since_s = time.perf_counter()


class BatchMetrics:
    """Feeds the metrics of a worker; one per worker."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._model_version: str | None = None  # not the detector: a replaced one must not stay in memory
        self._drift: Drift | None = None
        self._uncommitted: list[NDArray[np.int64]] = []
        self._committing: list[NDArray[np.int64]] = []

    def observe_batch(self, detector: Detector, outcome: Outcome, records: int, seconds: float) -> None:
        """Counts a micro-batch whose verdicts were just sent.

        Args:
            detector: what judged it.
            records: messages in it, refused ones among them.
            seconds: how long it took.
        """
        metrics = self._metrics
        metrics.transactions.inc(records)
        metrics.batch_seconds.add_one(seconds)
        metrics.batch_records.add_one(records)
        if outcome.dead_letters:
            metrics.count_dead_letters(letter.reason for letter in outcome.dead_letters)
        computed, scores = outcome.computed, outcome.scores
        if computed is None or scores is None:
            return
        metrics.verdicts.inc(len(outcome.verdicts))
        for kind, number in Counter(outcome.verdicts.types.values()).items():
            metrics.alerts.labels(kind).inc(number)
        status = np.bincount(computed.status, minlength=DUPLICATE + 1)
        metrics.late.inc(int(status[LATE]))
        metrics.duplicates.inc(int(status[DUPLICATE]))
        if scores.degraded or computed.failed:
            self._count_degraded(outcome)
        sent_s = time.time()
        metrics.event_to_verdict.add(sent_s - outcome.event_s)
        metrics.produce_to_verdict.add(sent_s - outcome.received_ms / 1000.0)
        self._uncommitted.append(outcome.received_ms)
        self._watch_drift(detector, outcome)

    def observe_stages(self, clock: StageClock) -> None:
        """Counts how long the stages of a micro-batch took."""
        self._metrics.stage_seconds.add_each(clock.seconds)

    def begin_commit(self) -> None:
        """What was observed up to here is in the checkpoint that begins."""
        self._committing, self._uncommitted = self._uncommitted, []

    def end_commit(self, seconds: float) -> None:
        """The checkpoint is committed; it took so long."""
        committing, self._committing = self._committing, []
        self._metrics.checkpoint_seconds.add_one(seconds)
        if committing:
            self._metrics.produce_to_commit.add(time.time() - np.concatenate(committing) / 1000.0)

    def _count_degraded(self, outcome: Outcome) -> None:
        parts: Counter[str] = Counter()
        computed, scores = outcome.computed, outcome.scores
        if computed is not None and scores is not None:
            for row in range(len(outcome.verdicts)):
                parts.update(scores.degraded_of(row) + computed.failed_of(row))
        for part, number in parts.items():
            self._metrics.degraded.labels(part).inc(number)

    def _watch_drift(self, detector: Detector, outcome: Outcome) -> None:
        if detector.model_version != self._model_version:
            self._model_version = detector.model_version
            self._drift = self._metrics.drift.source = drift_of(detector)
        if self._drift is not None and outcome.scores is not None and outcome.computed is not None:
            self._drift.add(outcome.scores.anomaly, outcome.computed.features)


def drift_of(detector: Detector) -> Drift | None:
    """Measures drift from the training traffic of a detector's model; None: a scorer of one's own has no reference."""
    if not isinstance(detector.ensemble, Ensemble):
        return None
    knots = detector.ensemble.autoencoder.transform.knots
    return Drift(DriftReference.of_knots(knots, SMALLEST_TAIL), time.monotonic)
