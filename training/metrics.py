"""How good scores are at putting frauds first, exact under ties and weights; nothing here knows a model or a file.

A ranking is sorted once and then measured under as many weights of its users as wanted: that makes the bootstrap fast.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fraudstream.compiled import compiled

FALSE_POSITIVE_RATE = 0.01
CARDS_A_DAY = 100
CONFIDENCE = 0.95
PSI_BINS = 10

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Measures:
    """What a ranking is worth; each is NaN where there is no fraud or nothing else.

    Attributes:
        auc: area under the ROC curve; half a point for a tie.
        average_precision: sum over thresholds of precision times the recall gained, as scikit-learn defines it.
        tpr_at_1pct_fpr: recall where 1 % of the normal transactions are flagged, on the straight line between the
            points of the ROC curve beside it.
    """

    auc: float
    average_precision: float
    tpr_at_1pct_fpr: float


MEASURES = ("auc", "average_precision", "tpr_at_1pct_fpr")


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """Transactions from the highest score down.

    Attributes:
        scores: (n,) descending.
        is_fraud: (n,) labels in that order.
        user: (n,) numbers of the users in that order, below `users`.
        ends_tie: (n,) whether the next score is another one: no threshold falls between equal scores.
        users: how many users there are.
    """

    scores: Floats
    is_fraud: Flags
    user: NDArray[np.int32]
    ends_tie: Flags
    users: int

    @classmethod
    def of(cls, scores: Floats, is_fraud: Flags, user: NDArray[np.int32], users: int) -> Ranking:
        """Sorts scores (n,) with their labels (n,) and user numbers (n,)."""
        order = np.argsort(-scores, kind="stable")
        ordered = scores[order]
        return cls(ordered, is_fraud[order], user[order], np.append(ordered[1:] != ordered[:-1], True), users)

    def measure(self, weight_of_user: Floats | None = None) -> Measures:
        """The measures with each transaction counting as often as its user does (default: once)."""
        weights = np.ones(self.users) if weight_of_user is None else weight_of_user
        found = _sweep(self.is_fraud, self.user, self.ends_tie, weights, FALSE_POSITIVE_RATE)
        return Measures(*map(float, found))

    def threshold_at(self, false_positive_rate: float) -> float:
        """The lowest score such that at most this share of the normal transactions lies above it."""
        normal = self.scores[~self.is_fraud]
        if not len(normal):
            return float("-inf")
        return float(normal[int(false_positive_rate * len(normal))])

    def precision_and_recall(self) -> tuple[Floats, Floats]:
        """Precision and recall, (thresholds,) each, from the highest threshold down."""
        caught = np.cumsum(self.is_fraud)[self.ends_tie]
        flagged = np.flatnonzero(self.ends_tie) + 1
        return caught / flagged, caught / max(int(self.is_fraud.sum()), 1)


@compiled
def _sweep(
    is_fraud: Flags, user: NDArray[np.int32], ends_tie: Flags, weight_of_user: Floats, false_positive_rate: float
) -> tuple[float, float, float]:
    """AUC, average precision and interpolated recall in one pass from the highest score down."""
    frauds = normals = 0.0
    for row in range(len(is_fraud)):
        if is_fraud[row]:
            frauds += weight_of_user[user[row]]
        else:
            normals += weight_of_user[user[row]]
    if frauds == 0.0 or normals == 0.0:
        return np.nan, np.nan, np.nan
    true = false = last_true = last_false = area = precision = 0.0
    recall = -1.0
    for row in range(len(is_fraud)):
        if is_fraud[row]:
            true += weight_of_user[user[row]]
        else:
            false += weight_of_user[user[row]]
        if not ends_tie[row]:
            continue
        area += (false - last_false) * (true + last_true)
        if true > last_true:
            precision += (true - last_true) * true / (true + false)
        if recall < 0.0 and false / normals > false_positive_rate:
            into = (false_positive_rate * normals - last_false) / (false - last_false)
            recall = (last_true + (true - last_true) * into) / frauds
        last_true, last_false = true, false
    return area / (2.0 * frauds * normals), precision / frauds, recall


def bootstrap(
    rankings: Mapping[str, Ranking], draws: int, seed: int, advance: Callable[[int], None] | None = None
) -> dict[str, Floats]:
    """Measures under resampled users, the same users for every ranking of a draw, so that differences are paired.

    Users and not transactions are drawn, because the frauds of a user come in streaks (cluster bootstrap: Cameron,
    Gelbach, Miller, Bootstrap-Based Improvements for Inference with Clustered Errors, 2008).

    Args:
        rankings: of the same transactions by different scores.
        draws: how often.
        seed: same seed, same draws.
        advance: told how many draws are done.

    Returns:
        (draws, len(MEASURES)) for each ranking; NaN in draws without a fraud.
    """
    random = np.random.default_rng(seed)
    found = {name: np.empty((draws, len(MEASURES))) for name in rankings}
    users = next(iter(rankings.values())).users
    for draw in range(draws):
        weights = np.bincount(random.integers(users, size=users), minlength=users).astype(np.float64)
        for name, ranking in rankings.items():
            found[name][draw] = _sweep(ranking.is_fraud, ranking.user, ranking.ends_tie, weights, FALSE_POSITIVE_RATE)
        if advance is not None:
            advance(draw + 1)
    return found


def interval(values: Floats) -> tuple[float, float] | None:
    """The middle 95 % of bootstrap values (draws,); None where most draws had no fraud, or there are none."""
    known = values[np.isfinite(values)]
    if 2 * len(known) <= len(values):  # also where nothing was drawn
        return None
    tail = 100.0 * (1.0 - CONFIDENCE) / 2.0
    low, high = np.percentile(known, [tail, 100.0 - tail])
    return float(low), float(high)


def card_precision(day: Ints, user: NDArray[np.int32], is_fraud: Flags, scores: Floats) -> float:
    """Share of compromised cards among the CARDS_A_DAY most suspicious ones of each day, averaged over the days.

    A card's score of a day is its highest; a card once found is not shown again. Days with fewer cards than that count
    the missing ones as not compromised. Le Borgne et al., Reproducible Machine Learning for Credit Card Fraud
    Detection, chapter "Precision top-k metrics".

    Args:
        day: (n,) number of each transaction's day.
        user: (n,) number of its user: one card each.
        is_fraud: (n,) labels.
        scores: (n,) scores.
    """
    if not len(day):
        return float("nan")
    order = np.lexsort((user, day))
    days, users = day[order], user[order]
    starts = np.flatnonzero(np.append(True, (days[1:] != days[:-1]) | (users[1:] != users[:-1])))
    card_day, card = days[starts], users[starts]
    highest = np.maximum.reduceat(scores[order], starts)
    compromised = np.logical_or.reduceat(is_fraud[order], starts)
    found = np.zeros(int(user.max()) + 1, np.bool_)
    shares = []
    for each in np.unique(card_day):
        today = slice(*np.searchsorted(card_day, [each, each + 1]))
        left = ~found[card[today]]
        cards, suspicion, hit = card[today][left], highest[today][left], compromised[today][left]
        shown = np.argsort(-suspicion, kind="stable")[:CARDS_A_DAY]
        found[cards[shown][hit[shown]]] = True
        shares.append(hit[shown].sum() / CARDS_A_DAY)
    return float(np.mean(shares))


def most_suspicious(scores: Floats, count: int) -> NDArray[np.intp]:
    """Places of the `count` highest scores (n,); of equal ones those that come first."""
    return np.argsort(-scores, kind="stable")[:count]


def population_stability_index(reference: Floats, values: Floats) -> float:
    """How far the distribution of values (n,) has moved from a reference (m,): 0 is not at all, above 0.25 much.

    Sum of (p - q) log(p / q) over bins with a tenth of the reference each (fewer where many values are equal), with
    half a row added to every bin, so that an empty one stays finite. Siddiqi, Credit Risk Scorecards, 2006.
    """
    borders = np.unique(np.quantile(reference, np.arange(1, PSI_BINS) / PSI_BINS))
    if len(borders) and borders[0] == reference.min():
        borders = borders[1:]  # everything at the smallest value is a bin of its own
    smallest = reference.min()
    cuts = np.unique(np.append(np.nextafter(smallest, np.inf), borders))

    def shares(of: Floats) -> Floats:
        counts = np.bincount(np.searchsorted(cuts, of, side="right"), minlength=len(cuts) + 1) + 0.5
        return np.asarray(counts / counts.sum())

    expected, actual = shares(reference), shares(values)
    return float(np.sum((actual - expected) * np.log(actual / expected)))
