"""The naive way of decide/attribution.py: one score after the other, with a dict of parts.

The score's ingredients are the members' squared says, weighted (score/calibration.py): each member gets the part of
the score that it has of their sum. The LSTM's part is the sequence's. Forest and autoencoder read the same inputs; what
both get is shared out as the autoencoder's squared residuals are. A feature that is made of several facts gives each of
them its part. What cannot be shared out stays over.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fraudstream.decide import codes
from fraudstream.decide.attribution_kernel import LSTM, MAX_REASONS, SEQUENCE_AT, SEQUENCE_FROM_RANK, SMALLEST_SHARE
from fraudstream.decide.codes import subject_of
from fraudstream.decide.sentences import has_category
from fraudstream.features.catalogue import MODEL_INPUTS, index_of
from fraudstream.features.evidence import MOST_TESTS
from fraudstream.features.surprise import RATIO_THRESHOLD, TAIL_THRESHOLD, Z_THRESHOLD
from fraudstream.score.calibration import say

_CONTRIBUTION = attrgetter("contribution")

Row = list[float]
"""Features of a transaction in the catalogue's order."""
Split = Callable[[Row], list[tuple[str, float]]]
"""Codes that share a feature's part, and their shares, which sum to 1."""


class Part:
    """What one code has of a score.

    Attributes:
        code: whose part it is.
        contribution: its part of the score.
        at: the model input that gave most of it, SEQUENCE_AT for the sequence.
        largest: how much that input gave.
    """

    __slots__ = ("at", "code", "contribution", "largest")

    def __init__(self, code: str, contribution: float, at: int) -> None:
        self.code = code
        self.contribution = self.largest = contribution
        self.at = at

    def add(self, contribution: float, at: int) -> None:
        """Adds what another input gives."""
        self.contribution += contribution
        if contribution > self.largest:
            self.largest, self.at = contribution, at


def member_shares(members: Sequence[float], weights: Sequence[float]) -> list[float]:
    """Each member's share of what all say, squared and weighted; they sum to 1, a failed member has 0.

    Args:
        members: ranks, NaN where one failed.
        weights: of the members; where none is left that has any, all that are left count the same, as in the score.
    """
    says = [
        weight * say(rank) ** 2 if weight and rank > 0.0 else 0.0 for rank, weight in zip(members, weights, strict=True)
    ]
    whole = says[0] + says[1] + says[2]
    if not whole:
        says = _even_says(members, weights)
        whole = sum(says) or 1.0
    return [part / whole for part in says]


def _even_says(members: Sequence[float], weights: Sequence[float]) -> list[float]:
    """Where nobody with a weight says anything: what is left of the weights, or of the members."""
    is_left = [0.0 if math.isnan(rank) else 1.0 for rank in members]
    left = [weight * one for weight, one in zip(weights, is_left, strict=True)]
    if any(left):
        return left
    says = [say(rank) ** 2 if one else 0.0 for rank, one in zip(members, is_left, strict=True)]
    return says if any(says) else is_left


def attribute(
    score: float, members: Sequence[float], weights: Sequence[float], surprise: NDArray[np.float32], row: Row
) -> tuple[list[Part], float]:
    """Parts of the score by code, and what is left over; all of them sum to the score.

    Args:
        score: the anomaly score, not rounded.
        members: ranks of forest, autoencoder and lstm, NaN where one failed.
        weights: of the members.
        surprise: (len(MODEL_INPUTS),) the autoencoder's squared positive residuals; what is no finite number counts 0.
        row: features of the transaction.
    """
    of_sequence = score * member_shares(members, weights)[LSTM]
    residuals: list[float] = surprise.tolist()
    total = sum(residuals)
    if not 0.0 <= total < math.inf or min(residuals) < 0.0:
        residuals = [residual if 0.0 < residual < math.inf else 0.0 for residual in residuals]
        total = sum(residuals)
    found: dict[str, Part] = {}
    left_over = score
    if total > 0.0:
        left_over = of_sequence
        _share_out(residuals, (score - of_sequence) / total, row, found)
    if members[LSTM] >= SEQUENCE_FROM_RANK:  # a rank that is none is not
        found[codes.UNUSUAL_SEQUENCE] = Part(codes.UNUSUAL_SEQUENCE, of_sequence, SEQUENCE_AT)
        left_over -= of_sequence
    return list(found.values()), max(left_over, 0.0)


def _share_out(residuals: list[float], for_each: float, row: Row, found: dict[str, Part]) -> None:
    """Gives every code what its inputs have; written for speed, because every flagged payment comes here."""
    for at, residual in enumerate(residuals):
        if not residual:
            continue
        contribution, code = residual * for_each, _CODES[at]
        echo = _ECHOES[at]
        if echo is not None:
            # An echo is this amount's excess and that of amounts before: each gets what it has of the sum.
            whole, now = row[echo.whole_at], row[echo.now_at] - echo.threshold
            if whole <= 0.0 or now >= whole:
                code = echo.code_now
            elif now > 0.0:
                _add(found, echo.code_now, contribution * (now / whole), at)
                contribution *= 1.0 - now / whole
        elif at in _SPLITS:
            for part_code, share in _SPLITS[at](row):
                _add(found, part_code, contribution * share, at)
            continue
        part = found.get(code)
        if part is None:
            found[code] = Part(code, contribution, at)
        else:
            part.add(contribution, at)


def _add(found: dict[str, Part], code: str, contribution: float, at: int) -> None:
    part = found.get(code)
    if part is None:
        found[code] = Part(code, contribution, at)
    else:
        part.add(contribution, at)


class _Echo(NamedTuple):
    """Where an echo and what it echoes stand, from where on that counts, and what it is evidence of."""

    whole_at: int
    now_at: int
    threshold: float
    code_now: str


def _device(row: Row) -> list[tuple[str, float]]:
    """Strangeness is 1 + rarity + merchant + tests.

    Tests and rarity have inputs of their own. A test is one whatever the device, so its part goes to the test; a rare
    category says nothing new here, it makes the device stranger. The merchant has no other input: it gets half of what
    it adds, the other half is the device's, without which it would add nothing.
    """
    tests, rarity = max(min(row[_SMALL], MOST_TESTS), 0.0), max(row[_RARITY], 0.0)
    merchant = max(row[_DEVICE] - 1.0 - rarity - tests, 0.0)
    whole = 1.0 + rarity + merchant + tests
    device = codes.SHARED_DEVICE if row[_DEVICE_USERS] > 1.0 else codes.NEW_DEVICE
    shares = [(device, (1.0 + rarity + merchant / 2.0) / whole)]
    if tests:
        shares.append((codes.CARD_TESTING, tests / whole))
    if merchant:
        shares.append((codes.NEW_MERCHANT, merchant / 2.0 / whole))
    return shares


def _tail(row: Row) -> list[tuple[str, float]]:
    """Without a category it is the tail of everybody's amounts."""
    return [(codes.AMOUNT_FOR_CATEGORY if has_category(row) else codes.LARGE_AMOUNT, 1.0)]


def _category(row: Row) -> list[tuple[str, float]]:
    return [(_category_code(row), 1.0)]


def _category_code(row: Row) -> str:
    return codes.RARE_CATEGORY if row[_CATEGORY_VISITS] else codes.NEW_CATEGORY


_DEVICE = index_of("device_strangeness")
_DEVICE_USERS = index_of("device_users")
_SMALL = index_of("small_burst_1h")
_RARITY = index_of("category_rarity")
_CATEGORY_VISITS = index_of("category_visits_30d")

_ECHO_OF = {
    "echo_z_1d": ("amount_z", Z_THRESHOLD, codes.AMOUNT_FOR_USER),
    "echo_category_1d": ("amount_z_category", Z_THRESHOLD, codes.AMOUNT_FOR_CATEGORY),
    "echo_category_3d": ("amount_z_category", Z_THRESHOLD, codes.AMOUNT_FOR_CATEGORY),
    "echo_ratio_1d": ("amount_to_mean_lifetime", RATIO_THRESHOLD, codes.AMOUNT_FOR_USER),
    "echo_ratio_3d": ("amount_to_mean_lifetime", RATIO_THRESHOLD, codes.AMOUNT_FOR_USER),
    "echo_tail_1d": ("amount_tail_category", TAIL_THRESHOLD, codes.AMOUNT_FOR_CATEGORY),
}
_SPLIT_OF: dict[str, Split] = {
    "amount_tail_category": _tail,
    "device_strangeness": _device,
    "category_rarity": _category,
}


def _echo(name: str) -> _Echo | None:
    if name not in _ECHO_OF:
        return None
    now, threshold, code = _ECHO_OF[name]
    return _Echo(index_of(name), index_of(now), threshold, code)


_CODES = tuple(feature.reason for feature in MODEL_INPUTS)
_ECHOES = tuple(_echo(feature.name) for feature in MODEL_INPUTS)
_SPLITS = {at: _SPLIT_OF[feature.name] for at, feature in enumerate(MODEL_INPUTS) if feature.name in _SPLIT_OF}


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
