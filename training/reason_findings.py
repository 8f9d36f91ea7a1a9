"""Which reasons are given for what is flagged, and whether they are right where the story of a fraud is known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fraudstream.training.evaluate import Judged
from fraudstream.training.evaluation import NONE, Agreement, Reasons
from fraudstream.training.right_reasons import Right, right_reasons

ALL_FRAUDS = "all frauds"
"""Name of the frauds of a file without campaigns."""

Given = tuple[float, tuple[str, ...]]
"""Amount of a flagged fraud and the codes of its reasons, the leading one first."""


def reasons_given(judged: Judged, campaign: NDArray[np.object_] | None) -> Reasons:
    """The reasons of every flagged row.

    Args:
        judged: what the model said.
        campaign: (n,) of each judged row, "" for none; None where the file has none.
    """
    is_fraud = judged.is_fraud[judged.rows]
    leading: Counter[str] = Counter()
    given: dict[str, list[Given]] = {}
    for at in np.flatnonzero(judged.flagged).tolist():
        codes = tuple(reason.code for reason in judged.reasons(at))
        leading[codes[0]] += 1
        if is_fraud[at]:
            name = ALL_FRAUDS if campaign is None else str(campaign[at]) or NONE
            given.setdefault(name, []).append((float(judged.amount[at]), codes))
    occurring = set() if campaign is None else set(campaign[is_fraud].tolist())
    known = right_reasons(judged.campaign_column)
    return Reasons(
        leading=dict(leading.most_common()),
        by_campaign={name: dict(Counter(codes[0] for _, codes in given[name]).most_common()) for name in sorted(given)},
        agreement={name: agreement(known[name], given.get(name, ())) for name in sorted(occurring & known.keys())},
    )


def agreement(right: Right, given: Sequence[Given]) -> Agreement:
    """How often the reasons given for frauds of one campaign are right."""
    first = sum(codes[0] in right.of(amount) for amount, codes in given)
    among = sum(not set(codes).isdisjoint(right.of(amount)) for amount, codes in given)
    return Agreement(
        right=right.codes + right.of_large,
        flagged=len(given),
        right_first=first / len(given) if given else None,
        right_among=among / len(given) if given else None,
    )
