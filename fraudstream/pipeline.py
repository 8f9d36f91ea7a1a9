"""The way of a transaction, as one pure function of a micro-batch; no clock, no store and no broker may enter.

decode -> load profile -> compute features -> score -> decide -> emit -> remember

The Faust agent and /predict call this; only where profiles come from and where verdicts go differs. Of a file,
`fraudstream replay` gives the columns to the same engine, ensemble and `say`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import msgspec
import numpy as np
from numpy.typing import NDArray

from fraudstream.dead_letter import DeadLetter
from fraudstream.decide.policy import Policy
from fraudstream.decide.reasons import reasons_of_rows
from fraudstream.errors import FraudstreamError, ProfileError, RefusedInput
from fraudstream.evidence import Header, evidence_headers, features_headers
from fraudstream.features.engine import DUPLICATE, LATE, SEQUENCE_CATEGORY, Computed, ComputedRows, FeatureEngine
from fraudstream.intake import Batch, LoadProfile, SourceRecord, current, decode, with_profiles
from fraudstream.score.ensemble import Ensemble, LeftOut, Scores
from fraudstream.score.exchange import OwnEnsemble
from fraudstream.state.event import TIME
from fraudstream.transaction import Transaction, encode_transaction
from fraudstream.verdict import NORMAL, Reason, Verdict
from fraudstream.verdict_lines import VerdictColumns, encoded, verdicts_of

NO_OFFSET = 2**62
"""Offset of a transaction that does not come from a log: newer than anything a profile has seen."""

EVIDENCE_BYTES = 16_384
"""A transaction is at most some 3 kB; what is larger has fields that nobody reads."""

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


class Emitted(msgspec.Struct, frozen=True, gc=False):
    """A verdict ready to be sent to the partition that its transaction came from; one for every transaction.

    Attributes:
        transaction: what was judged, as evidence keeps it.
        features: of it, as one of `features_headers`.
        anomaly_type: as in the verdict.
    """

    partition: int
    key: bytes
    value: bytes
    flagged: bool
    transaction: bytes
    features: bytes
    anomaly_type: str = NORMAL

    @property
    def headers(self) -> list[Header]:
        """What the verdict was made from, as headers of its message."""
        return evidence_headers(self.transaction, self.features)


@dataclass(slots=True)
class Outcome:
    """All that leaves a micro-batch: verdicts, dead letters, state; and the arrays they were made from.

    Attributes:
        alerts: the verdicts that are flagged.
        profiles: changed records by (source partition, user key).
        computed: features, sequences and status of the accepted transactions, None if there were none.
        scores: what the models said of them.
        received_ms: (n,) the broker's time of each of them.
        event_s: (n,) the event time of each, seconds since 1970.
    """

    verdicts: list[Emitted] = field(default_factory=list)
    alerts: list[Emitted] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    profiles: dict[tuple[int, bytes], bytes] = field(default_factory=dict)
    computed: Computed | None = None
    scores: Scores | None = None
    received_ms: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    event_s: NDArray[np.uint32] = field(default_factory=lambda: np.zeros(0, np.uint32))


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
    if not batch.transactions:
        return Prepared(batch, None, {}, dead_letters + unreadable)
    computed = _compute(detector, batch, profiles)
    changed = {
        user: record
        for user, record, is_changed in zip(batch.users, computed.records, computed.changed.tolist(), strict=True)
        if is_changed
    }
    done("features")
    return Prepared(batch, computed, changed, dead_letters + unreadable)


def conclude(detector: Detector, prepared: Prepared, scores: Scores | None, done: StageDone = _nobody) -> Outcome:
    """The second half: verdicts from `Prepared.score`."""
    batch, computed = prepared.batch, prepared.computed
    outcome = Outcome(dead_letters=prepared.dead_letters, profiles=prepared.profiles)
    if computed is None or scores is None:
        return outcome
    outcome.computed, outcome.scores = computed, scores
    outcome.event_s = batch.words[:, TIME].copy()
    outcome.received_ms = np.fromiter((source.timestamp for source in batch.sources), np.int64, len(batch.sources))
    _emit(detector, batch, computed, scores, outcome)
    done("decide")
    return outcome


@dataclass(frozen=True, slots=True)
class Question:
    """A transaction that someone asks about, beside the stream.

    Attributes:
        time_s: its event time, seconds since 1970.
        received_s: when it came.
        profile: the user's record as it is now, `EMPTY` for an unknown user.
    """

    transaction: Transaction
    time_s: int
    received_s: float
    profile: bytes


def answer_questions(
    detector: Detector, questions: Sequence[Question], left_out: LeftOut | None = None
) -> list[Verdict | FraudstreamError]:
    """Judges each transaction against its user's profile, which stays as it is: no question sees another one.

    Args:
        left_out: asked before each member; tells the questions that do without it.

    Returns:
        In the order of the questions the verdict, or RefusedInput (`profile_unreadable`) where the profile cannot be
        read.

    Raises:
        ModelError: a question is left without any member.
    """
    asked: list[Question] = []
    sources: list[SourceRecord] = []
    profiles: list[bytes] = []
    answers: list[Verdict | FraudstreamError] = []
    for at, question in enumerate(questions):
        try:
            profiles.append(current(question.profile))
        except ProfileError as error:
            answers.append(RefusedInput("profile_unreadable", f"profile: {error}"))
            continue
        # A partition of its own makes a user of its own: two questions about one user do not meet.
        sources.append(_Request(int(question.received_s * 1000), partition=-1 - at))
        asked.append(question)
        answers.append(_NO_ANSWER)
    if not profiles:
        return answers
    batch = Batch.of(
        sources,
        [question.transaction for question in asked],
        [question.time_s for question in asked],
        [(source.partition, b"") for source in sources],
    )
    computed = _compute(detector, batch, profiles)
    is_asked = np.array([answer is _NO_ANSWER for answer in answers])
    of_asked = None if left_out is None else lambda member: left_out(member)[is_asked]
    scores = detector.ensemble.score(computed.features, computed.sequences, of_asked)
    verdicts = verdicts_of(replace(say(detector, _facts(batch), computed, scores), source=False))
    return [next(verdicts) if answer is _NO_ANSWER else answer for answer in answers]


_NO_ANSWER = FraudstreamError("not judged yet")


@dataclass(frozen=True, slots=True)
class _Request:
    """A question in the place of a message."""

    timestamp: int
    partition: int
    key: bytes | None = None
    value: bytes | None = None
    topic: str = ""
    offset: int = NO_OFFSET


def _compute(detector: Detector, batch: Batch, profiles: list[bytes]) -> Computed:
    return detector.engine.run(profiles, batch.slots, batch.words, batch.offsets)


def _emit(detector: Detector, batch: Batch, computed: Computed, scores: Scores, outcome: Outcome) -> None:
    columns = say(detector, _facts(batch), computed, scores)
    evidence = [source.value or b"" for source in batch.sources]
    if max(map(len, evidence)) > EVIDENCE_BYTES:
        # Only what was read of it where the rest would be too large beside the verdict.
        evidence = [
            came if len(came) <= EVIDENCE_BYTES else encode_transaction(transaction)
            for came, transaction in zip(evidence, batch.transactions, strict=True)
        ]
    outcome.verdicts = list(
        map(
            Emitted,
            columns.partitions,
            [source.key or b"" for source in batch.sources],
            encoded(columns),
            columns.flagged,
            evidence,
            features_headers(computed.features),
            columns.types(),
        )
    )
    outcome.alerts = [verdict for verdict in outcome.verdicts if verdict.flagged]


@dataclass(frozen=True, slots=True)
class Facts:
    """What verdicts repeat of their transactions; every list has one entry a transaction.

    Attributes:
        amounts: in main units.
        event_s: event times, seconds since 1970.
        received_ms: the broker's times.
    """

    transaction_ids: Sequence[str]
    user_ids: Sequence[str]
    amounts: Sequence[float]
    event_s: Sequence[int]
    received_ms: Sequence[int]
    partitions: Sequence[int]
    offsets: Sequence[int]


def say(detector: Detector, facts: Facts, computed: ComputedRows, scores: Scores) -> VerdictColumns:
    """All that verdicts say, column by column: rounding a value alone costs as much as decoding a field."""
    thresholds = detector.policy.thresholds(computed.sequences[:, -1, SEQUENCE_CATEGORY])
    anomaly, flagged = scores.anomaly.round(_DIGITS).tolist(), scores.anomaly > thresholds
    reasons: list[tuple[Reason, ...]] = [()] * len(anomaly)
    told = np.flatnonzero(flagged)
    if len(told):
        at = told.tolist()
        found = reasons_of_rows(
            [anomaly[row] for row in at],
            [facts.amounts[row] for row in at],
            computed.features[told],
            scores.surprise[told],
            scores.members[told],
            detector.weights,
        )
        for row, why in zip(at, found, strict=True):
            reasons[row] = why
    degraded: list[tuple[str, ...]] = [()] * len(anomaly)
    if scores.degraded or computed.failed:
        degraded = [scores.degraded_of(at) + computed.failed_of(at) for at in range(len(anomaly))]
    return VerdictColumns(
        transaction_ids=facts.transaction_ids,
        user_ids=facts.user_ids,
        anomaly=anomaly,
        confidence=detector.policy.confidence(scores.anomaly, thresholds).round(_DIGITS).tolist(),
        flagged=flagged.tolist(),
        thresholds=thresholds.round(_DIGITS).tolist(),
        reasons=reasons,
        members=scores.members.round(_DIGITS).tolist(),
        model_version=detector.model_version,
        event_s=facts.event_s,
        received_ms=facts.received_ms,
        partitions=facts.partitions,
        offsets=facts.offsets,
        late=(computed.status == LATE).tolist(),
        duplicate=(computed.status == DUPLICATE).tolist(),
        degraded=degraded,
    )


def _facts(batch: Batch) -> Facts:
    return Facts(
        [transaction.transaction_id for transaction in batch.transactions],
        [transaction.user_id for transaction in batch.transactions],
        [transaction.amount for transaction in batch.transactions],
        batch.times_s,
        [source.timestamp for source in batch.sources],
        [source.partition for source in batch.sources],
        batch.offsets.tolist(),
    )
