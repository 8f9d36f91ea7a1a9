"""Shares scores out among reason codes so that the parts sum to them; no words, no rounding.

A score's ingredients are the members' squared says, weighted (score/calibration.py): each member gets the part of
the score that it has of their sum. The LSTM's part is the sequence's. Forest and autoencoder read the same inputs; what
both get is shared out as the autoencoder's squared residuals are. A feature that is made of several facts gives each of
them its part. What cannot be shared out stays over.

What leads is decided by subject first: several codes about the amount must not lose to one about the hour because they
share one voice. The leading subject's strongest code comes first, then the strongest of all others.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fraudstream.decide import attribution_kernel as kernel
from fraudstream.decide import codes
from fraudstream.decide.attribution_kernel import (
    CATEGORY_SPLIT,
    DEVICE_SPLIT,
    LISTED,
    MAX_REASONS,
    NO_SPLIT,
    TAIL_SPLIT,
    Parts,
    Rules,
)
from fraudstream.decide.codes import subject_of
from fraudstream.decide.sentences import CATEGORY_RARITY, CATEGORY_VISITS, CATEGORY_Z, DEVICE_USERS, SMALL
from fraudstream.features.catalogue import MODEL_INPUTS, index_of
from fraudstream.features.surprise import RATIO_THRESHOLD, TAIL_THRESHOLD, Z_THRESHOLD

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def share_out(
    scores: Floats,
    members: Floats,
    weights: Sequence[float],
    surprise: NDArray[np.float32],
    features: NDArray[np.float32],
) -> Parts:
    """Parts of each score by code; told and rest sum to it.

    Args:
        scores: (n,) anomaly scores.
        members: (n, 3) ranks of forest, autoencoder and lstm, NaN where one failed.
        weights: of the members.
        surprise: (n, len(MODEL_INPUTS)) the autoencoder's squared positive residuals; what is no finite number counts
            0.
        features: (n, len(CATALOGUE)) of the transactions.
    """
    rows = len(scores)
    parts = Parts(
        told=np.zeros(rows, np.int64),
        code=np.zeros((rows, MAX_REASONS), np.int64),
        at=np.zeros((rows, MAX_REASONS), np.int64),
        contribution=np.zeros((rows, MAX_REASONS)),
        rest=np.zeros(rows),
        signals=np.zeros(rows, np.int64),
    )
    kernel.share_out(
        np.ascontiguousarray(scores, np.float64), np.ascontiguousarray(members, np.float64),
        np.array(weights, np.float64), np.ascontiguousarray(surprise, np.float32),
        np.ascontiguousarray(features, np.float32), _RULES, parts,
    )  # fmt: skip
    return parts


def _numbered() -> tuple[str, ...]:
    """The listed codes, then those of features of one's own."""
    return tuple(dict.fromkeys([*LISTED, *(feature.reason for feature in MODEL_INPUTS)]))


CODE_NAMES = _numbered()
_SPLIT_OF = {
    "amount_tail_category": TAIL_SPLIT,
    "device_strangeness": DEVICE_SPLIT,
    "category_rarity": CATEGORY_SPLIT,
}
_COLUMNS = (CATEGORY_Z, CATEGORY_RARITY, CATEGORY_VISITS, index_of("device_strangeness"), DEVICE_USERS, SMALL)
_ECHO_OF = {
    "echo_z_1d": ("amount_z", Z_THRESHOLD, codes.AMOUNT_FOR_USER),
    "echo_category_1d": ("amount_z_category", Z_THRESHOLD, codes.AMOUNT_FOR_CATEGORY),
    "echo_category_3d": ("amount_z_category", Z_THRESHOLD, codes.AMOUNT_FOR_CATEGORY),
    "echo_ratio_1d": ("amount_to_mean_lifetime", RATIO_THRESHOLD, codes.AMOUNT_FOR_USER),
    "echo_ratio_3d": ("amount_to_mean_lifetime", RATIO_THRESHOLD, codes.AMOUNT_FOR_USER),
    "echo_tail_1d": ("amount_tail_category", TAIL_THRESHOLD, codes.AMOUNT_FOR_CATEGORY),
}


def _rules() -> Rules:
    names = [feature.name for feature in MODEL_INPUTS]
    echoes = [_ECHO_OF.get(name) for name in names]
    subjects = list(dict.fromkeys(map(subject_of, CODE_NAMES)))
    return Rules(
        code=np.array([CODE_NAMES.index(feature.reason) for feature in MODEL_INPUTS], np.int64),
        subject=np.array([subjects.index(subject_of(code)) for code in CODE_NAMES], np.int64),
        whole_at=np.array(
            [-1 if echo is None else index_of(name) for name, echo in zip(names, echoes, strict=True)], np.int64
        ),
        now_at=np.array([-1 if echo is None else index_of(echo[0]) for echo in echoes], np.int64),
        threshold=np.array([0.0 if echo is None else echo[1] for echo in echoes]),
        code_now=np.array([-1 if echo is None else CODE_NAMES.index(echo[2]) for echo in echoes], np.int64),
        split=np.array([_SPLIT_OF.get(name, NO_SPLIT) for name in names], np.int64),
        columns=np.array(_COLUMNS, np.int64),
    )


_RULES = _rules()
