"""Judges a model on a labelled file, from a moment on: which rows count, what the model and the baselines say of them.

read -> replay from the file's start -> score -> baselines -> findings; labels are read here and nowhere before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from fraudstream.decide.policy import Policy
from fraudstream.decide.reasons import reasons_of
from fraudstream.features.catalogue import MODEL_INPUTS
from fraudstream.features.engine import DUPLICATE, SEQUENCE_CATEGORY
from fraudstream.score import artifact
from fraudstream.score.calibration import MemberWeights
from fraudstream.score.ensemble import MEMBERS, Scores
from fraudstream.training.baselines import BASELINES, Rows, Stage, baseline_scores
from fraudstream.training.checks import DataReport
from fraudstream.training.cores import Cores
from fraudstream.training.evaluate_rows import (
    Order,
    campaign_column,
    check_labels,
    check_sample,
    first_judged,
    overlaps,
    read_labelled,
    sample_rows,
)
from fraudstream.training.evaluation import ENSEMBLE
from fraudstream.training.history import History
from fraudstream.training.known_cards import unknown_until_judged
from fraudstream.training.metrics import Flags, Floats, Ints
from fraudstream.training.replay import replay_features
from fraudstream.training.split import check_borders
from fraudstream.training.times import NS_PER_S
from fraudstream.verdict import Reason

__all__ = ["Judged", "Order", "judge_model"]

_SCORE_ROWS = 16_384
_DAY_S = 86_400


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """The judged rows and everything that was said of them.

    Attributes:
        data: what was in the file.
        history: up to the end of what is judged.
        rows: (n,) rows of the history that are judged, ascending.
        left_out: rows in the judged range whose user was known to be compromised.
        duplicates: rows in the judged range that say again what an earlier one said; they are no transactions.
        user: (all rows of the history,) numbers of the users.
        time_s: (all rows of the history,) seconds since 1970.
        is_duplicate: (all rows of the history,) rows that say again what an earlier one said, as far as features were
            needed: from the first row of the sample on.
        is_fraud: (all rows of the history,) labels; a duplicate is no fraud of its own.
        amount: (n,) of the judged rows, in main units, as all that follows.
        features: (n, FEATURE_COUNT).
        reference: (m, FEATURE_COUNT) of a sample of rows from before, that the baselines were fitted to.
        scores: (n,) by method: ensemble, members, baselines; higher is more suspicious.
        members: (n, 3) ranks, NaN where a member failed.
        surprise: (n, k) as the ensemble gives it.
        degraded: members that failed for a row and are not among the methods.
        policy: for the ensemble's score.
        thresholds: the policy's one that applies to each row.
        flagged: rows whose score is above it.
        manifest: of the model.
        has_seen_judged: whether the model's training range reaches into what is judged.
        campaign_column: how the file names the history's `campaign`.
    """

    data: DataReport
    history: History
    rows: Ints
    left_out: int
    duplicates: int
    user: NDArray[np.int32]
    time_s: Ints
    is_duplicate: Flags
    is_fraud: Flags
    amount: Floats
    features: NDArray[np.float32]
    reference: NDArray[np.float32]
    scores: dict[str, Floats]
    members: Floats
    surprise: NDArray[np.float32]
    degraded: tuple[str, ...]
    policy: Policy
    thresholds: Floats
    flagged: Flags
    weights: MemberWeights
    manifest: artifact.Manifest
    has_seen_judged: bool
    campaign_column: str

    def reasons(self, at: int) -> tuple[Reason, ...]:
        """What a verdict would give as reasons for the judged row at this place."""
        return reasons_of(
            float(self.scores[ENSEMBLE][at]),
            float(self.amount[at]),
            self.features[at],
            self.surprise[at],
            self.members[at].tolist(),
            self.weights,
        )


def judge_model(
    order: Order, stage: Stage, other: Judged | None = None, show: Callable[[DataReport], None] | None = None
) -> Judged:
    """Scores the file's rows from `since` on by the model, its members and all baselines.

    Args:
        order: what is asked for.
        stage: shows the steps that take long.
        other: what was said of another model by the same order: where the features of both are equal, so are the
            baselines' scores, and they are taken from it.
        show: told what is in the file as soon as it is read, long before the rest and also where that fails.

    Raises:
        DataFileError: the file cannot be read, has no labels, or too little before or after `since`.
        SettingsError: `since` or `until` is no time, or they are the wrong way round.
        ModelError: the model cannot be used.
    """
    check_borders(order.since, order.until)
    model = artifact.load(order.model, order.weights)
    policy = Policy.of(order.contamination, order.contamination_by, model.ensemble)
    history, data = read_labelled(order, model.reference.category)
    if show is not None:
        show(data)
    times_s = history.numbers("timestamp") // NS_PER_S
    users, labels = history.codes("user_id").codes, history.numbers("is_fraud") == 1
    in_range = np.arange(first_judged(order, history), len(history))
    rows = in_range
    if order.without_compromised:
        rows = in_range[unknown_until_judged(times_s // _DAY_S, users, labels, in_range, order.label_delay_days)]
    check_labels(order, labels[rows])
    left_out = len(in_range) - len(rows)
    sample = sample_rows(order, model.manifest.training, times_s, int(in_range[0]))
    scored = _replay_and_score(order, model, history, labels, sample, rows, stage)
    duplicates, rows = len(rows) - len(scored.judged), scored.judged
    amounts, thresholds = history.numbers("amount"), policy.thresholds(scored.category)
    failed = tuple(name for at, name in enumerate(MEMBERS) if np.isnan(scored.members[:, at]).any())
    scores = {ENSEMBLE: scored.anomaly}
    scores |= {name: scored.members[:, at] for at, name in enumerate(MEMBERS) if name not in failed}
    scores |= _of_baselines(order, amounts, times_s, scored, stage, other)
    return Judged(
        data=data,
        history=history,
        rows=rows,
        left_out=left_out,
        duplicates=duplicates,
        user=users,
        time_s=times_s,
        is_duplicate=scored.is_duplicate,
        is_fraud=labels & ~scored.is_duplicate,
        amount=amounts[rows],
        features=scored.features,
        reference=scored.reference,
        scores=scores,
        members=scored.members,
        surprise=scored.surprise,
        degraded=failed,
        policy=policy,
        thresholds=thresholds,
        flagged=scored.anomaly > thresholds,
        weights=order.weights,
        manifest=model.manifest,
        has_seen_judged=overlaps(model.manifest.training, int(times_s[in_range[0]]), int(times_s[-1])),
        campaign_column=campaign_column(order),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Scored:
    """What replay and model give for the judged rows, and the features of the sample; neither has a duplicate.

    `is_duplicate` is about all rows of the history.
    """

    is_duplicate: Flags
    judged: Ints
    sample: Ints
    features: NDArray[np.float32]
    reference: NDArray[np.float32]
    category: NDArray[np.uint32]
    anomaly: Floats
    members: Floats
    surprise: NDArray[np.float32]


def _replay_and_score(
    order: Order, model: artifact.Model, history: History, labels: Flags, sample: Ints, judged: Ints, stage: Stage
) -> _Scored:
    """The one place that calls feature engine and ensemble.

    Raises:
        DataFileError: without the duplicates there is too little to learn from or to judge.
    """
    first = int(sample[0])
    with stage("replay", len(history)) as advance:
        replay = replay_features(
            history,
            order.allowed_lateness_s,
            model.reference,
            skip_rows=first,
            progress=lambda done, _total: advance(done),
        )
    is_duplicate = np.zeros(len(history), np.bool_)
    is_duplicate[first:] = replay.status == DUPLICATE
    judged, sample = (rows[~is_duplicate[rows]] for rows in (judged, sample))
    check_sample(order, sample)
    check_labels(order, labels[judged])
    features = replay.features[judged - first]
    anomaly, members = np.empty(len(judged)), np.empty((len(judged), len(MEMBERS)))
    surprise = np.empty((len(judged), len(MODEL_INPUTS)), np.float32)
    blocks = [slice(start, start + _SCORE_ROWS) for start in range(0, len(judged), _SCORE_ROWS)]

    def score(block: slice) -> Scores:
        return model.ensemble.score(features[block], replay.sequences[judged[block] - first])

    with stage("score", len(judged)) as advance, Cores() as cores:
        tasks = (partial(score, block) for block in blocks)
        for block, scores in zip(blocks, cores.map(tasks), strict=True):
            anomaly[block], members[block] = scores.anomaly, scores.members
            surprise[block] = scores.surprise
            advance(min(block.stop, len(judged)))
    category = replay.sequences[judged - first, -1, SEQUENCE_CATEGORY]
    reference = replay.features[sample - first]
    return _Scored(is_duplicate, judged, sample, features, reference, category, anomaly, members, surprise)


def _of_baselines(
    order: Order, amounts: Floats, times_s: Ints, scored: _Scored, stage: Stage, other: Judged | None
) -> dict[str, Floats]:
    if other is not None and _have_equal_features(scored, other):
        return {name: other.scores[name] for name in BASELINES}
    sample, judged = (
        Rows(amounts[rows], times_s[rows], features)
        for rows, features in ((scored.sample, scored.reference), (scored.judged, scored.features))
    )
    return dict(baseline_scores(sample, judged, order.seed, stage))


def _have_equal_features(scored: _Scored, other: Judged) -> bool:
    return np.array_equal(scored.features, other.features, equal_nan=True) and np.array_equal(
        scored.reference, other.reference, equal_nan=True
    )
