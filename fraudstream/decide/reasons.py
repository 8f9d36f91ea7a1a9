"""Why a transaction was flagged: the parts of the score, from the autoencoder's residuals and the LSTM, in sentences.

Parts add up: what the members say, weighted, is the whole; the LSTM's part is the sequence's, the rest is shared
out among the features as the autoencoder's squared residual is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fraudstream.decide.sentences import Facts, facts_of, sentence
from fraudstream.features.catalogue import FEATURE_NAMES, MODEL_INPUTS, ReasonCode
from fraudstream.score.calibration import say
from fraudstream.verdict import Reason

MAX_REASONS = 3
SEQUENCE: ReasonCode = "unusual_sequence"
SEQUENCE_TEXT = "Amounts like this one and the recent ones seldom follow what this user did before"
SEQUENCE_FROM_RANK = 0.9
"""From here on the LSTM is surprised, not only as little as by one payment in two."""
WHOLE_TEXT = "Nothing stands out alone, but the payment as a whole is unusual"
SMALLEST_SHARE = 0.02
"""A reason that did less than this for the score is not worth an analyst's time, unless it leads."""
_COLUMNS = tuple(FEATURE_NAMES.index(feature.name) for feature in MODEL_INPUTS)
_DIGITS = 6
_SEQUENCE_AT = -1
_LSTM = 2


def reasons_of(
    amount: float,
    features: NDArray[np.float32],
    surprise: NDArray[np.float32],
    members: Sequence[float],
    weights: Sequence[float],
) -> tuple[Reason, ...]:
    """The leading reasons of one flagged transaction, most important first, at most one of a kind.

    Args:
        amount: in main units.
        features: (len(CATALOGUE),) of the transaction.
        surprise: (len(MODEL_INPUTS),) the autoencoder's squared positive residuals.
        members: ranks of forest, autoencoder and lstm, NaN where one failed.
        weights: of the members.
    """
    parts = [0.0 if math.isnan(rank) else say(rank) * weight for rank, weight in zip(members, weights, strict=True)]
    whole = sum(parts) or 1.0
    sequence_share = parts[_LSTM] / whole
    residuals = surprise.astype(np.float64)
    total = float(residuals.sum())
    by_code: dict[str, tuple[float, int]] = {}
    if total > 0.0:
        shares = ((1.0 - sequence_share) / total * residuals).tolist()
        for at in np.argsort(-residuals, kind="stable").tolist():
            share = shares[at]
            if share == 0.0:
                break
            code = MODEL_INPUTS[at].reason
            sum_so_far, leading = by_code.get(code, (0.0, at))
            by_code[code] = (sum_so_far + share, leading)
    if members[_LSTM] >= SEQUENCE_FROM_RANK:  # a rank that is none is not
        by_code[SEQUENCE] = (sequence_share, _SEQUENCE_AT)
    if not by_code:
        return (_of_sequence(members[_LSTM], 1.0, WHOLE_TEXT),)
    facts = facts_of(amount, features)
    leading_first = sorted(by_code.values(), key=lambda found: -found[0])[:MAX_REASONS]
    return tuple(
        _of_sequence(members[_LSTM], share, SEQUENCE_TEXT)
        if at == _SEQUENCE_AT
        else _feature_reason(features, at, share, facts)
        for place, (share, at) in enumerate(leading_first)
        if place == 0 or share >= SMALLEST_SHARE
    )


def explanation_of(reasons: Sequence[Reason]) -> str:
    """All reasons in one line."""
    return "; ".join(reason.text for reason in reasons)


def _of_sequence(rank: float, share: float, text: str) -> Reason:
    return Reason(SEQUENCE, "sequence", 0.0 if math.isnan(rank) else round(rank, _DIGITS), share, text)


def _feature_reason(features: NDArray[np.float32], at: int, share: float, facts: Facts) -> Reason:
    feature, value = MODEL_INPUTS[at], float(features[_COLUMNS[at]])
    return Reason(feature.reason, feature.name, value, share, sentence(feature, features, facts))
