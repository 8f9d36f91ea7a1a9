"""Judges a model on a labelled file, from a moment on: which rows count, what the model and the baselines say of them.

read -> replay from the file's start -> score -> baselines -> findings; labels are read here and nowhere before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fraudstream.decide.policy import Policy, Segments
from fraudstream.decide.reasons import reasons_of
from fraudstream.errors import DataFileError
from fraudstream.features.engine import SEQUENCE_CATEGORY
from fraudstream.score import artifact
from fraudstream.score.calibration import MemberWeights
from fraudstream.score.ensemble import DEFAULT_WEIGHTS, MEMBERS
from fraudstream.training.baselines import Rows, Stage, baseline_scores
from fraudstream.training.checks import DataReport, read_checked
from fraudstream.training.evaluation import ENSEMBLE
from fraudstream.training.history import History, Moment, moment_ns
from fraudstream.training.known_cards import LABEL_DELAY_DAYS, unknown_until_judged
from fraudstream.training.metrics import Flags, Floats, Ints
from fraudstream.training.replay import replay_features
from fraudstream.training.split import check_borders
from fraudstream.verdict import Reason

DRAWS = 200
SAMPLE_ROWS = 100_000
FEWEST_SAMPLE_ROWS = 500
SCENARIO = "fraud_scenario"
"""How the Handbook's files name what a history calls `campaign`."""

_SCORE_ROWS = 16_384
_NS_PER_S = 1_000_000_000
_DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked for.

    Attributes:
        model: directory of the model.
        source: a labelled .parquet or .csv file; it is read from its start, so that profiles are warm.
        since: first moment that is judged.
        until: first moment that is not; None: the file's end.
        columns: our name -> the file's, where they differ.
        label_delay_days: after how many days a fraud is known.
        without_compromised: leaves out users whose fraud was known by then; see `unknown_until_judged`.
        seed: of the baselines and the bootstrap.
        draws: of the bootstrap.
        contamination, contamination_by, weights, allowed_lateness_s: as the worker's settings.
    """

    model: Path
    source: Path
    since: Moment
    until: Moment = None
    columns: Mapping[str, str] = field(default_factory=dict)
    label_delay_days: int = LABEL_DELAY_DAYS
    without_compromised: bool = False
    seed: int = 1
    draws: int = DRAWS
    contamination: float = 0.10
    contamination_by: Segments = "none"
    weights: MemberWeights = DEFAULT_WEIGHTS
    allowed_lateness_s: int = 3600


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """The judged rows and everything that was said of them.

    Attributes:
        data: what was in the file.
        history: up to the end of what is judged.
        rows: (n,) rows of the history that are judged, ascending.
        left_out: rows in the judged range whose user was known to be compromised.
        user: (all rows of the history,) numbers of the users.
        time_s: (all rows of the history,) seconds since 1970.
        is_fraud: (all rows of the history,) labels.
        amount: (n,) of the judged rows, in main units, as all that follows.
        features: (n, FEATURE_COUNT).
        reference: (m, FEATURE_COUNT) of a sample of rows from before, that the baselines were fitted to.
        scores: (n,) by method: ensemble, members, baselines; higher is more suspicious.
        members: (n, 3) ranks, NaN where a member failed.
        surprise: (n, k) as the ensemble gives it.
        degraded: members that failed for a row and are not among the methods.
        thresholds: of the ensemble's score, the one that applies to each row.
        flagged: rows whose score is above it.
        manifest: of the model.
        has_seen_judged: whether the model's training range reaches into what is judged.
    """

    data: DataReport
    history: History
    rows: Ints
    left_out: int
    user: NDArray[np.int32]
    time_s: Ints
    is_fraud: Flags
    amount: Floats
    features: NDArray[np.float32]
    reference: NDArray[np.float32]
    scores: dict[str, Floats]
    members: Floats
    surprise: NDArray[np.float32]
    degraded: tuple[str, ...]
    thresholds: Floats
    flagged: Flags
    weights: MemberWeights
    manifest: artifact.Manifest
    has_seen_judged: bool

    def reasons(self, at: int) -> tuple[Reason, ...]:
        """What a verdict would give as reasons for the judged row at this place."""
        return reasons_of(
            float(self.amount[at]), self.features[at], self.surprise[at], self.members[at].tolist(), self.weights
        )


def judge_model(order: Order, stage: Stage) -> Judged:
    """Scores the file's rows from `since` on by the model, its members and all baselines.

    Raises:
        DataFileError: the file cannot be read, has no labels, or too little before or after `since`.
        SettingsError: `since` or `until` is no time, or they are the wrong way round.
        ModelError: the model cannot be used.
    """
    check_borders(order.since, order.until)
    model = artifact.load(order.model, order.weights)
    policy = Policy.of(order.contamination, order.contamination_by, model.ensemble)
    history, data = read_labelled(order, model.reference.category)
    times_s = history.numbers("timestamp") // _NS_PER_S
    users, labels = history.codes("user_id").codes, history.numbers("is_fraud") == 1
    in_range = np.arange(_first_judged(order, history), len(history))
    rows = in_range
    if order.without_compromised:
        rows = in_range[unknown_until_judged(times_s // _DAY_S, users, labels, in_range, order.label_delay_days)]
    _check_labels(order, labels[rows])
    sample = _sample_rows(order, model.manifest.training, times_s, int(in_range[0]))
    scored = _replay_and_score(order, model, history, sample, rows, stage)
    amounts, thresholds = history.numbers("amount"), policy.thresholds(scored.category)
    failed = tuple(name for at, name in enumerate(MEMBERS) if np.isnan(scored.members[:, at]).any())
    scores = {ENSEMBLE: scored.anomaly}
    scores |= {name: scored.members[:, at] for at, name in enumerate(MEMBERS) if name not in failed}
    scores |= dict(
        baseline_scores(
            Rows(amounts[sample], times_s[sample], scored.reference),
            Rows(amounts[rows], times_s[rows], scored.features),
            order.seed,
            stage,
        )
    )
    return Judged(
        data=data,
        history=history,
        rows=rows,
        left_out=len(in_range) - len(rows),
        user=users,
        time_s=times_s,
        is_fraud=labels,
        amount=amounts[rows],
        features=scored.features,
        reference=scored.reference,
        scores=scores,
        members=scored.members,
        surprise=scored.surprise,
        degraded=failed,
        thresholds=thresholds,
        flagged=scored.anomaly > thresholds,
        weights=order.weights,
        manifest=model.manifest,
        has_seen_judged=_overlaps(model.manifest.training, int(times_s[in_range[0]]), int(times_s[-1])),
    )


def read_labelled(order: Order, vocabulary: NDArray[np.uint32]) -> tuple[History, DataReport]:
    """The whole history up to `until`, with labels, and what its file lacks; fraud_scenario counts as the campaign.

    Raises:
        DataFileError: the file cannot be read, has no labels, or no row that can be used.
    """
    columns, names = dict(order.columns), _column_names(order.source)
    if SCENARIO in names and "campaign" not in names and "campaign" not in columns:
        columns["campaign"] = SCENARIO
    history, data = read_checked(order.source, columns, until=order.until, vocabulary=vocabulary)
    if "is_fraud" not in history:
        raise DataFileError(
            f"{order.source}: expected labels in a column is_fraud (0 or 1), got {', '.join(history.columns)}; "
            "name the column with --columns is_fraud=COLUMN"
        )
    return history, data


@dataclass(frozen=True, slots=True, eq=False)
class _Scored:
    """What replay and model give for the judged rows, and the features of the sample."""

    features: NDArray[np.float32]
    reference: NDArray[np.float32]
    category: NDArray[np.uint32]
    anomaly: Floats
    members: Floats
    surprise: NDArray[np.float32]


def _replay_and_score(
    order: Order, model: artifact.Model, history: History, sample: Ints, judged: Ints, stage: Stage
) -> _Scored:
    """The one place that calls feature engine and ensemble."""
    first = int(sample[0])
    with stage("replay", len(history)) as advance:
        replay = replay_features(
            history,
            order.allowed_lateness_s,
            model.reference,
            skip_rows=first,
            progress=lambda done, _total: advance(done),
        )
    features = replay.features[judged - first]
    anomaly, members = np.empty(len(judged)), np.empty((len(judged), len(MEMBERS)))
    surprise: NDArray[np.float32] | None = None
    with stage("score", len(judged)) as advance:
        for start in range(0, len(judged), _SCORE_ROWS):
            block = slice(start, start + _SCORE_ROWS)
            scores = model.ensemble.score(features[block], replay.sequences[judged[block] - first])
            anomaly[block], members[block] = scores.anomaly, scores.members
            if surprise is None:
                surprise = np.empty((len(judged), scores.surprise.shape[1]), np.float32)
            surprise[block] = scores.surprise
            advance(min(start + _SCORE_ROWS, len(judged)))
    assert surprise is not None  # noqa: S101  there is at least one judged row
    category = replay.sequences[judged - first, -1, SEQUENCE_CATEGORY]
    return _Scored(features, replay.features[sample - first], category, anomaly, members, surprise)


def _column_names(source: Path) -> list[str]:
    try:
        schema = pq.read_schema(source) if source.suffix == ".parquet" else pa_csv.open_csv(source).schema
    except (OSError, pa.ArrowException):
        return []  # reading the file says what is wrong with it
    return list(schema.names)


def _first_judged(order: Order, history: History) -> int:
    first = 0 if order.since is None else int(history.numbers("timestamp").searchsorted(moment_ns(order.since)))
    if first == len(history):
        last = datetime.fromtimestamp(int(history.numbers("timestamp")[-1]) // _NS_PER_S, UTC)
        raise DataFileError(
            f"{order.source}: expected transactions to judge from --since {order.since} on, got none: the last one "
            f"before --until is of {last:%Y-%m-%dT%H:%M:%SZ}; choose an earlier --since"
        )
    return first


def _check_labels(order: Order, labels: Flags) -> None:
    frauds = int(labels.sum())
    if 0 < frauds < len(labels):
        return
    came = "no row at all" if not len(labels) else "no fraud" if not frauds else "nothing but frauds"
    todo = "judge a longer range with --since and --until"
    if order.without_compromised:
        todo += ", or leave out --without-compromised"
    raise DataFileError(
        f"{order.source}: expected frauds and others to tell apart from --since {order.since} on, got {came} "
        f"in {len(labels):,} judged rows; {todo}"
    )


def _sample_rows(order: Order, training: artifact.TrainingFacts, times_s: Ints, first_judged: int) -> Ints:
    """Rows for the baselines to learn from: out of the model's own training range, but never from `since` on.

    Where the file holds little of that range, they come from the later half of what precedes `since`.
    """
    begin = int(np.searchsorted(times_s, training.first_event_time.timestamp()))
    end = int(np.searchsorted(times_s, training.last_event_time.timestamp(), side="right"))
    end = min(end, first_judged)
    if end - begin < FEWEST_SAMPLE_ROWS:
        begin, end = first_judged // 2, first_judged
    if end - begin < FEWEST_SAMPLE_ROWS:
        raise DataFileError(
            f"{order.source}: expected at least {2 * FEWEST_SAMPLE_ROWS:,} transactions before --since {order.since}, "
            f"got {first_judged:,}: profiles and baselines need a past; choose a later --since, or a longer file"
        )
    chosen = np.random.default_rng(order.seed).choice(end - begin, min(end - begin, SAMPLE_ROWS), replace=False)
    return begin + np.sort(chosen)


def _overlaps(training: artifact.TrainingFacts, first_s: int, last_s: int) -> bool:
    return training.first_event_time.timestamp() <= last_s and first_s <= training.last_event_time.timestamp()
