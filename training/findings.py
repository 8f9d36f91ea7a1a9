"""What follows from judged rows: figures by method, month, category and campaign, alert rate, drift, reasons."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from fraudstream.features.catalogue import FEATURE_NAMES
from fraudstream.state.event import ABSENT, hash16
from fraudstream.training.baselines import BASELINES, Stage
from fraudstream.training.campaign_findings import campaigns_of, how_soon_noticed
from fraudstream.training.evaluate import Judged
from fraudstream.training.evaluation import (
    ENSEMBLE,
    NONE,
    AlertRate,
    Budget,
    Difference,
    Evaluation,
    Group,
    GroupFigures,
    Method,
    Week,
)
from fraudstream.training.metrics import (
    FALSE_POSITIVE_RATE,
    MEASURES,
    Flags,
    Floats,
    Ints,
    Ranking,
    bootstrap,
    card_precision,
    interval,
    most_suspicious,
    population_stability_index,
)
from fraudstream.training.reason_findings import reasons_given
from fraudstream.training.streaks import detection, find_streaks

ONE_PERCENT = 0.01
COMPARED = ("average_precision", "tpr_at_1pct_fpr")
CALIBRATION_POINTS = (0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999)

_DAY_S = 86_400
_WEEK_S = 7 * _DAY_S


def find(judged: Judged, seed: int, draws: int, stage: Stage) -> Evaluation:
    """Works everything out.

    Args:
        judged: what the model and the baselines said; its policy's contamination is the alert budget.
        seed: of the bootstrap.
        draws: of the bootstrap; 0 for none.
        stage: shows the steps that take long.
    """
    time_s, user = judged.time_s[judged.rows], judged.user[judged.rows]
    is_fraud = judged.is_fraud[judged.rows]
    present, places = np.unique(user, return_inverse=True)
    numbers: NDArray[np.int32] = places.astype(np.int32)
    rankings = {name: Ranking.of(scores, is_fraud, numbers, len(present)) for name, scores in judged.scores.items()}
    with stage("bootstrap", draws) as advance:
        drawn = _draws(rankings, is_fraud, numbers, draws, seed, advance)
    thresholds = {name: ranking.threshold_at(FALSE_POSITIVE_RATE) for name, ranking in rankings.items()}
    streaks = find_streaks(judged.user, judged.time_s, judged.is_fraud, judged.rows)
    methods = {}
    for name, ranking in rankings.items():
        scores, measured = judged.scores[name], ranking.measure()
        methods[name] = Method(
            auc=measured.auc,
            average_precision=measured.average_precision,
            tpr_at_1pct_fpr=measured.tpr_at_1pct_fpr,
            card_precision_100=card_precision(time_s // _DAY_S, numbers, is_fraud, scores),
            intervals={measure: interval(drawn[name][:, at]) for at, measure in enumerate(MEASURES)},
            threshold_at_1pct_fpr=thresholds[name],
            budgets={
                "contamination": budget(scores, is_fraud, judged.amount, judged.policy.contamination),
                "1pct": budget(scores, is_fraud, judged.amount, ONE_PERCENT),
            },
            streaks=detection(streaks, scores > thresholds[name]),
        )
    campaign = campaigns_of(judged)
    return Evaluation(
        rows=len(is_fraud),
        frauds=int(is_fraud.sum()),
        users=len(present),
        left_out=judged.left_out,
        duplicates=judged.duplicates,
        first_event_time=_moment(time_s[0]),
        last_event_time=_moment(time_s[-1]),
        model_version=judged.manifest.model_version,
        degraded=judged.degraded,
        has_seen_judged=judged.has_seen_judged,
        card_precision_100_at_best=card_precision(time_s // _DAY_S, numbers, is_fraud, is_fraud.astype(np.float64)),
        methods=methods,
        differences=_differences(methods, drawn),
        groups=dict(_groups(judged, is_fraud, time_s, campaign, thresholds)),
        campaigns=how_soon_noticed(judged, ONE_PERCENT),
        alert_rate=_alert_rate(judged, is_fraud, time_s),
        calibration=[(point, float((judged.scores[ENSEMBLE] > point).mean())) for point in CALIBRATION_POINTS],
        drift=_drift(judged),
        reasons=reasons_given(judged, campaign),
    )


def budget(scores: Floats, is_fraud: Flags, amount: Floats, share: float) -> Budget:
    """What the most suspicious share of the rows holds; of equal scores the earlier rows are looked at."""
    alerts = round(share * len(scores))
    looked_at = most_suspicious(scores, alerts)
    caught = looked_at[is_fraud[looked_at]]
    stolen = float(amount[is_fraud].sum())
    return Budget(
        share=share,
        alerts=alerts,
        frauds_caught=len(caught),
        frauds_share=len(caught) / max(int(is_fraud.sum()), 1),
        money_saved=round(float(amount[caught].sum()), 2),
        money_share=float(amount[caught].sum()) / stolen if stolen else 0.0,
    )


def _draws(
    rankings: Mapping[str, Ranking],
    is_fraud: Flags,
    user: NDArray[np.int32],
    draws: int,
    seed: int,
    advance: Callable[[int], None],
) -> dict[str, Floats]:
    """Bootstrap values by method; none where all frauds are of one user, because then draws tell nothing."""
    if len(np.unique(user[is_fraud])) < 2:  # noqa: PLR2004
        draws = 0
    return bootstrap(rankings, draws, seed, advance)


def _differences(methods: Mapping[str, Method], drawn: Mapping[str, Floats]) -> dict[str, Difference]:
    found = {}
    for measure in COMPARED:
        best = max(BASELINES, key=lambda name: float(getattr(methods[name], measure)))
        at = MEASURES.index(measure)
        found[measure] = Difference(
            baseline=best,
            difference=float(getattr(methods[ENSEMBLE], measure) - getattr(methods[best], measure)),
            interval=interval(drawn[ENSEMBLE][:, at] - drawn[best][:, at]),
        )
    return found


def _groups(
    judged: Judged,
    is_fraud: Flags,
    time_s: Ints,
    campaign: NDArray[np.object_] | None,
    thresholds: Mapping[str, float],
) -> Iterator[tuple[str, dict[str, Group]]]:
    months = time_s.astype("datetime64[s]").astype("datetime64[M]")
    number, month = np.unique(months, return_inverse=True)
    yield "month", {str(name): _group(judged, is_fraud, month == at, thresholds) for at, name in enumerate(number)}
    if "category" in judged.history:
        codes, names = judged.history.codes("category")
        category = codes[judged.rows]
        yield (
            "category",
            {
                names[at] if at >= 0 else NONE: _group(judged, is_fraud, category == at, thresholds)
                for at in sorted(np.unique(category).tolist(), key=lambda at: names[at] if at >= 0 else "")
            },
        )
    if campaign is not None:
        # A campaign's frauds among all normal rows: what it takes to find just this one.
        names = sorted(set(campaign[is_fraud].tolist()))
        yield (
            "campaign",
            {name or NONE: _group(judged, is_fraud, ~is_fraud | (campaign == name), thresholds) for name in names},
        )


def _group(judged: Judged, is_fraud: Flags, chosen: Flags, thresholds: Mapping[str, float]) -> Group:
    labels = is_fraud[chosen]
    one_user = np.zeros(len(labels), np.int32)
    methods = {}
    for name, scores in judged.scores.items():
        measured = Ranking.of(scores[chosen], labels, one_user, 1).measure()
        caught = float((scores[chosen][labels] > thresholds[name]).mean()) if labels.any() else None
        methods[name] = GroupFigures(_known(measured.auc), _known(measured.average_precision), caught)
    return Group(len(labels), int(labels.sum()), float(judged.flagged[chosen].mean()), methods)


def _alert_rate(judged: Judged, is_fraud: Flags, time_s: Ints) -> AlertRate:
    flagged, target = judged.flagged, judged.policy.contamination
    begin_s = int(time_s[0]) // _DAY_S * _DAY_S
    week = (time_s - begin_s) // _WEEK_S
    weeks = []
    for number in np.unique(week).tolist():
        rows = week == number
        start_s = begin_s + number * _WEEK_S
        is_whole = start_s + _WEEK_S <= int(time_s[-1]) + _DAY_S
        weeks.append(Week(f"{_moment(start_s):%Y-%m-%d}", int(rows.sum()), float(flagged[rows].mean()), is_whole))
    rates = [week.alert_rate for week in weeks if week.is_whole] or [week.alert_rate for week in weeks]
    return AlertRate(
        target=target,
        threshold=judged.policy.threshold,
        own_thresholds=_own_thresholds(judged),
        rate=float(flagged.mean()),
        frauds_caught=int((flagged & is_fraud).sum()),
        weeks=weeks,
        lowest_relative=min(rates) / target,
        highest_relative=max(rates) / target,
    )


def _own_thresholds(judged: Judged) -> dict[str, float]:
    """Those of the categories that are among the judged rows."""
    by_category = judged.policy.by_category or {}
    if "category" not in judged.history:
        return {NONE: by_category[ABSENT]} if ABSENT in by_category else {}
    codes, names = judged.history.codes("category")
    present = [names[at] if at >= 0 else None for at in np.unique(codes[judged.rows]).tolist()]
    hashes = {name or NONE: hash16(name) if name else ABSENT for name in present}
    return {name: by_category[one] for name, one in sorted(hashes.items()) if one in by_category}


def _drift(judged: Judged) -> dict[str, float]:
    found = {
        name: population_stability_index(
            judged.reference[:, at].astype(np.float64), judged.features[:, at].astype(np.float64)
        )
        for at, name in enumerate(FEATURE_NAMES)
    }
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _moment(time_s: int | np.int64) -> datetime:
    return datetime.fromtimestamp(int(time_s), UTC)
