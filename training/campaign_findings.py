"""How soon each campaign is noticed by whoever can look at the most suspicious 1 % of the transactions only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fraudstream.training.baselines import BASELINES
from fraudstream.training.evaluate import Judged
from fraudstream.training.evaluation import ENSEMBLE, NONE, CampaignDetection
from fraudstream.training.metrics import Flags, most_suspicious
from fraudstream.training.streaks import StreakDetection, Streaks, detection, find_streaks

CAUGHT_SHARE = 0.6
"""A campaign is caught where so many of its instances have an alert within their first three frauds."""


def campaigns_of(judged: Judged) -> NDArray[np.object_] | None:
    """Campaign of each judged row, "" for none; None where the file has none."""
    campaign = _campaigns(judged)
    return None if campaign is None else campaign[judged.rows]


def how_soon_noticed(judged: Judged, alert_share: float) -> dict[str, CampaignDetection]:
    """Every campaign of the judged frauds, by name; empty where the file has none.

    Args:
        judged: what the model and the baselines said.
        alert_share: of the judged rows that are alerts, for every method alike: the most suspicious ones.
    """
    campaign = _campaigns(judged)
    if campaign is None:
        return {}
    alerts = {name: alerted(scores, alert_share) for name, scores in judged.scores.items()}
    judged_frauds = judged.rows[judged.is_fraud[judged.rows]]
    found = {}
    for name in sorted(set(campaign[judged_frauds].tolist())):
        streaks = find_streaks(judged.user, judged.time_s, judged.is_fraud & (campaign == name), judged.rows)
        frauds = int((campaign[judged_frauds] == name).sum())
        found[name or NONE] = _noticed(frauds, streaks, alerts, alert_share)
    return found


def alerted(scores: NDArray[np.float64], share: float) -> Flags:
    """Whether each row (n,) is among the most suspicious share of them."""
    flags = np.zeros(len(scores), np.bool_)
    flags[most_suspicious(scores, round(share * len(scores)))] = True
    return flags


def _noticed(frauds: int, streaks: Streaks, alerts: dict[str, Flags], alert_share: float) -> CampaignDetection:
    methods = {name: one for name, flags in alerts.items() if (one := detection(streaks, flags)) is not None}
    if not methods:
        return CampaignDetection(frauds, 0, alert_share, None, None, None, {})
    best = max(BASELINES, key=lambda name: _how_early(methods[name]))
    share = methods[ENSEMBLE].caught_within_three
    return CampaignDetection(
        frauds=frauds,
        instances=streaks.count,
        alert_share=alert_share,
        is_caught=share >= CAUGHT_SHARE,
        best_baseline=best,
        lead=share - methods[best].caught_within_three,
        methods=methods,
    )


def _how_early(one: StreakDetection) -> tuple[float, float, float]:
    return one.caught_within_three, one.first_caught, one.ever_caught


def _campaigns(judged: Judged) -> NDArray[np.object_] | None:
    """Campaign of each row of the whole history."""
    if "campaign" not in judged.history:
        return None
    codes, names = judged.history.codes("campaign")
    return np.array([*(name or "" for name in names), ""], object)[codes]
