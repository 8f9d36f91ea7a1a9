"""The sentence of a reason: its feature's words, filled in with what is usual for this user."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from fraudstream.features.catalogue import Feature, index_of
from fraudstream.features.surprise import RATIO_THRESHOLD, TAIL_THRESHOLD, Z_THRESHOLD

_LARGEST_EXPONENT = 300.0
_DAY_S, _MONTH_DAYS = 86_400.0, 30.0

_TO_MEAN = index_of("amount_to_mean_lifetime")
_KNOWN = index_of("lifetime_count")
_SUM_24H = index_of("sum_24h")
_SUM_RATIO = index_of("sum_ratio_24h")
_COUNT_1H = index_of("count_1h")
_COUNT_30D = index_of("count_30d")
_AGE_DAYS = index_of("account_age_days")
_CATEGORY_VISITS = index_of("category_visits_30d")
_SINCE_LAST = index_of("seconds_since_last")
_DISTANCE = index_of("distance_km")
_SPEED = index_of("speed_kmh")
_NOW = {
    "echo_z_1d": (index_of("amount_z"), Z_THRESHOLD),
    "echo_category_1d": (index_of("amount_z_category"), Z_THRESHOLD),
    "echo_category_3d": (index_of("amount_z_category"), Z_THRESHOLD),
    "echo_ratio_1d": (_TO_MEAN, RATIO_THRESHOLD),
    "echo_ratio_3d": (_TO_MEAN, RATIO_THRESHOLD),
    "echo_tail_1d": (index_of("amount_tail_category"), TAIL_THRESHOLD),
}
"""Echo -> the feature that it echoes, and from where on that counts: so much of an echo is of this very amount."""
_HEARD = 0.01
"""Less of an echo than this is rounding."""

Facts = dict[str, float | str]


def facts_of(amount: float, features: NDArray[np.float32]) -> Facts:
    """What sentences may say of a transaction besides the value of their feature.

    Args:
        amount: in main units.
        features: (len(CATALOGUE),) of the transaction.
    """
    row = features.tolist()
    is_known, month, idle_days = row[_KNOWN] > 0, row[_COUNT_30D], row[_SINCE_LAST] / _DAY_S
    usual, usual_day = _usual(amount, row[_TO_MEAN]), _usual(row[_SUM_24H], row[_SUM_RATIO])
    return {
        "amount": amount,
        "usual": usual,
        "usually": f"; this user usually pays {usual:,.2f}" if is_known else "; it is the user's first",
        "on_a_day": f"; on a usual day this user spends {usual_day:,.2f}" if is_known else "",
        "in_an_hour": row[_COUNT_1H] + 1.0,
        # The hour itself is no usual one.
        "a_day": (month - row[_COUNT_1H]) / min(max(row[_AGE_DAYS], 1.0), _MONTH_DAYS),
        "in_a_month": f": {row[_CATEGORY_VISITS]:.0f} of {month:.0f} transactions in 30 days" if month else "",
        "silence": f"{idle_days:.0f} days" + (" or more" if idle_days >= _MONTH_DAYS else ""),
        "distance": row[_DISTANCE],
        "speed": row[_SPEED],
    }


def sentence(feature: Feature, features: NDArray[np.float32], facts: Facts) -> str:
    """The reason in words.

    Args:
        feature: one with words.
        features: (len(CATALOGUE),) of the transaction.
        facts: `facts_of` it.
    """
    value = float(features[index_of(feature.name)])
    exponent = min(value, _LARGEST_EXPONENT)
    share = math.exp(-exponent)
    is_known = features[_KNOWN] > 0
    return feature.says.format(
        value=value,
        times=math.exp(exponent),
        share=share,
        of_earlier=f": about {share:.1%} of the earlier transactions" if is_known else "; it is the user's first",
        these=_these(feature.name, value, features, float(facts["amount"])),
        **facts,
    )


def _these(name: str, value: float, features: NDArray[np.float32], amount: float) -> str:
    """Which amounts an echo speaks of, with their verb."""
    if name not in _NOW:
        return ""
    column, threshold = _NOW[name]
    now = max(float(features[column]) - threshold, 0.0)
    if now <= _HEARD:
        return f"Amounts of the last days, before this one of {amount:,.2f}, were"
    if value - now <= _HEARD:
        return f"The amount of {amount:,.2f} is"
    return f"This amount of {amount:,.2f} and others of the last days are"


def _usual(amount: float, log_ratio: float) -> float:
    """What an amount is compared with: a log ratio compares a + 1 with what is usual + 1."""
    return max((amount + 1.0) / math.exp(min(log_ratio, _LARGEST_EXPONENT)) - 1.0, 0.0)
