"""The reasons of flagged transactions in words; how scores are shared out among them stands in attribution.py.

What is not told is the last reason, so the contributions of a verdict's reasons sum to its score.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fraudstream.decide.attribution import CODE_NAMES, share_out
from fraudstream.decide.attribution_kernel import LSTM, SEQUENCE_AT
from fraudstream.decide.codes import OTHER_SIGNALS
from fraudstream.decide.sentences import said_of, said_of_feature, said_of_sequence
from fraudstream.features.catalogue import MODEL_INPUTS
from fraudstream.verdict import NOTHING_FOUND, Reason

DIGITS = 6
"""Of contributions, as of the score that they sum to."""
SEQUENCE_FEATURE, REST_FEATURE = "sequence", "other"

_SHOWN = 0.5 * 10**-DIGITS


def reasons_of_rows(
    scores: Sequence[float],
    amounts: Sequence[float],
    features: NDArray[np.float32],
    surprise: NDArray[np.float32],
    members: NDArray[np.float64],
    weights: Sequence[float],
) -> list[tuple[Reason, ...]]:
    """The reasons of some flagged transactions, at most one of a kind; the contributions of each sum to its score.

    Args:
        scores: the anomaly scores, as the verdicts say them.
        amounts: in main units.
        features: (n, len(CATALOGUE)) of the transactions.
        surprise: (n, len(MODEL_INPUTS)) the autoencoder's squared positive residuals.
        members: (n, 3) ranks of forest, autoencoder and lstm, NaN where one failed.
        weights: of the members.
    """
    parts = share_out(np.array(scores), members, weights, surprise, features)
    columns = (
        scores, amounts, features.tolist(), members[:, LSTM].tolist(),
        parts.told.tolist(), parts.code.tolist(), parts.at.tolist(), parts.contribution.round(DIGITS).tolist(),
        parts.rest.tolist(), parts.rest.round(DIGITS).tolist(), parts.signals.tolist(),
    )  # fmt: skip
    found = []
    for score, amount, row, lstm, told, codes, ats, contributions, rest, shown, signals in zip(*columns, strict=True):
        rounded = contributions[:told]
        if rest >= _SHOWN or not rounded:
            rounded.append(shown)
        # They sum to the score as it is sent: the first takes up what rounding adds.
        rounded[0] = round(rounded[0] + score - sum(rounded), DIGITS)
        reasons = [
            _reason(CODE_NAMES[code], at, contribution, amount, row, lstm)
            for code, at, contribution in zip(codes[:told], ats, rounded, strict=False)
        ]
        if len(rounded) > told:
            reasons.append(_rest(rounded[-1], signals - told, alone=not told))
        found.append(tuple(reasons))
    return found


def reasons_of(
    score: float,
    amount: float,
    features: NDArray[np.float32],
    surprise: NDArray[np.float32],
    members: Sequence[float],
    weights: Sequence[float],
) -> tuple[Reason, ...]:
    """Those of one transaction; see `reasons_of_rows`."""
    (reasons,) = reasons_of_rows([score], [amount], features[None], surprise[None], np.array([members]), weights)
    return reasons


def explanation_of(reasons: Sequence[Reason]) -> str:
    """All reasons in one line; the rest only where it is all there is. Without any, that nothing was found."""
    if not reasons:
        return NOTHING_FOUND
    return "; ".join(reason.text for reason in reasons if reason.feature != REST_FEATURE) or reasons[0].text


def _reason(code: str, at: int, contribution: float, amount: float, row: list[float], lstm: float) -> Reason:
    if at == SEQUENCE_AT:
        said = said_of_sequence(0.0 if math.isnan(lstm) else lstm, row)
        return Reason(code, SEQUENCE_FEATURE, said.value, said.unit, said.usual, contribution, said.text)
    feature = MODEL_INPUTS[at]
    said = said_of_feature(feature, amount, row) if feature.says else said_of(code, feature, amount, row)
    return Reason(code, feature.name, said.value, said.unit, said.usual, contribution, said.text)


def _rest(contribution: float, signals: int, *, alone: bool) -> Reason:
    text = "No single signal stands out, but the payment as a whole is unusual" if alone else "Smaller signals together"
    return Reason(OTHER_SIGNALS, REST_FEATURE, float(signals), "signals", None, contribution, text)
