"""Whatever members and features say, the contributions of a verdict's reasons sum to its score."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fraudstream.decide.attribution import CODE_NAMES, share_out
from fraudstream.decide.codes import OTHER_SIGNALS
from fraudstream.decide.reasons import reasons_of
from fraudstream.features.catalogue import CATALOGUE, MODEL_INPUTS
from tests.naive_reasons import attribute, choose, member_shares

EXACT = 1e-9
"""Far below the millionth that is promised: only what adding up floats costs."""

scores = st.floats(0.0, 1.0)
ranks = st.one_of(st.floats(0.0, 1.0), st.sampled_from([0.0, 0.5, 0.9, 0.999, 1.0, math.nan]))
members_of_all = st.tuples(ranks, ranks, ranks).filter(lambda found: not all(map(math.isnan, found)))
weights_of_all = st.sampled_from([(0.4, 0.4, 0.2), (0.0, 0.0, 1.0), (1.0, 0.0, 0.0), (0.3, 0.7, 0.0), (1e-9, 0.5, 0.5)])
residuals = st.one_of(
    st.sampled_from([0.0, -1.0, math.nan, math.inf, 1e-45, 3e38]), st.floats(0.0, 1e6, width=32), st.just(0.0)
)
surprises = st.lists(residuals, min_size=len(MODEL_INPUTS), max_size=len(MODEL_INPUTS))
values = st.one_of(st.just(0.0), st.floats(-1e3, 1e3, width=32), st.sampled_from([1.0, 2.0, 30.0, 2.6e6, 1e9, -1e9]))
rows = st.lists(values, min_size=len(CATALOGUE), max_size=len(CATALOGUE))

NOTHING, ZEROS = [0.0] * len(MODEL_INPUTS), [0.0] * len(CATALOGUE)


@settings(max_examples=300, deadline=None)
@given(scores, members_of_all, weights_of_all, surprises, rows)
@example(0.95, (0.99, math.nan, math.nan), (0.4, 0.4, 0.2), NOTHING, ZEROS)
@example(1.0, (0.0, 0.0, 0.0), (0.4, 0.4, 0.2), [math.nan] * len(MODEL_INPUTS), ZEROS)
@example(0.95, (math.nan, math.nan, 1.0), (1.0, 0.0, 0.0), [3e38] * len(MODEL_INPUTS), [1e9] * len(CATALOGUE))
def test_contributions_sum_to_the_score(
    score: float,
    members: tuple[float, float, float],
    weights: tuple[float, float, float],
    surprise: list[float],
    row: list[float],
) -> None:
    residual, features = np.array(surprise, np.float32), np.array(row, np.float32)
    assert abs(sum(member_shares(members, weights)) - 1.0) < EXACT

    parts, left_over = attribute(score, members, weights, residual, features.tolist())
    assert abs(sum(part.contribution for part in parts) + left_over - score) < EXACT
    assert min([left_over, *(part.contribution for part in parts)]) >= 0.0

    told, rest = choose(score, list(parts), left_over)
    assert abs(sum(part.contribution for part in told) + rest - score) < EXACT

    # Twice, so that nothing of one row is left in the next.
    twice = [0, 0]
    found = share_out(
        np.array([score])[twice], np.array([members])[twice], weights, residual[None][twice], features[None][twice]
    )
    for at in twice:
        assert found.signals[at] == len(parts)
        assert found.told[at] == len(told)
        assert [CODE_NAMES[code] for code in found.code[at, : len(told)]] == [part.code for part in told]
        assert found.at[at, : len(told)].tolist() == [part.at for part in told]
        assert found.contribution[at, : len(told)].tolist() == pytest.approx(
            [part.contribution for part in told], rel=1e-12
        )
        assert found.rest[at] == pytest.approx(rest, rel=1e-9, abs=1e-12)

    reasons = reasons_of(score, 100.0, features, residual, members, weights)
    assert abs(sum(reason.contribution for reason in reasons) - round(score, 6)) < EXACT
    assert len({reason.code for reason in reasons}) == len(reasons)
    assert all(reason.code != OTHER_SIGNALS for reason in reasons[:-1])
    for reason in reasons:
        assert all(math.isfinite(one) for one in (reason.value, reason.usual or 0.0, reason.contribution))
        assert "{" not in reason.text
