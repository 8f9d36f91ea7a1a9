"""What a reason says can be read out: the value in units of people, what is usual for the user, no false claim."""

from __future__ import annotations

import math

import pytest

from fraudstream.decide import codes
from fraudstream.decide.codes import CODES, REASON_CODES
from fraudstream.decide.sentences import Said, said_of, said_of_feature
from fraudstream.features.catalogue import CATALOGUE, FEATURE_NAMES, Feature, index_of

LED_BY_FEATURES = [code.name for code in CODES if code.subject not in {codes.SEQUENCE, codes.OTHER}]
FEATURE_OF = {feature.reason: feature for feature in CATALOGUE if feature.risk is not None}
USUAL = {"amount_to_mean_lifetime": math.log(101.0 / 26.0), "lifetime_count": 40.0}


def said(code: str, amount: float = 100.0, name: str = "", /, **values: float) -> Said:
    row = [0.0] * len(FEATURE_NAMES)
    for one, value in values.items():
        row[index_of(one)] = value
    fallback = FEATURE_OF.get(code, CATALOGUE[index_of("device_strangeness")])
    return said_of(code, CATALOGUE[index_of(name)] if name else fallback, amount, row)


@pytest.mark.parametrize("history", [{}, {"lifetime_count": 3.0, "count_30d": 2.0}])
def test_every_code_has_a_sentence_with_and_without_a_history(history: dict[str, float]) -> None:
    for code in LED_BY_FEATURES:
        one = said(code, **history)
        assert one.text
        assert one.unit
        assert one.text[0].isupper() or one.text[0].isdigit()
        if not history:
            assert one.usual is None or code == codes.HIGH_VELOCITY
            for words in ("0 of 0", "usual day this user spends", "usually pays", "earlier payments were"):
                assert words not in one.text


def test_every_feature_has_a_code_and_every_code_is_told_once() -> None:
    assert {feature.reason for feature in CATALOGUE} <= set(REASON_CODES)
    assert len(REASON_CODES) == len(CODES) >= 15
    for code in CODES:
        assert code.meaning
        assert code.example
        assert codes.subject_of(code.name) == code.subject
    assert codes.subject_of("my_own_code") == "my_own_code"


def test_an_amount_is_said_beside_what_this_user_usually_pays() -> None:
    one = said(codes.AMOUNT_FOR_USER, 912.4, amount_to_mean_lifetime=math.log(913.4 / 66.1), lifetime_count=40.0)
    assert one == (912.4, "currency", 65.1, "Amount 912.40 is 14 times this user's usual 65.10")
    assert said(codes.AMOUNT_FOR_USER, **USUAL).text == "Amount 100.00 is 4.0 times this user's usual 25.00"


def test_an_amount_below_the_mean_is_not_said_to_be_many_times_the_usual() -> None:
    one = said(codes.AMOUNT_FOR_USER, amount_z=3.0, amount_to_mean_lifetime=0.0, lifetime_count=9.0)
    assert one.text == (
        "Amount 100.00 is more than most of this user's payments; a few large ones bring the average to 100.00"
    )
    nothing = said(codes.AMOUNT_FOR_USER, amount_z=3.0, amount_to_mean_lifetime=math.log(101.0), lifetime_count=9.0)
    assert nothing.text == "Amount 100.00 is more than this user's usual 0.00"


def test_a_first_payment_is_not_compared_with_what_there_is_not() -> None:
    first = "Amount 100.00 is high among all payments; it is this user's first payment"
    assert said(codes.LARGE_AMOUNT, amount_z_category=2.0).text == first
    assert said(codes.AMOUNT_FOR_USER, amount_z_category=2.0).text == first
    spent = said(codes.DAY_SPENDING, sum_24h=100.0)
    assert spent == (100.0, "currency", None, "100.00 spent within 24 hours, with this user's first payment")


def test_a_category_is_said_to_be_rare_with_its_share_and_the_users_own_amounts() -> None:
    values = {"amount_tail_category": math.log(250.0), "amount_z_category": 3.0, **USUAL}
    text = "Amount 100.00 is high for this category: about 1 in 250 of its payments is as large"
    one = said(codes.AMOUNT_FOR_CATEGORY, **values)
    assert (one.usual, one.text) == (25.0, f"{text}; over all categories this user usually pays 25.00")
    own = {"category_visits_30d": 2.0, "amount_to_category_mean_30d": math.log(101.0 / 41.0)}
    one = said(codes.AMOUNT_FOR_CATEGORY, **values, **own)
    assert (one.usual, one.text) == (40.0, f"{text}; this user usually pays 40.00 in it")
    rarest = said(codes.AMOUNT_FOR_CATEGORY, **(values | {"amount_tail_category": 15.0})).text
    assert "fewer than 1 in 10,000 of its payments is as large" in rarest
    common = said(codes.AMOUNT_FOR_CATEGORY, **(values | {"amount_tail_category": -math.log(0.29)})).text
    assert common.startswith("Amount 100.00 is on the high side for this category: 29% of its payments are as large")


def test_without_a_category_an_amount_is_held_against_all_payments() -> None:
    text = said(codes.LARGE_AMOUNT, amount_tail_category=math.log(2123.0), **USUAL).text
    assert (
        text == "Amount 100.00 is high among all payments: about 1 in 2,100 of them is as large; "
        "this user usually pays 25.00"
    )


def test_a_usual_day_is_said_beside_what_was_spent() -> None:
    one = said(codes.DAY_SPENDING, sum_24h=500.0, sum_ratio_24h=math.log(501.0 / 51.0), lifetime_count=9.0)
    assert (one.value, one.usual) == (500.0, 50.0)
    assert one.text == "500.00 spent within 24 hours; on a usual day this user spends 50.00"


def test_earlier_amounts_are_told_against_the_user_or_against_their_categories() -> None:
    of_user = said(codes.RECENT_AMOUNTS, 100.0, "echo_ratio_1d", sum_7d=700.0, count_7d=3.0, **USUAL)
    assert (
        of_user.text == "Earlier payments of the last 7 days were unusually high for this user, who usually pays 25.00"
    )
    assert (of_user.value, of_user.unit, of_user.usual) == (200.0, "currency a payment in 7 d", 25.0)
    of_category = said(codes.RECENT_AMOUNTS, 100.0, "echo_tail_1d", echo_tail_1d=2.0, **USUAL)
    assert of_category.text == "Earlier payments of the last 7 days were unusually high for their categories"


def test_counts_and_places_are_said_in_their_units() -> None:
    one = said(codes.HIGH_VELOCITY, count_1h=5, count_30d=59, account_age_days=200, lifetime_count=400)
    assert one.text == "6 payments within an hour; on a usual day this user makes 1.8"
    assert (one.value, one.unit, one.usual) == (6.0, "transactions in 1 h", 0.075)
    slow = {"count_1h": 2, "account_age_days": 200, "lifetime_count": 400}
    assert said(codes.HIGH_VELOCITY, count_30d=17, **slow).text.endswith("an hour; usually one comes every 2.0 days")
    assert said(codes.HIGH_VELOCITY, count_30d=2, **slow).text.endswith("this user made no other in the last 30 days")
    one = said(codes.IMPOSSIBLE_TRAVEL, distance_km=5570.4, speed_kmh=6650.04)
    assert one.text == "The last known place is 5,570 km away: getting here since then takes 6,650 km/h"
    assert (one.value, one.unit) == (6650.0, "km/h")
    assert said(codes.CARD_TESTING, small_burst_1h=3).text.startswith("4 very small amounts within an hour")
    assert "about the same amount 4 times at equal" in said(codes.REGULAR_CHARGES, merchant_visits_30d=3).text


def test_how_rare_a_category_is_is_said_in_payments() -> None:
    texts = [said(codes.RARE_CATEGORY, category_visits_30d=here, count_30d=40).text for here in (0, 1, 2)]
    assert texts == [
        "None of this user's 40 payments of the last 30 days was in this category",
        "Only 1 of this user's 40 payments of the last 30 days was in this category",
        "Only 2 of this user's 40 payments of the last 30 days were in this category",
    ]
    one = said(codes.NEW_CATEGORY, count_30d=1).text
    assert one == "The only payment of this user in the last 30 days was in another category"
    assert said(codes.NEW_CATEGORY).text == "This user made no payment in the last 30 days, so none in this category"


def test_a_device_is_only_said_to_be_strange_for_as_long_as_a_profile_reaches_back() -> None:
    assert said(codes.NEW_DEVICE).text == "This user has not paid with this device in the last 30 days"
    again = said(codes.NEW_DEVICE, device_visits_30d=2).text
    assert again == "This user first paid with this device within the last 24 hours"
    shared = said(codes.SHARED_DEVICE, device_users=5)
    assert shared.text == "This user has not paid with this device in the last 30 days, but 5 others have used it"
    assert (shared.value, shared.unit) == (5.0, "users")
    assert said(codes.NEW_LOCATION).text == "This user has not paid at this location in the last 30 days"
    assert said(codes.NEW_MERCHANT).text == "This user has not paid at this merchant in the last 30 days"


def test_an_hour_is_said_with_its_share_only_where_many_payments_are_known() -> None:
    rarity = -math.log(0.013)
    assert "about 1.3% of this user's earlier" in said(codes.ODD_HOUR, hour_rarity=rarity, lifetime_count=400).text
    few = said(codes.ODD_HOUR, hour_rarity=rarity, lifetime_count=5).text
    assert few == "Hardly any of this user's 5 payments so far were made around this hour of the day"
    one = said(codes.ODD_HOUR, hour_rarity=rarity, lifetime_count=1).text
    assert one == "This user has paid once before, at another hour of the day"
    assert "first payment" in said(codes.ODD_HOUR, hour_rarity=rarity).text


def test_a_silence_is_said_as_long_as_it_is_known() -> None:
    values = {"account_age_days": 34.0, "lifetime_count": 11.0}
    eight = said(codes.DORMANT_ACCOUNT, seconds_since_last=8 * 86_400, **values)
    assert eight.text == ("This is this user's first payment in 8 days; usually one comes every 2.6 days")
    assert (eight.value, eight.unit, eight.usual) == (8.0, "d", 2.6)
    cut = said(codes.DORMANT_ACCOUNT, seconds_since_last=30 * 86_400, **values)
    assert (cut.usual, cut.text) == (None, "This is this user's first payment in 30 days or more")


def test_a_feature_of_ones_own_speaks_for_itself() -> None:
    own = Feature(
        "log_amount",
        "log(1 + currency)",
        "",
        "",
        "my_code",
        says="{value:.1f}, {times:.0f} times, {usual:.2f}, {amount}",
    )
    row = [0.0] * len(FEATURE_NAMES)
    for name, value in {"log_amount": math.log(8.0), **USUAL}.items():
        row[index_of(name)] = value
    assert said_of_feature(own, 100.0, row) == (math.log(8.0), "log(1 + currency)", None, "2.1, 8 times, 25.00, 100.0")


USUAL_65 = {"amount_to_mean_lifetime": math.log(913.4 / 66.1), "lifetime_count": 400.0}
OF_EXAMPLES: dict[str, dict[str, float]] = {
    codes.LARGE_AMOUNT: {"amount_z_category": 1.0, **USUAL_65},
    codes.AMOUNT_FOR_USER: USUAL_65,
    codes.AMOUNT_FOR_CATEGORY: {
        "amount_tail_category": math.log(250.0),
        "category_visits_30d": 3,
        "amount_to_category_mean_30d": math.log(913.4 / 66.1),
    },
    codes.AMOUNT_AT_MERCHANT: {},
    codes.RECENT_AMOUNTS: USUAL_65,
    codes.DAY_SPENDING: {"sum_24h": 1240, "sum_ratio_24h": math.log(1241 / 61), "lifetime_count": 400},
    codes.HIGH_VELOCITY: {"count_1h": 5, "count_30d": 59, "account_age_days": 200},
    codes.CARD_TESTING: {"small_burst_1h": 3},
    codes.NEW_DEVICE: {},
    codes.SHARED_DEVICE: {"device_users": 5},
    codes.NEW_LOCATION: {},
    codes.IMPOSSIBLE_TRAVEL: {"distance_km": 5570, "speed_kmh": 6650},
    codes.NEW_MERCHANT: {},
    codes.REGULAR_CHARGES: {"merchant_visits_30d": 3},
    codes.RARE_CATEGORY: {"category_visits_30d": 1, "count_30d": 40},
    codes.NEW_CATEGORY: {"count_30d": 40},
    codes.ODD_HOUR: {"hour_rarity": -math.log(0.013), "lifetime_count": 400},
    codes.DORMANT_ACCOUNT: {"seconds_since_last": 21 * 86_400, "account_age_days": 151, "lifetime_count": 101},
}


@pytest.mark.parametrize("code", LED_BY_FEATURES)
def test_the_documented_example_is_what_would_be_said(code: str) -> None:
    name = "echo_z_1d" if code == codes.RECENT_AMOUNTS else ""
    assert said(code, 912.4, name, **OF_EXAMPLES[code]).text == REASON_CODES[code].example
