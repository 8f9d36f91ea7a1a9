"""The result of an evaluation: plain values that become JSON as they are; what is undefined is None."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from fraudstream.score.ensemble import MEMBERS
from fraudstream.training.baselines import BASELINES
from fraudstream.training.streaks import StreakDetection

ENSEMBLE = "ensemble"
METHODS = (ENSEMBLE, *MEMBERS, *BASELINES)
"""All ways to score, in the order of tables."""
NONE = "(none)"
"""How rows without a category, and frauds without a campaign, are named."""

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Budget:
    """What is found when only the most suspicious share of the rows is looked at.

    Attributes:
        share: of the judged rows that is looked at.
        alerts: the same as a number of rows.
        frauds_caught: frauds among them.
        frauds_share: of all frauds.
        money_saved: the amounts of the caught frauds.
        money_share: of the amounts of all frauds.
    """

    share: float
    alerts: int
    frauds_caught: int
    frauds_share: float
    money_saved: float
    money_share: float


@dataclass(frozen=True, slots=True)
class Method:
    """The figures of one way to score.

    Attributes:
        auc: area under the ROC curve.
        average_precision: mean precision over the frauds.
        tpr_at_1pct_fpr: share of the frauds found where 1 % of the normal rows are flagged.
        card_precision_100: share of compromised cards among the 100 most suspicious of a day.
        intervals: 95 % bootstrap interval of each of the first three; None where there are too few users with fraud.
        threshold_at_1pct_fpr: the score above which 1 % of the normal rows lie.
        budgets: at the alert budget of the setting CONTAMINATION, and at 1 % of the rows.
        streaks: how soon streaks of frauds are noticed at that threshold; None where none begins in the range.
    """

    auc: float
    average_precision: float
    tpr_at_1pct_fpr: float
    card_precision_100: float
    intervals: dict[str, Interval | None]
    threshold_at_1pct_fpr: float
    budgets: dict[str, Budget]
    streaks: StreakDetection | None


@dataclass(frozen=True, slots=True)
class Difference:
    """The ensemble against the baseline that is best by this measure, on the same bootstrap draws."""

    baseline: str
    difference: float
    interval: Interval | None


@dataclass(frozen=True, slots=True)
class GroupFigures:
    """The figures of one method within a group; None where the group has no fraud or nothing else."""

    auc: float | None
    average_precision: float | None
    caught_at_1pct_fpr: float | None


@dataclass(frozen=True, slots=True)
class Group:
    """A month, a category or a campaign; the threshold for 1 % is that of all judged rows.

    Attributes:
        alert_rate: share of the rows that the ensemble flags.
    """

    rows: int
    frauds: int
    alert_rate: float
    methods: dict[str, GroupFigures]


@dataclass(frozen=True, slots=True)
class CampaignDetection:
    """How soon one campaign is noticed where only the most suspicious rows are alerts.

    Attributes:
        frauds: its judged ones.
        instances: its streaks that begin in the judged range: one user robbed once.
        alert_share: of the judged rows that are alerts, whatever they turn out to be.
        is_caught: whether the ensemble has an alert on one of the first three frauds of enough instances; None where
            there is no instance.
        best_baseline: the baseline that notices most instances so early; None where there is no instance.
        lead: the ensemble's share of instances noticed so early, less that baseline's.
        methods: of every method; empty where there is no instance.
    """

    frauds: int
    instances: int
    alert_share: float
    is_caught: bool | None
    best_baseline: str | None
    lead: float | None
    methods: dict[str, StreakDetection]


@dataclass(frozen=True, slots=True)
class Week:
    """Seven days of alerts, the last perhaps fewer; `start` is a date."""

    start: str
    rows: int
    alert_rate: float
    is_whole: bool


@dataclass(frozen=True, slots=True)
class AlertRate:
    """How many rows the ensemble flags at its own threshold, against the share that was asked for.

    Attributes:
        target: the setting CONTAMINATION.
        threshold: of the score; the setting CONTAMINATION_BY gives categories their own.
        own_thresholds: category -> its own threshold.
        rate: share of the judged rows that is flagged.
        frauds_caught: frauds among them.
        weeks: one after the other.
        lowest_relative: least weekly rate as a multiple of the target; whole weeks only, where there are any.
        highest_relative: the same of the greatest.
    """

    target: float
    threshold: float
    own_thresholds: dict[str, float]
    rate: float
    frauds_caught: int
    weeks: list[Week]
    lowest_relative: float
    highest_relative: float


@dataclass(frozen=True, slots=True)
class Agreement:
    """Whether verdicts name what gives a campaign away.

    Attributes:
        right: reason codes that do; see `fraudstream.training.right_reasons`.
        flagged: frauds of the campaign that the ensemble flags.
        right_first: share of them whose leading reason is right; None where none is flagged.
        right_among: share of them with a right one among all their reasons.
    """

    right: tuple[str, ...]
    flagged: int
    right_first: float | None
    right_among: float | None


@dataclass(frozen=True, slots=True)
class Reasons:
    """Which reasons are given where the ensemble flags.

    Attributes:
        leading: reason code -> flagged rows that it leads.
        by_campaign: campaign -> reason code -> its flagged frauds; without campaigns all frauds are one.
        agreement: campaign -> whether its reasons are right, for campaigns of which that is known.
    """

    leading: dict[str, int]
    by_campaign: dict[str, dict[str, int]]
    agreement: dict[str, Agreement]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Everything that was found out, as it goes to JSON.

    Attributes:
        rows: judged.
        frauds: among them.
        users: among them.
        left_out: rows of users known to be compromised.
        duplicates: rows that repeat an earlier one; left out as well.
        first_event_time: of the judged rows.
        last_event_time: of the same.
        model_version: of the judged model.
        degraded: members that failed and have no figures of their own.
        has_seen_judged: the model's training range reaches into the judged one: its figures flatter it.
        card_precision_100_at_best: card precision of who knows every fraud.
        methods: ensemble, members, then baselines.
        differences: measure -> the ensemble against the best baseline.
        groups: `month`, `category` and `campaign`, as far as the file has them -> name -> figures.
        campaigns: campaign -> how soon it is noticed; empty where the file has none.
        alert_rate: of the ensemble.
        calibration: [score, share of the judged rows above it]; a calibrated score s has 1 - s above it.
        drift: feature -> population stability index against the sample from before, most changed first.
        reasons: of the flagged rows.
    """

    rows: int
    frauds: int
    users: int
    left_out: int
    duplicates: int
    first_event_time: datetime
    last_event_time: datetime
    model_version: str
    degraded: tuple[str, ...]
    has_seen_judged: bool
    card_precision_100_at_best: float
    methods: dict[str, Method]
    differences: dict[str, Difference]
    groups: dict[str, dict[str, Group]]
    campaigns: dict[str, CampaignDetection]
    alert_rate: AlertRate
    calibration: list[tuple[float, float]]
    drift: dict[str, float]
    reasons: Reasons

    def as_json(self) -> dict[str, Any]:
        """The same for machines."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        return found
