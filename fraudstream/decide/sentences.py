"""The sentence of a reason: its feature's words, filled in with what is usual for this user."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from fraudstream.features.catalogue import Feature, index_of

_LARGEST_EXPONENT = 300.0
_DAY_S = 86_400.0

_TO_MEAN = index_of("amount_to_mean_lifetime")
_KNOWN = index_of("lifetime_count")
_SUM_24H = index_of("sum_24h")
_SUM_RATIO = index_of("sum_ratio_24h")
_COUNT_1H = index_of("count_1h")
_COUNT_30D = index_of("count_30d")
_AGE_DAYS = index_of("account_age_days")
_CATEGORY_VISITS = index_of("category_visits_30d")
_RARITY = index_of("category_rarity")
_SINCE_LAST = index_of("seconds_since_last")
_DISTANCE = index_of("distance_km")
_SPEED = index_of("speed_kmh")

Facts = dict[str, float | str]


def facts_of(amount: float, features: NDArray[np.float32]) -> Facts:
    """What sentences may say of a transaction besides the value of their feature.

    Args:
        amount: in main units.
        features: (len(CATALOGUE),) of the transaction.
    """
    row = features.tolist()
    is_known = row[_KNOWN] > 0
    usual, usual_day = _usual(amount, row[_TO_MEAN]), _usual(row[_SUM_24H], row[_SUM_RATIO])
    return {
        "amount": amount,
        "usual": usual,
        "usually": f"; this user usually pays {usual:,.2f}" if is_known else "; it is the user's first",
        "on_a_day": f"; on a usual day this user spends {usual_day:,.2f}" if is_known else "",
        # Without a category the amount is compared with everybody's.
        "among": "in this category" if row[_RARITY] else "anywhere",
        "in_an_hour": row[_COUNT_1H] + 1.0,
        "a_day": row[_COUNT_30D] / min(max(row[_AGE_DAYS], 1.0), 30.0),
        "visits": row[_CATEGORY_VISITS],
        "a_month": row[_COUNT_30D],
        "idle_days": row[_SINCE_LAST] / _DAY_S,
        "distance": row[_DISTANCE],
        "speed": row[_SPEED],
    }


def sentence(feature: Feature, value: float, facts: Facts) -> str:
    """The reason in words.

    Args:
        feature: one with words.
        value: of the feature.
        facts: of the transaction.
    """
    exponent = min(value, _LARGEST_EXPONENT)
    return feature.says.format(value=value, times=math.exp(exponent), share=math.exp(-exponent), **facts)


def _usual(amount: float, log_ratio: float) -> float:
    """What an amount is compared with: a log ratio compares a + 1 with what is usual + 1."""
    return max((amount + 1.0) / math.exp(min(log_ratio, _LARGEST_EXPONENT)) - 1.0, 0.0)
