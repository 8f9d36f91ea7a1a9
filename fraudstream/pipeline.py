"""The way of a transaction, as one pure function of a micro-batch; no clock, no store and no broker may enter.

decode -> load profile -> compute features -> score -> decide -> emit -> remember

The Faust agent calls this. /predict (questions.py) and, of a file, `fraudstream replay` give the same engine, ensemble
and `say` what they are asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from fraudstream.dead_letter import DeadLetter
from fraudstream.decide.policy import Policy
from fraudstream.decide.reasons import reasons_of_rows
from fraudstream.emitted import NO_VERDICTS, Verdicts
from fraudstream.evidence import features_headers
from fraudstream.features.engine import DUPLICATE, LATE, SEQUENCE_CATEGORY, Computed, ComputedRows, FeatureEngine
from fraudstream.intake import Batch, LoadProfile, decode, with_profiles
from fraudstream.score.ensemble import Ensemble, Scores
from fraudstream.score.exchange import OwnEnsemble
from fraudstream.verdict import Reason
from fraudstream.verdict_lines import VerdictColumns, encoded
from fraudstream.wire.records import SourceRecord
from fraudstream.wire.texts import Texts

_DIGITS = 6

StageDone = Callable[[str], None]
"""Told that a stage is over: decode, load, features, score, decide. Whoever has a clock can tell from it how long each
took."""


def _nobody(_stage: str) -> None:
    """For whoever does not ask."""


@dataclass(frozen=True, slots=True)
class Detector:
    """What judges: feature computation, models and policy, all immutable while the process runs."""

    engine: FeatureEngine
    ensemble: Ensemble | OwnEnsemble
    policy: Policy
    weights: tuple[float, float, float]
    model_version: str


@dataclass(slots=True)
class Outcome:
    """All that leaves a micro-batch: verdicts, dead letters, state; and the arrays they were made from.

    Attributes:
        profiles: changed records by (source partition, user key).
        computed: features, sequences and status of the accepted transactions, None if there were none.
        scores: what the models said of them.
        received_ms: (n,) the broker's time of each of them.
        event_s: (n,) the event time of each, seconds since 1970.
    """

    verdicts: Verdicts = NO_VERDICTS
    dead_letters: list[DeadLetter] = field(default_factory=list)
    profiles: dict[tuple[int, bytes], bytes] = field(default_factory=dict)
    computed: Computed | None = None
    scores: Scores | None = None
    received_ms: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    event_s: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))


@dataclass(frozen=True, slots=True)
class Prepared:
    """A micro-batch up to its features, half of its way.

    Attributes:
        batch: the accepted transactions.
        computed: their features; None where none was accepted.
        profiles: as in the outcome, which holds them too.
    """

    batch: Batch
    computed: Computed | None
    profiles: dict[tuple[int, bytes], bytes]
    dead_letters: list[DeadLetter]

    def score(self, detector: Detector) -> Scores | None:
        """What the models say.

        Raises:
            ModelError: no model is left to score with.
        """
        if self.computed is None:
            return None
        return detector.ensemble.score(self.computed.features, self.computed.sequences)


def process(
    detector: Detector, records: Sequence[SourceRecord], load: LoadProfile, done: StageDone = _nobody
) -> Outcome:
    """Judges a micro-batch in the order of arrival.

    Args:
        detector: what judges.
        records: messages, in offset order within a partition.
        load: gives each user's current profile; asked once per user.
        done: told at the end of each stage.

    Raises:
        ModelError: no model is left to score with.
    """
    prepared = prepare(detector, records, load, done)
    scores = prepared.score(detector)
    if scores is not None:
        done("score")
    return conclude(detector, prepared, scores, done)


def prepare(
    detector: Detector, records: Sequence[SourceRecord], load: LoadProfile, done: StageDone = _nobody
) -> Prepared:
    """The first half of `process`: decodes, loads profiles, computes features.

    Whoever must not hold an event loop for the whole of it pauses between `Prepared.score` and `conclude`.
    """
    decoded, dead_letters = decode(records)
    done("decode")
    batch, profiles, unreadable = with_profiles(decoded, load)
    done("load")
    if not len(batch):
        return Prepared(batch, None, {}, dead_letters + unreadable)
    computed = compute(detector, batch, profiles)
    changed = dict(compress(zip(batch.users, computed.records, strict=True), computed.changed.tolist()))
    done("features")
    return Prepared(batch, computed, changed, dead_letters + unreadable)


def conclude(detector: Detector, prepared: Prepared, scores: Scores | None, done: StageDone = _nobody) -> Outcome:
    """The second half: verdicts from `Prepared.score`."""
    batch, computed = prepared.batch, prepared.computed
    outcome = Outcome(dead_letters=prepared.dead_letters, profiles=prepared.profiles)
    if computed is None or scores is None:
        return outcome
    outcome.computed, outcome.scores = computed, scores
    outcome.event_s, outcome.received_ms = batch.event_s, batch.received_ms
    _emit(detector, batch, computed, scores, outcome)
    done("decide")
    return outcome


def compute(detector: Detector, batch: Batch, profiles: list[bytes]) -> Computed:
    """Features of a batch, and the profiles behind it."""
    return detector.engine.run(profiles, batch.slots, batch.words, batch.offsets)


def _emit(detector: Detector, batch: Batch, computed: Computed, scores: Scores, outcome: Outcome) -> None:
    columns = say(detector, facts_of(batch), computed, scores)
    types = {row: columns.type_of(row) for row in columns.reasons}
    headers = features_headers(computed.features)
    outcome.verdicts = Verdicts(batch.texts, encoded(columns), headers, columns.flagged, batch.partitions, types)


@dataclass(frozen=True, slots=True)
class Facts:
    """What verdicts repeat of their transactions; every list has one entry a transaction.

    Attributes:
        texts: hold the ids of the transactions and of their users.
        amounts: (n,) in main units.
        event_s: (n,) event times, seconds since 1970.
        received_ms: (n,) the broker's times.
        partitions: (n,)
        offsets: (n,)
    """

    texts: Texts
    amounts: NDArray[np.float64]
    event_s: NDArray[np.int64]
    received_ms: NDArray[np.int64]
    partitions: NDArray[np.int64]
    offsets: NDArray[np.int64]


def say(detector: Detector, facts: Facts, computed: ComputedRows, scores: Scores) -> VerdictColumns:
    """All that verdicts say, column by column."""
    thresholds = detector.policy.thresholds(computed.sequences[:, -1, SEQUENCE_CATEGORY])
    anomaly, flagged = scores.anomaly.round(_DIGITS), scores.anomaly > thresholds
    reasons: dict[int, tuple[Reason, ...]] = {}
    told = np.flatnonzero(flagged)
    if len(told):
        found = reasons_of_rows(
            anomaly[told].tolist(),
            facts.amounts[told].tolist(),
            computed.features[told],
            scores.surprise[told],
            scores.members[told],
            detector.weights,
        )
        reasons = dict(zip(told.tolist(), found, strict=True))
    return VerdictColumns(
        texts=facts.texts,
        anomaly=anomaly,
        confidence=detector.policy.confidence(scores.anomaly, thresholds).round(_DIGITS),
        flagged=flagged,
        thresholds=thresholds.round(_DIGITS),
        reasons=reasons,
        members=scores.members.round(_DIGITS),
        model_version=detector.model_version,
        event_s=facts.event_s,
        received_ms=facts.received_ms,
        partitions=facts.partitions,
        offsets=facts.offsets,
        late=computed.status == LATE,
        duplicate=computed.status == DUPLICATE,
        degraded=dict(_degraded(computed, scores)),
    )


def _degraded(computed: ComputedRows, scores: Scores) -> Iterator[tuple[int, tuple[str, ...]]]:
    """The rows in which something is left out, and what."""
    if scores.degraded or computed.failed:
        for row in range(len(scores.anomaly)):
            parts = scores.degraded_of(row) + computed.failed_of(row)
            if parts:
                yield row, parts


def facts_of(batch: Batch) -> Facts:
    """What verdicts repeat of a batch."""
    return Facts(batch.texts, batch.amounts, batch.event_s, batch.received_ms, batch.partitions, batch.offsets)
