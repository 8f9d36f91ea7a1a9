"""Reasons: they add up, name only what surprises, and say what is usual for the user in words that can be read out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from fraudstream.decide.reasons import SEQUENCE, explanation_of, reasons_of
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
    return sentence(feature, value, facts_of(amount, features_with(**{name: value}, **others)))


def test_every_model_input_has_a_sentence() -> None:
    for feature in MODEL_INPUTS:
        text = text_of(feature.name, 1.5, lifetime_count=3)
        assert text
        assert "{" not in text


def test_shares_are_the_parts_of_the_weighted_say_and_those_of_one_kind_add_up() -> None:
    ranks = (0.9, 0.99, 0.5)
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
    assert text == "6 transactions within an hour; this user usually makes 2.0 a day"
    text = text_of("travel_excess", 2.0, distance_km=5570.4, speed_kmh=6650.0)
    assert text == "5,570 km from the last known place: getting here takes 6,650 km/h"
    text = text_of("category_rarity", 3.0, category_visits_30d=1, count_30d=40)
    assert text == "This user rarely buys in this category: 1 of 40 transactions in 30 days"


def test_without_a_category_amounts_are_compared_with_everybodys() -> None:
    usual = {"amount_to_mean_lifetime": math.log(2), "lifetime_count": 5}
    tail = -math.log(0.0025)
    assert text_of("amount_tail_category", tail, **usual).startswith("Only 0.25% of the amounts anywhere are 100.00")
    assert "amounts in this category" in text_of("amount_tail_category", tail, category_rarity=1.0, **usual)


def test_what_does_not_surprise_is_no_reason() -> None:
    inputs = model_inputs(small_stream().features[:2000])
    autoencoder = small_ensemble().autoencoder
    surprise = autoencoder.transform(inputs)
    _, residual = autoencoder.score(inputs)
    assert (surprise == 0.0).any()
    assert not residual[surprise == 0.0].any()
