"""Reasons: what leads, what is told, what is left over, and that it all sums to the score."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from fraudstream.decide import codes
from fraudstream.decide.attribution import CODE_NAMES, share_out
from fraudstream.decide.attribution_kernel import MAX_REASONS
from fraudstream.decide.reasons import explanation_of, reasons_of
from fraudstream.features.catalogue import FEATURE_NAMES, MODEL_INPUTS, index_of, model_inputs
from fraudstream.score.calibration import say
from fraudstream.verdict import Reason
from tests.fitted import small_ensemble, small_stream

WEIGHTS = (0.4, 0.4, 0.2)
INPUTS = [feature.name for feature in MODEL_INPUTS]
SCORE = 0.987654321


def features_with(**values: float) -> NDArray[np.float32]:
    row = np.zeros(len(FEATURE_NAMES), np.float32)
    for name, value in values.items():
        row[index_of(name)] = value
    return row


def residuals(**values: float) -> NDArray[np.float32]:
    row = np.zeros(len(INPUTS), np.float32)
    for name, value in values.items():
        row[INPUTS.index(name)] = value
    return row


def found_in(
    surprise: NDArray[np.float32], members: tuple[float, float, float] = (0.99, 0.99, 0.5), **values: float
) -> tuple[Reason, ...]:
    return reasons_of(SCORE, 100.0, features_with(**values), surprise, members, WEIGHTS)


def shares(surprise: NDArray[np.float32], **values: float) -> dict[str, float]:
    """What each code has of a score of 1 without the LSTM."""
    features, members = features_with(**values)[None], np.array([(0.99, 0.99, math.nan)])
    parts = share_out(np.ones(1), members, WEIGHTS, surprise[None], features)
    told = int(parts.told[0])
    return {
        CODE_NAMES[code]: contribution
        for code, contribution in zip(parts.code[0, :told].tolist(), parts.contribution[0, :told].tolist(), strict=True)
    }


def share_of_lstm(ranks: tuple[float, float, float], weights: tuple[float, float, float] = WEIGHTS) -> float:
    """What the LSTM has of a score of 1."""
    nothing, features = residuals()[None], features_with()[None]
    parts = share_out(np.ones(1), np.array([ranks]), weights, nothing, features)
    return float(parts.contribution[0, 0]) if parts.told[0] else 0.0


def test_members_have_the_part_of_the_score_that_their_squared_say_has() -> None:
    ranks = (0.9, 0.99, 0.95)
    says = [say(rank) ** 2 * weight for rank, weight in zip(ranks, WEIGHTS, strict=True)]
    assert share_of_lstm(ranks) == pytest.approx(says[2] / sum(says))
    assert share_of_lstm((0.9, math.nan, 0.9)) == pytest.approx(1 / 3)
    assert share_of_lstm((math.nan, math.nan, 0.9), (0.5, 0.5, 0.0)) == 1.0  # as the score does it
    assert share_of_lstm((0.0, 0.9, 0.9), (0.5, 0.0, 0.0)) == 0.0


def test_contributions_are_the_residuals_parts_and_sum_to_the_rounded_score() -> None:
    ranks = (0.9, 0.99, 0.95)
    found = found_in(residuals(log_amount=2.0, amount_z=4.0, hour_rarity=2.0), ranks, hour_rarity=3.0)
    of_sequence = share_of_lstm(ranks) * SCORE
    rest = SCORE - of_sequence
    assert {reason.code: reason.contribution for reason in found} == {
        "amount_for_user": pytest.approx(rest / 2, abs=2e-6),
        "large_amount": pytest.approx(rest / 4, abs=1e-6),
        "odd_hour": pytest.approx(rest / 4, abs=1e-6),
        "unusual_sequence": pytest.approx(of_sequence, abs=1e-6),
    }
    assert sum(reason.contribution for reason in found) == pytest.approx(round(SCORE, 6), abs=1e-12)
    assert explanation_of(found) == "; ".join(reason.text for reason in found)


def test_inputs_of_one_code_speak_with_one_voice_and_its_strongest_is_named() -> None:
    found = found_in(residuals(amount_z=1.0, amount_to_mean_lifetime=3.0, log_amount=2.0))
    assert [(reason.code, reason.feature) for reason in found[:2]] == [
        ("amount_for_user", "amount_to_mean_lifetime"),
        ("large_amount", "log_amount"),
    ]


def test_the_leading_reason_is_of_the_strongest_subject_though_another_code_is_stronger() -> None:
    found = found_in(residuals(hour_rarity=4.0, log_amount=2.0, amount_z=3.0), (0.99, 0.99, math.nan), hour_rarity=3.0)
    assert [reason.code for reason in found] == ["amount_for_user", "odd_hour", "large_amount"]


def test_what_is_not_told_is_the_last_reason() -> None:
    strong = {"log_amount": 20.0, "hour_rarity": 0.2, "dormancy": 0.2}
    found = found_in(residuals(**strong), (0.99, 0.99, 0.5), dormancy=1.0)
    assert [reason.code for reason in found] == ["large_amount", codes.OTHER_SIGNALS]
    assert found[-1].value == 2.0
    assert found[-1].contribution == pytest.approx(SCORE - found[0].contribution, abs=2e-6)
    assert explanation_of(found) == found[0].text


def test_no_more_than_the_leading_reasons_are_told() -> None:
    names = (
        "log_amount",
        "sum_24h",
        "hour_rarity",
        "dormancy",
        "velocity_excess_1h",
        "small_burst_1h",
        "travel_excess",
    )
    found = found_in(residuals(**dict.fromkeys(names, 1.0)))
    assert len(found) == MAX_REASONS + 1
    assert found[-1].code == codes.OTHER_SIGNALS


@pytest.mark.parametrize(("lstm", "expected"), [(0.95, True), (0.89, False), (math.nan, False)])
def test_the_sequence_is_a_reason_only_where_it_surprises(lstm: float, expected: bool) -> None:
    found = found_in(residuals(log_amount=2.0), (0.99, 0.99, lstm))
    assert found[0].code == "large_amount"
    assert (codes.UNUSUAL_SEQUENCE in [reason.code for reason in found]) == expected


def test_a_rank_of_nearly_one_is_not_said_to_be_all_payments() -> None:
    (sequence,) = found_in(residuals(), (math.nan, math.nan, 0.99999), lifetime_count=7)
    assert sequence.text == "This payment fits this user's recent ones badly: 99.9% of all payments fit better"
    assert (sequence.value, sequence.unit) == (0.99999, "share of payments")


def test_a_first_payment_is_not_held_against_earlier_ones() -> None:
    (sequence,) = found_in(residuals(), (math.nan, math.nan, 0.97))
    assert sequence.text == "This payment is this user's first, and an unusual one: 97.0% of all payments fit better"


def test_where_nothing_stands_out_the_whole_is_the_reason() -> None:
    (only,) = found_in(residuals(), (0.999, 0.5, math.nan))
    assert (only.code, only.contribution) == (codes.OTHER_SIGNALS, round(SCORE, 6))
    assert explanation_of((only,)) == "No single signal stands out, but the payment as a whole is unusual"


def test_without_the_autoencoder_the_forests_part_is_left_over() -> None:
    found = found_in(residuals(), (0.99, math.nan, 0.99))
    assert [reason.code for reason in found] == ["unusual_sequence", "other_signals"]
    assert found[1].contribution == pytest.approx(SCORE * 2 / 3, abs=2e-6)
    assert found[1].text == "Smaller signals together"


def test_an_echo_is_shared_out_between_this_amount_and_those_before() -> None:
    assert shares(residuals(echo_z_1d=1.0), echo_z_1d=4.0, amount_z=4.0) == pytest.approx(
        {"amount_for_user": 0.75, "recent_amounts": 0.25}
    )
    assert shares(residuals(echo_tail_1d=1.0), echo_tail_1d=4.0, amount_tail_category=6.0) == pytest.approx(
        {"amount_for_category": 1.0}
    )
    assert shares(residuals(echo_ratio_3d=1.0), echo_ratio_3d=1.0) == pytest.approx({"recent_amounts": 1.0})


def test_a_strange_devices_part_is_shared_with_what_makes_it_stranger() -> None:
    values = {"device_strangeness": 6.0, "category_rarity": 2.0, "small_burst_1h": 5.0, "category_visits_30d": 1.0}
    expected = {"new_device": 3.5 / 6.0, "card_testing": 2.0 / 6.0, "new_merchant": 0.5 / 6.0}
    assert shares(residuals(device_strangeness=1.0), **values) == pytest.approx(expected)
    alone = shares(residuals(device_strangeness=1.0), device_strangeness=1.0, device_users=3.0)
    assert alone == pytest.approx({"shared_device": 1.0})


def test_a_category_that_was_not_seen_for_a_month_has_its_own_code() -> None:
    rarity = residuals(category_rarity=1.0)
    assert shares(rarity, category_rarity=3.0) == pytest.approx({"new_category": 1.0})
    assert shares(rarity, category_rarity=3.0, category_visits_30d=1.0) == pytest.approx({"rare_category": 1.0})


def test_without_a_category_a_rare_amount_is_only_a_large_one() -> None:
    tail = residuals(amount_tail_category=1.0)
    assert list(shares(tail, amount_tail_category=7.0)) == ["large_amount"]
    assert list(shares(tail, amount_tail_category=7.0, amount_z_category=3.0)) == ["amount_for_category"]


def test_what_does_not_surprise_is_no_reason() -> None:
    inputs = model_inputs(small_stream().features[:2000])
    autoencoder = small_ensemble().autoencoder
    surprise = autoencoder.transform(inputs)
    _, residual = autoencoder.score(inputs)
    assert (surprise == 0.0).any()
    assert not residual[surprise == 0.0].any()


def test_the_documented_examples_of_what_no_feature_leads_are_what_is_said() -> None:
    sequence, rest = found_in(residuals(), (0.99, math.nan, 0.997), lifetime_count=7)
    assert sequence.text == codes.REASON_CODES[codes.UNUSUAL_SEQUENCE].example
    assert rest.text == codes.REASON_CODES[codes.OTHER_SIGNALS].example
