"""What the LSTM reads, and what surprises it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from fraudstream.features.engine import (
    SEQUENCE_CATEGORY,
    SEQUENCE_CENTS,
    SEQUENCE_COLUMNS,
    SEQUENCE_STEPS,
    SEQUENCE_TIME,
)
from fraudstream.score.lstm import Lstm
from fraudstream.score.lstm_kernel import AMOUNT_BINS
from fraudstream.score.steps import AMOUNT, GAP, HOUR_COS, HOUR_SIN, IS_THERE, UNKNOWN_CATEGORY, StepEncoder
from fraudstream.training.networks import LstmNetwork, fill
from tests.fitted import small_ensemble, small_stream

DAY_S = 86_400
NOON_S = 1_700_006_400 - 1_700_006_400 % DAY_S + DAY_S // 2


def history(*steps: tuple[int, int, int]) -> NDArray[np.uint32]:
    """One sequence from (time in s, cents, category hash), oldest first, with empty steps before."""
    sequence = np.zeros((1, SEQUENCE_STEPS, SEQUENCE_COLUMNS), np.uint32)
    sequence[0, SEQUENCE_STEPS - len(steps) :] = steps
    return sequence


def network_of(lstm: Lstm) -> LstmNetwork:
    """As torch computes it."""
    network = LstmNetwork(len(lstm.encoder.vocabulary))
    fill(network, lstm.parameters)
    return network


def usual_category(lstm: Lstm) -> int:
    return int(lstm.encoder.vocabulary[0])


def everyday(lstm: Lstm, *spikes_at: int, gap_s: int = DAY_S) -> NDArray[np.uint32]:
    """Ten purchases of 20.00 and an eleventh; some of them may be of 9,000.00 instead."""
    return history(*(
        (NOON_S + step * gap_s, 900_000 if step in spikes_at else 2000, usual_category(lstm))
        for step in range(SEQUENCE_STEPS)
    ))  # fmt: skip


def naive_surprise(lstm: Lstm, sequence: NDArray[np.uint32]) -> list[float]:
    """-log P(amount >= a) of each step but the first, bin by bin in Python."""
    steps = lstm.encoder(sequence)
    with torch.inference_mode():
        _, logits = network_of(lstm)(torch.from_numpy(steps.numbers), torch.from_numpy(steps.category))
    low, width = lstm.encoder.scale[4:]
    found = []
    for step, row in enumerate(logits[0].double().tolist(), start=1):
        weights = [math.exp(logit - max(row)) for logit in row]
        position = (math.log1p(int(sequence[0, step, SEQUENCE_CENTS]) / 100) - low) / width
        inside = min(max(math.floor(position), 0), AMOUNT_BINS - 1)
        into = max(position - inside, 0.0)
        part = math.exp(-into) if inside == AMOUNT_BINS - 1 else 1 - into
        found.append(-math.log((sum(weights[inside + 1 :]) + part * weights[inside]) / sum(weights)))
    return found


def test_a_step_is_read_as_amount_gap_hour_and_category() -> None:
    encoder = StepEncoder(np.array([5, 9], np.uint32), np.array([3.0, 2.0, 8.0, 4.0, 0.0, 0.5]))
    steps = encoder(history((NOON_S, 1234, 9), (NOON_S + 6 * 3600, 0, 7)))
    first, last = steps.numbers[0, -2:]
    assert first[AMOUNT] == pytest.approx((math.log1p(12.34) - 3.0) / 2.0)
    assert first[GAP] == 0.0
    assert last[GAP] == pytest.approx((math.log1p(6 * 3600) - 8.0) / 4.0)
    assert first[[HOUR_SIN, HOUR_COS]] == pytest.approx([0.0, -1.0], abs=1e-6)
    assert last[[HOUR_SIN, HOUR_COS]] == pytest.approx([-1.0, 0.0], abs=1e-6)
    assert steps.category[0, -2:].tolist() == [2, UNKNOWN_CATEGORY]
    assert steps.amount_bin[0, -2] == pytest.approx(math.log1p(12.34) / 0.5)
    assert steps.age_s[0, -2:].tolist() == [6 * 3600, 0]


def test_an_empty_step_is_all_zeros_and_has_no_age() -> None:
    encoder = small_ensemble().lstm.encoder
    steps = encoder(history((NOON_S, 100, 1)))
    assert not steps.numbers[0, :-1].any()
    assert steps.numbers[0, -1, IS_THERE] == 1.0
    assert (steps.age_s[0, :-1] == -1).all()


def test_the_vocabulary_is_the_most_frequent_categories_without_the_missing_one() -> None:
    sequences = np.concatenate(
        [history((NOON_S, 100 * n, c)) for c, times in ((30, 3), (10, 5), (0, 9), (20, 1)) for n in range(times)]
    )
    assert StepEncoder.fit(sequences, categories=3, bins=4).vocabulary.tolist() == [10, 30]


def test_surprise_is_minus_log_of_the_chance_of_as_much_or_more() -> None:
    lstm = small_ensemble().lstm
    for row in range(0, 6000, 601):
        sequence = small_stream().sequences[row : row + 1]
        found, _ = lstm.surprise(sequence)
        np.testing.assert_allclose(found[0], naive_surprise(lstm, sequence), rtol=1e-4, atol=1e-5)


def test_the_kernel_says_what_the_network_says() -> None:
    """Against the network in double precision; torch itself in single precision is off by as much."""
    lstm = small_ensemble().lstm
    sequences = small_stream().sequences[:1500]
    steps, exact = lstm.encoder(sequences), network_of(lstm).double()
    with torch.inference_mode():
        _, logits = exact(torch.from_numpy(steps.numbers).double(), torch.from_numpy(steps.category))
    chances = torch.softmax(logits, 2).numpy()
    position = steps.amount_bin[:, 1:].astype(np.float64)
    at = np.clip(np.floor(position), 0, AMOUNT_BINS - 1).astype(np.int64)
    into = np.maximum(position - at, 0.0)
    share = np.where(at < AMOUNT_BINS - 1, 1.0 - into, np.exp(-into))
    here = np.take_along_axis(chances, at[..., None], 2)[..., 0]
    above = np.where(np.arange(AMOUNT_BINS) > at[..., None], chances, 0.0).sum(axis=2)
    found, _ = lstm.surprise(sequences)
    np.testing.assert_allclose(found, -np.log(above + share * here), rtol=0, atol=2e-5)


def test_more_always_surprises_more() -> None:
    lstm = small_ensemble().lstm
    cents = np.unique(np.geomspace(10, 4_294_967_295, 400).astype(np.uint32))
    sequences = np.repeat(everyday(lstm), len(cents), axis=0)
    sequences[:, -1, SEQUENCE_CENTS] = cents
    surprise, _ = lstm.surprise(sequences)
    low = lstm.encoder.scale[4]
    assert (np.diff(surprise[np.log1p(cents / 100) > low, -1]) > 0).all()


def test_a_spike_now_counts_in_full_and_an_earlier_one_fades() -> None:
    lstm = small_ensemble().lstm
    usual, now = lstm.score(everyday(lstm))[0], lstm.score(everyday(lstm, 10))[0]
    yesterday = lstm.score(everyday(lstm, 9))[0]
    long_ago = lstm.score(everyday(lstm, 9, gap_s=30 * DAY_S))[0]
    assert now > yesterday > long_ago >= 0.0
    assert now > usual + 1.0


def test_one_earlier_surprise_counts_as_far_as_this_amount_is_large_and_more_of_them_fully() -> None:
    lstm = small_ensemble().lstm
    streak = everyday(lstm, 3, 6, 9)
    sequences = np.concatenate([small_stream().sequences[:3200:16], streak])  # the first ones have empty steps
    surprise, age_s = lstm.surprise(sequences)
    expected, streaks = [], []
    for (*earlier, now), ages in zip(surprise.tolist(), age_s.tolist(), strict=True):
        weights = [math.exp(-age / (5 * DAY_S)) if age >= 0 else 0.0 for age in ages[:-1]]
        echoes = [max(s - lstm.threshold, 0.0) * weight for s, weight in zip(earlier, weights, strict=True)]
        others = sum(echoes) - max(echoes) - 0.2 * sum(weights)
        expected.append(max(now - lstm.threshold, 0.0) + (1.0 - math.exp(-now)) * max(echoes) + 1.5 * max(others, 0.0))
        streaks.append(others > 0.0)
    assert streaks[-1]
    assert not all(streaks)
    np.testing.assert_allclose(lstm.score(sequences), expected, rtol=1e-12)


def test_the_first_transaction_of_a_user_is_scored() -> None:
    lstm = small_ensemble().lstm
    small, large = (lstm.score(history((NOON_S, cents, usual_category(lstm))))[0] for cents in (100, 5_000_000))
    assert math.isfinite(small)
    assert large > small


def test_a_category_that_was_never_seen_is_scored_as_a_missing_one() -> None:
    lstm = small_ensemble().lstm
    unknown, missing = everyday(lstm, 10), everyday(lstm, 10)
    unknown[0, -1, SEQUENCE_CATEGORY] = next(h for h in range(1, 70_000) if h not in lstm.encoder.vocabulary)
    missing[0, -1, SEQUENCE_CATEGORY] = 0
    assert lstm.score(unknown)[0] == lstm.score(missing)[0]


def test_only_the_time_of_day_and_the_gaps_matter_not_the_date() -> None:
    lstm = small_ensemble().lstm
    today = everyday(lstm, 9)
    later = today.copy()
    later[..., SEQUENCE_TIME] += 1000 * DAY_S
    np.testing.assert_array_equal(lstm.score(later), lstm.score(today))


def test_tensors_bring_the_same_lstm_back() -> None:
    lstm = small_ensemble().lstm
    sequences = small_stream().sequences[:200]
    np.testing.assert_array_equal(Lstm.from_tensors(lstm.tensors()).score(sequences), lstm.score(sequences))
