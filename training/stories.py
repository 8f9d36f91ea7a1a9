"""Single judged transactions as a person would tell them: what the user did before, what happened, what was said."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from fraudstream.training.campaign_findings import campaigns_of
from fraudstream.training.evaluate import Judged
from fraudstream.training.evaluation import ENSEMBLE
from fraudstream.training.metrics import Ints

STORIES = 10
EARLIER_ROWS = 5

_TEXTS = ("merchant", "category", "location", "device_id")


@dataclass(frozen=True, slots=True)
class Story:
    """One transaction and what led up to it.

    Attributes:
        user: its user_id.
        campaign: of a fraud, "" where the file has none.
        amount: in main units.
        score: of the ensemble.
        this: the transaction in words.
        earlier: the user's last transactions before it, oldest first.
        earlier_rows: how many transactions of the user the file holds before it.
        reasons: what a verdict says, or would say, of it.
        others: how many more of this kind the user has, which are not told.
    """

    user: str
    campaign: str
    amount: float
    score: float
    this: str
    earlier: tuple[str, ...]
    earlier_rows: int
    reasons: tuple[str, ...]
    others: int


def costliest_misses(judged: Judged) -> list[Story]:
    """Frauds that were not flagged, the largest amounts first, one for each user."""
    missed = judged.is_fraud[judged.rows] & ~judged.flagged
    places = np.flatnonzero(missed)
    return _told(judged, places[np.argsort(-judged.amount[places], kind="stable")])


def loudest_false_alerts(judged: Judged) -> list[Story]:
    """Normal transactions that were flagged, the highest scores first, one for each user."""
    scores = judged.scores[ENSEMBLE]
    places = np.flatnonzero(~judged.is_fraud[judged.rows] & judged.flagged)
    return _told(judged, places[np.argsort(-scores[places], kind="stable")])


def _told(judged: Judged, places: Ints) -> list[Story]:
    _, first, times = np.unique(judged.user[judged.rows[places]], return_index=True, return_counts=True)
    told = np.argsort(first)[:STORIES]
    campaign = campaigns_of(judged)
    return [_story(judged, int(places[first[at]]), campaign, others=int(times[at]) - 1) for at in told]


def _story(judged: Judged, at: int, campaign: NDArray[np.object_] | None, others: int) -> Story:
    row = int(judged.rows[at])
    before = np.flatnonzero((judged.user[:row] == judged.user[row]) & ~judged.is_duplicate[:row])
    return Story(
        user=judged.history.table["user_id"][row].as_py(),
        campaign=str(campaign[at]) if campaign is not None and judged.is_fraud[row] else "",
        amount=float(judged.amount[at]),
        score=float(judged.scores[ENSEMBLE][at]),
        this=_in_words(judged, row),
        earlier=tuple(_in_words(judged, int(earlier)) for earlier in before[-EARLIER_ROWS:]),
        earlier_rows=len(before),
        reasons=tuple(reason.text for reason in judged.reasons(at)),
        others=others,
    )


def _in_words(judged: Judged, row: int) -> str:
    table = judged.history.table
    texts = {name: table[name][row].as_py() for name in _TEXTS if name in judged.history}
    when = datetime.fromtimestamp(int(judged.time_s[row]), UTC)
    words = f"{when:%a} {when.day} {when:%b %Y, %H:%M}: {table['amount'][row].as_py():,.2f} at {texts['merchant']}"
    if texts.get("category"):
        words += f" ({texts['category']})"
    if texts.get("location"):
        words += f" in {texts['location']}"
    if texts.get("device_id"):
        words += f", device {texts['device_id'][:8]}"
    return words + (", fraud" if judged.is_fraud[row] else "")
