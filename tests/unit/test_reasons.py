"""Reasons: they add up, name only what surprises, and say what is usual for the user in words that can be read out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from fraudstream.decide.reasons import SEQUENCE, WHOLE_TEXT, explanation_of, reasons_of
from fraudstream.decide.sentences import facts_of, sentence
from fraudstream.features.catalogue import FEATURE_NAMES, MODEL_INPUTS, index_of, model_inputs
from fraudstream.score.calibration import say
from tests.fitted import small_ensemble, small_stream

WEIGHTS = (0.4, 0.4, 0.2)
INPUTS = [feature.name for feature in MODEL_INPUTS]


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


def text_of(name: str, value: float, amount: float = 100.0, **others: float) -> str:
    feature = MODEL_INPUTS[INPUTS.index(name)]
    features = features_with(**{name: value}, **others)
    return sentence(feature, features, facts_of(amount, features))


@pytest.mark.parametrize("history", [{}, {"lifetime_count": 3, "count_30d": 2}])
def test_every_model_input_has_a_sentence_with_and_without_a_history(history: dict[str, float]) -> None:
    for feature in MODEL_INPUTS:
        text = text_of(feature.name, 1.5, **history)
        assert text
        assert "{" not in text
        if not history:
            for words in ("0 of 0", "others of the last days", "usual day this user spends", "earlier transactions"):
                assert words not in text


def test_shares_are_the_parts_of_the_weighted_say_and_those_of_one_kind_add_up() -> None:
    ranks = (0.9, 0.99, 0.95)
    parts = [say(rank) * weight for rank, weight in zip(ranks, WEIGHTS, strict=True)]
    surprise = residuals(log_amount=2.0, amount_z=4.0, hour_rarity=2.0)
    found = reasons_of(100.0, features_with(hour_rarity=3.0), surprise, ranks, WEIGHTS)
    rest = 1.0 - parts[2] / sum(parts)
    assert [(reason.code, reason.feature) for reason in found] == [
        ("unusual_amount", "amount_z"), ("unusual_time", "hour_rarity"), (SEQUENCE, "sequence")
    ]  # fmt: skip
    assert [reason.share for reason in found] == pytest.approx([0.75 * rest, 0.25 * rest, 1.0 - rest])
    assert explanation_of(found) == "; ".join(reason.text for reason in found)


def test_the_users_usual_amount_is_said() -> None:
    others = {"amount_to_mean_lifetime": math.log(101.0 / 26.0), "lifetime_count": 40}
    assert text_of("amount_z", 4.2, **others).endswith("above what this user pays; this user usually pays 25.00")
    ratio = text_of("amount_to_mean_lifetime", math.log(101.0 / 26.0), lifetime_count=40)
    assert ratio == "The amount of 100.00 is 3.9 times what this user usually pays, 25.00"


def test_a_first_payment_is_not_compared_with_what_there_is_not() -> None:
    assert text_of("log_amount", 4.6) == "The amount of 100.00 is high; it is the user's first"
    assert text_of("sum_24h", 100.0) == "100.00 spent within 24 hours"


def test_a_usual_day_is_said_beside_what_was_spent() -> None:
    text = text_of("sum_24h", 500.0, sum_ratio_24h=math.log(501.0 / 51.0), lifetime_count=9)
    assert text == "500.00 spent within 24 hours; on a usual day this user spends 50.00"


def test_counts_and_places_are_said_in_their_units() -> None:
    text = text_of("velocity_excess_1h", 1.1, count_1h=5, count_30d=60, account_age_days=200, lifetime_count=400)
    assert text == "6 transactions within an hour; on a usual day this user makes 1.8"
    text = text_of("travel_excess", 2.0, distance_km=5570.4, speed_kmh=6650.0)
    assert text == "5,570 km from the last known place: getting here takes 6,650 km/h"
    text = text_of("category_rarity", 3.0, category_visits_30d=1, count_30d=40)
    assert text == "This user rarely buys in this category: 1 of 40 transactions in 30 days"


def test_an_echo_says_which_amounts_it_speaks_of() -> None:
    usual = {"amount_to_mean_lifetime": math.log(2), "lifetime_count": 5}
    now, both, before = (text_of("echo_z_1d", 2.0, amount_z=z, **usual) for z in (3.0, 2.0, 0.5))
    assert now == "The amount of 100.00 is far above what this user pays; this user usually pays 49.50"
    assert both.startswith("This amount of 100.00 and others of the last days are far above")
    assert before.startswith("Amounts of the last days, before this one of 100.00, were far above")


def test_a_silence_is_said_as_long_as_it_is_known() -> None:
    texts = [text_of("dormancy", math.log(days / 7), seconds_since_last=days * 86_400) for days in (8, 30)]
    assert texts == [f"The user comes back after a silence of {words}" for words in ("8 days", "30 days or more")]


@pytest.mark.parametrize(("lstm", "expected"), [(0.95, True), (0.89, False), (math.nan, False)])
def test_the_sequence_is_a_reason_only_where_it_surprises(lstm: float, expected: bool) -> None:
    found = reasons_of(100.0, features_with(), residuals(log_amount=2.0), (0.99, 0.99, lstm), WEIGHTS)
    assert found[0].code == "unusual_amount"
    assert (SEQUENCE in [reason.code for reason in found]) == expected


def test_what_adds_next_to_nothing_is_left_out() -> None:
    surprise = residuals(log_amount=9.9, hour_rarity=0.1)
    found = reasons_of(100.0, features_with(), surprise, (0.99, 0.99, 0.5), WEIGHTS)
    assert [reason.code for reason in found] == ["unusual_amount"]


def test_where_nothing_stands_out_the_whole_is_the_reason() -> None:
    (only,) = reasons_of(100.0, features_with(), residuals(), (0.999, 0.5, math.nan), WEIGHTS)
    assert (only.code, only.text, only.share) == (SEQUENCE, WHOLE_TEXT, 1.0)


def test_what_does_not_surprise_is_no_reason() -> None:
    inputs = model_inputs(small_stream().features[:2000])
    autoencoder = small_ensemble().autoencoder
    surprise = autoencoder.transform(inputs)
    _, residual = autoencoder.score(inputs)
    assert (surprise == 0.0).any()
    assert not residual[surprise == 0.0].any()
