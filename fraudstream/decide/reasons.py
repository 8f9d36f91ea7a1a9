"""Which parts of a score are told as reasons, and in which order; how they are shared out stands in attribution.py.

What leads is decided by subject first: several codes about the amount must not lose to one about the hour because they
share one voice. The leading subject's strongest code comes first, then the strongest of all others. What is not told is
the last reason, so the contributions of a verdict's reasons sum to its score.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from fraudstream.decide.attribution import LSTM, SEQUENCE_AT, Part, attribute
from fraudstream.decide.codes import OTHER_SIGNALS, subject_of
from fraudstream.decide.sentences import said_of, said_of_feature, said_of_sequence
from fraudstream.features.catalogue import MODEL_INPUTS
from fraudstream.verdict import Reason

MAX_REASONS = 5
"""Besides the one that holds the rest."""
SMALLEST_SHARE = 0.05
"""A reason that did less than this for the score is not worth an analyst's time, unless it leads."""
DIGITS = 6
"""Of contributions, as of the score that they sum to."""
SEQUENCE_FEATURE, REST_FEATURE = "sequence", "other"

_CONTRIBUTION = attrgetter("contribution")
_SHOWN = 0.5 * 10**-DIGITS


def reasons_of(
    score: float,
    amount: float,
    features: NDArray[np.float32],
    surprise: NDArray[np.float32],
    members: Sequence[float],
    weights: Sequence[float],
) -> tuple[Reason, ...]:
    """The reasons of one flagged transaction, at most one of a kind; their contributions sum to the score.

    Args:
        score: the anomaly score, as the verdict says it.
        amount: in main units.
        features: (len(CATALOGUE),) of the transaction.
        surprise: (len(MODEL_INPUTS),) the autoencoder's squared positive residuals.
        members: ranks of forest, autoencoder and lstm, NaN where one failed.
        weights: of the members.
    """
    row: list[float] = features.tolist()
    parts, left_over = attribute(score, members, weights, surprise, row)
    signals = len(parts)
    told, rest = choose(score, parts, left_over)
    contributions = _rounded(score, told, rest)
    reasons = [
        _reason(part, contribution, amount, row, members[LSTM])
        for part, contribution in zip(told, contributions, strict=False)
    ]
    if len(contributions) > len(told):
        reasons.append(_rest(contributions[-1], signals - len(told), alone=not told))
    return tuple(reasons)


def choose(score: float, parts: list[Part], left_over: float) -> tuple[list[Part], float]:
    """The parts that are told, the leading one first, and the sum of those that are not.

    Args:
        score: what they sum to.
        parts: at most one of a code.
        left_over: what no code has.
    """
    if not parts:
        return [], left_over
    parts.sort(key=_CONTRIBUTION, reverse=True)
    by_subject: dict[str, float] = {}
    for part in parts:
        subject = subject_of(part.code)
        by_subject[subject] = by_subject.get(subject, 0.0) + part.contribution
    leading = max(by_subject, key=by_subject.__getitem__)
    if not by_subject[leading]:
        return [], left_over
    at, enough = 0, SMALLEST_SHARE * score
    while subject_of(parts[at].code) != leading:
        at += 1
    told = [parts.pop(at)]
    while len(told) < MAX_REASONS and parts and parts[0].contribution >= enough:
        told.append(parts.pop(0))
    rest = left_over + sum(map(_CONTRIBUTION, parts))
    return told, rest


def explanation_of(reasons: Sequence[Reason]) -> str:
    """All reasons in one line; the rest only where it is all there is."""
    return "; ".join(reason.text for reason in reasons if reason.feature != REST_FEATURE) or reasons[0].text


def _rounded(score: float, told: list[Part], rest: float) -> list[float]:
    """Contributions as they are sent: they sum to the rounded score; the first takes up what rounding adds."""
    rounded = [round(part.contribution, DIGITS) for part in told]
    if rest >= _SHOWN or not rounded:
        rounded.append(round(rest, DIGITS))
    rounded[0] = round(rounded[0] + round(score, DIGITS) - sum(rounded), DIGITS)
    return rounded


def _reason(part: Part, contribution: float, amount: float, row: list[float], lstm: float) -> Reason:
    if part.at == SEQUENCE_AT:
        said = said_of_sequence(0.0 if math.isnan(lstm) else lstm, row)
        return Reason(part.code, SEQUENCE_FEATURE, said.value, said.unit, said.usual, contribution, said.text)
    feature = MODEL_INPUTS[part.at]
    said = said_of_feature(feature, amount, row) if feature.says else said_of(part.code, feature, amount, row)
    return Reason(part.code, feature.name, said.value, said.unit, said.usual, contribution, said.text)


def _rest(contribution: float, signals: int, *, alone: bool) -> Reason:
    text = "No single signal stands out, but the payment as a whole is unusual" if alone else "Smaller signals together"
    return Reason(OTHER_SIGNALS, REST_FEATURE, float(signals), "signals", None, contribution, text)
