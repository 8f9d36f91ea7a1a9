"""Shares scores out among reason codes, compiled; what it is told of the model inputs stands in attribution.py."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fraudstream.compiled import Int, compiled
from fraudstream.decide import codes
from fraudstream.features.evidence import MOST_TESTS
from fraudstream.score.calibration import say

LSTM = 2
SEQUENCE_FROM_RANK = 0.9
"""From here on the LSTM is surprised, not only as little as by one payment in two."""
SEQUENCE_AT = -1
"""In the place of a model input."""

MAX_REASONS = 5
"""Besides the one that holds the rest."""
SMALLEST_SHARE = 0.05
"""A reason that did less than this for the score is not worth an analyst's time, unless it leads."""

LISTED = tuple(code.name for code in codes.CODES)
"""Codes by their numbers; those of features of one's own come behind."""
UNUSUAL_SEQUENCE = LISTED.index(codes.UNUSUAL_SEQUENCE)
_LARGE_AMOUNT, _AMOUNT_FOR_CATEGORY = LISTED.index(codes.LARGE_AMOUNT), LISTED.index(codes.AMOUNT_FOR_CATEGORY)
_SHARED_DEVICE, _NEW_DEVICE = LISTED.index(codes.SHARED_DEVICE), LISTED.index(codes.NEW_DEVICE)
_CARD_TESTING, _NEW_MERCHANT = LISTED.index(codes.CARD_TESTING), LISTED.index(codes.NEW_MERCHANT)
_RARE_CATEGORY, _NEW_CATEGORY = LISTED.index(codes.RARE_CATEGORY), LISTED.index(codes.NEW_CATEGORY)
_NOWHERE = -2

NO_SPLIT, TAIL_SPLIT, DEVICE_SPLIT, CATEGORY_SPLIT = range(4)
_Z, _RARITY, _VISITS, _DEVICE, _USERS, _SMALL = range(6)
"""The order of `Rules.columns`."""

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Rules(NamedTuple):
    """What the kernel knows of each model input; -1 is none.

    Attributes:
        code: whose evidence it is.
        subject: of each code.
        whole_at, now_at, threshold, code_now: of an echo: where it and what it echoes stand among the features, from
            where on that counts, and what it is evidence of.
        split: how it is shared among several codes.
        columns: where the features stand that a split looks at.
    """

    code: Ints
    subject: Ints
    whole_at: Ints
    now_at: Ints
    threshold: Floats
    code_now: Ints
    split: Ints
    columns: Ints


class Parts(NamedTuple):
    """What is told of some scores, strongest first but for the leading one; every array has one row a score.

    Attributes:
        told: how many codes are told.
        code: (n, MAX_REASONS) numbers of the codes, places in attribution.CODE_NAMES.
        at: (n, MAX_REASONS) the model input that gave most of it, SEQUENCE_AT for the sequence.
        contribution: (n, MAX_REASONS) its part of the score.
        rest: what the told ones leave of the score.
        signals: how many codes have a part, told or not.
    """

    told: Ints
    code: Ints
    at: Ints
    contribution: Floats
    rest: Floats
    signals: Ints


class ByCode(NamedTuple):
    """What each code has of one score.

    Attributes:
        part: its part of the score.
        largest: how much the input that gave most of it gave.
        at: which input that is.
        order: the codes that have a part, in the order in which they were found, later the strongest first.
    """

    part: Floats
    largest: Floats
    at: Ints
    order: Ints


@compiled
def share_out(
    scores: Floats,
    members: Floats,
    weights: Floats,
    surprise: NDArray[np.float32],
    features: NDArray[np.float32],
    rules: Rules,
    parts: Parts,
) -> None:
    """Fills in the parts of each score."""
    kinds = len(rules.subject)
    by_code = ByCode(np.empty(kinds), np.empty(kinds), np.empty(kinds, np.int64), np.empty(kinds, np.int64))
    part, given_at, order = by_code.part, by_code.at, by_code.order
    by_subject, residuals = np.empty(kinds), np.empty(surprise.shape[1])
    for row in range(len(scores)):
        score = scores[row]
        of_sequence = score * _share_of_lstm(members[row], weights)
        total = _usable(surprise[row], residuals)
        given_at[:] = _NOWHERE
        found, left_over = 0, score
        if total > 0.0:
            left_over = of_sequence
            found = _by_residuals(residuals, (score - of_sequence) / total, features[row], rules, by_code)
        if members[row, LSTM] >= SEQUENCE_FROM_RANK:  # a rank that is none is not
            if given_at[UNUSUAL_SEQUENCE] == _NOWHERE:
                order[found] = UNUSUAL_SEQUENCE
                found += 1
            part[UNUSUAL_SEQUENCE], given_at[UNUSUAL_SEQUENCE] = of_sequence, SEQUENCE_AT
            left_over -= of_sequence
        left_over = left_over if left_over > 0.0 else 0.0
        parts.signals[row] = found
        _strongest_first(part, order, found)
        lead = _leading(part, order, found, rules.subject, by_subject)
        told, others = 0, 0.0
        if lead >= 0:
            told = _tell(lead, SMALLEST_SHARE * score, found, by_code, parts, row)
            for i in range(told, found):
                others += part[order[i]]
        parts.told[row], parts.rest[row] = told, left_over + others


@compiled
def _share_of_lstm(ranks: Floats, weights: Floats) -> float:
    """The LSTM's share of what all say, squared and weighted; a failed member has none.

    Where none is left that has a weight, all that are left count the same, as in the score.
    """
    says, members = np.zeros(len(ranks)), len(ranks)
    whole, any_weight, any_say = 0.0, False, False
    for i in range(members):
        if weights[i] != 0.0 and ranks[i] > 0.0:
            says[i] = weights[i] * say(ranks[i]) ** 2
        whole += says[i]
    if whole == 0.0:  # nobody with a weight says anything: what is left of the weights, or of the members
        for i in range(members):
            is_left = not np.isnan(ranks[i])
            any_weight = any_weight or (is_left and weights[i] != 0.0)
            any_say = any_say or (is_left and say(ranks[i]) ** 2 != 0.0)
        for i in range(members):
            if np.isnan(ranks[i]):
                says[i] = 0.0
            elif any_weight:
                says[i] = weights[i]
            else:
                says[i] = say(ranks[i]) ** 2 if any_say else 1.0
            whole += says[i]
    return says[LSTM] / whole if whole != 0.0 else 0.0


@compiled
def _usable(surprise: NDArray[np.float32], residuals: Floats) -> float:
    """Fills in the residuals, in double precision, and returns their sum; none is negative or infinite."""
    total, negative = 0.0, False
    for i in range(len(surprise)):
        residuals[i] = surprise[i]
        total += residuals[i]
        negative = negative or residuals[i] < 0.0
    if 0.0 <= total < math.inf and not negative:
        return total
    total = 0.0
    for i in range(len(surprise)):
        if not 0.0 < residuals[i] < math.inf:
            residuals[i] = 0.0
        total += residuals[i]
    return total


@compiled
def _by_residuals(
    residuals: Floats,
    for_each: float,
    row: NDArray[np.float32],
    rules: Rules,
    by_code: ByCode,
) -> Int:
    """Gives every code what its inputs have; returns how many there are, in the order in which they were found."""
    found = 0
    for at in range(len(residuals)):
        if residuals[at] == 0.0:
            continue
        contribution, code = residuals[at] * for_each, rules.code[at]
        if rules.whole_at[at] >= 0:
            # An echo is this amount's excess and that of amounts before: each gets what it has of the sum.
            whole = np.float64(row[rules.whole_at[at]])
            now = np.float64(row[rules.now_at[at]]) - rules.threshold[at]
            if whole <= 0.0 or now >= whole:
                code = rules.code_now[at]
            elif now > 0.0:
                found = _add(rules.code_now[at], contribution * (now / whole), at, found, by_code)
                contribution *= 1.0 - now / whole
        elif rules.split[at] == DEVICE_SPLIT:
            found = _add_device(contribution, at, row, rules.columns, found, by_code)
            continue
        elif rules.split[at] == TAIL_SPLIT:
            # Without a category, where both features of it are 0, it is the tail of everybody's amounts.
            has_category = row[rules.columns[_Z]] != 0.0 or row[rules.columns[_RARITY]] != 0.0
            code = _AMOUNT_FOR_CATEGORY if has_category else _LARGE_AMOUNT
        elif rules.split[at] == CATEGORY_SPLIT:
            code = _RARE_CATEGORY if row[rules.columns[_VISITS]] != 0.0 else _NEW_CATEGORY
        found = _add(code, contribution, at, found, by_code)
    return found


@compiled
def _add_device(
    contribution: float,
    at: Int,
    row: NDArray[np.float32],
    columns: Ints,
    found: Int,
    by_code: ByCode,
) -> Int:
    """Strangeness is 1 + rarity + merchant + tests.

    Tests and rarity have inputs of their own. A test is one whatever the device, so its part goes to the test; a rare
    category says nothing new here, it makes the device stranger. The merchant has no other input: it gets half of what
    it adds, the other half is the device's, without which it would add nothing.
    """
    tests = max(min(np.float64(row[columns[_SMALL]]), MOST_TESTS), 0.0)
    rarity = max(np.float64(row[columns[_RARITY]]), 0.0)
    merchant = max(np.float64(row[columns[_DEVICE]]) - 1.0 - rarity - tests, 0.0)
    whole = 1.0 + rarity + merchant + tests
    device = _SHARED_DEVICE if row[columns[_USERS]] > 1.0 else _NEW_DEVICE
    share = (1.0 + rarity + merchant / 2.0) / whole
    found = _add(device, contribution * share, at, found, by_code)
    if tests != 0.0:
        found = _add(_CARD_TESTING, contribution * (tests / whole), at, found, by_code)
    if merchant != 0.0:
        share = merchant / 2.0 / whole
        found = _add(_NEW_MERCHANT, contribution * share, at, found, by_code)
    return found


@compiled
def _add(code: Int, contribution: float, at: Int, found: Int, by_code: ByCode) -> Int:
    if by_code.at[code] == _NOWHERE:
        by_code.part[code] = by_code.largest[code] = contribution
        by_code.at[code] = at
        by_code.order[found] = code
        return found + 1
    by_code.part[code] += contribution
    if contribution > by_code.largest[code]:
        by_code.largest[code], by_code.at[code] = contribution, at
    return found


@compiled
def _strongest_first(part: Floats, order: Ints, found: Int) -> None:
    """Sorts the codes; of two that are alike the one that was found first stays first."""
    for i in range(1, found):
        code, j = order[i], i
        while j > 0 and part[order[j - 1]] < part[code]:
            order[j] = order[j - 1]
            j -= 1
        order[j] = code


@compiled
def _leading(part: Floats, order: Ints, found: Int, subject: Ints, by_subject: Floats) -> Int:
    """The place of the strongest subject's strongest code; -1 where none has a part."""
    by_subject[:] = 0.0
    for i in range(found):
        by_subject[subject[order[i]]] += part[order[i]]
    lead = -1
    for i in range(found):
        strength = by_subject[subject[order[i]]]
        if strength > 0.0 and (lead < 0 or strength > by_subject[subject[order[lead]]]):
            lead = i
    return lead


@compiled
def _tell(lead: Int, enough: float, found: Int, by_code: ByCode, parts: Parts, row: Int) -> Int:
    """Writes down what is told and returns how much; in `order` it comes first."""
    order, part = by_code.order, by_code.part
    leading = order[lead]
    for i in range(lead, 0, -1):
        order[i] = order[i - 1]
    order[0] = leading
    told = 1
    while told < MAX_REASONS and told < found and part[order[told]] >= enough:
        told += 1
    for i in range(told):
        parts.code[row, i], parts.at[row, i] = order[i], by_code.at[order[i]]
        parts.contribution[row, i] = part[order[i]]
    return told
