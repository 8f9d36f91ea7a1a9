"""What a reason says: a value that people read, what is usual for this user, and a sentence to read out.

Only what the features tell is said. A profile holds 30 days of events, so no sentence speaks of "never".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from fraudstream.decide import codes
from fraudstream.features.catalogue import Feature, index_of

Row = list[float]
"""Features of a transaction in the catalogue's order."""

CURRENCY, IN_MONTH, IN_HOUR = "currency", "transactions in 30 d", "transactions in 1 h"

_LARGEST_EXPONENT = 300.0
_DAY_S, _MONTH_DAYS = 86_400.0, 30.0
_WHOLE_TIMES_FROM = 10.0
_TIMES_FROM = 1.25
"""Below this an amount is not so many times the usual, but only above it."""
_FEW_PAYMENTS = 24.0
"""One for each hour of the day: with fewer, the share of an hour is a guess."""
_RARE_NATS = 2.0
_MOST_RARE = 10_000.0
_MOST_SURPRISING = 0.999
"""Beyond it the words would say 100 %."""
_CENTS, _DIGITS = 2, 6
_AGAINST_USER = frozenset({"echo_z_1d", "echo_ratio_1d", "echo_ratio_3d"})
"""Echoes of what is much for the user; the others are of what is much for a category."""

_TO_MEAN = index_of("amount_to_mean_lifetime")
_TO_CATEGORY_MEAN = index_of("amount_to_category_mean_30d")
_TAIL = index_of("amount_tail_category")
CATEGORY_Z = index_of("amount_z_category")
_KNOWN = index_of("lifetime_count")
_AGE_DAYS = index_of("account_age_days")
_SUM_24H = index_of("sum_24h")
_SUM_RATIO = index_of("sum_ratio_24h")
_SUM_7D = index_of("sum_7d")
_COUNT_7D = index_of("count_7d")
_COUNT_1H = index_of("count_1h")
_COUNT_30D = index_of("count_30d")
_MERCHANT_VISITS = index_of("merchant_visits_30d")
CATEGORY_VISITS = index_of("category_visits_30d")
CATEGORY_RARITY = index_of("category_rarity")
_DEVICE_VISITS = index_of("device_visits_30d")
DEVICE_USERS = index_of("device_users")
_LOCATION_VISITS = index_of("location_visits_30d")
_HOUR_RARITY = index_of("hour_rarity")
SMALL = index_of("small_burst_1h")
_SINCE_LAST = index_of("seconds_since_last")
_DISTANCE = index_of("distance_km")
_SPEED = index_of("speed_kmh")


class Said(NamedTuple):
    """A reason for people.

    Attributes:
        value: what was measured, in `unit`.
        unit: of value and usual.
        usual: what is usual for this user; None where nothing is known or it means nothing.
        text: one sentence.
    """

    value: float
    unit: str
    usual: float | None
    text: str


def said_of(code: str, feature: Feature, amount: float, row: Row) -> Said:
    """What to say of a code of decide/codes.py.

    Args:
        code: one that a feature can lead.
        feature: the one that leads it.
        amount: in main units.
        row: features of the transaction.
    """
    return _SAY[code](feature, amount, row)


def has_category(row: Row) -> bool:
    """Whether the transaction names a category: without one both features of it are 0."""
    return row[CATEGORY_Z] != 0.0 or row[CATEGORY_RARITY] != 0.0


def said_of_feature(feature: Feature, amount: float, row: Row) -> Said:
    """What a feature says in words of its own, with its value as it is."""
    value = row[index_of(feature.name)]
    usual = _usual_amount(amount, row) or 0.0
    text = feature.says.format(value=value, times=_exp(value), share=_exp(-value), amount=amount, usual=usual)
    return Said(value, feature.unit, None, text)


def said_of_sequence(surprise: float, row: Row) -> Said:
    """What the LSTM says.

    Args:
        surprise: share of the training traffic that surprised it less.
        row: features of the transaction.
    """
    unlike = "fits this user's recent ones badly" if row[_KNOWN] else "is this user's first, and an unusual one"
    text = f"This payment {unlike}: {min(surprise, _MOST_SURPRISING):.1%} of all payments fit better"
    return Said(round(surprise, _DIGITS), "share of payments", None, text)


# Amounts


def _large(_feature: Feature, amount: float, row: Row) -> Said:
    usual = _usual_amount(amount, row)
    # With a category the tail is that of its payments alone.
    how = "is high among all payments" if has_category(row) else _how_high("among all payments", "them", row)
    return Said(amount, CURRENCY, usual, f"Amount {amount:,.2f} {how}{_usually(usual)}")


def _for_user(_feature: Feature, amount: float, row: Row) -> Said:
    usual = _usual_amount(amount, row)
    if usual is None:
        return _large(_feature, amount, row)
    if usual < 0.01:  # noqa: PLR2004  the smallest coin
        text = f"Amount {amount:,.2f} is more than this user's usual {usual:,.2f}"
    elif amount >= _TIMES_FROM * usual:
        text = f"Amount {amount:,.2f} is {_times(amount / usual)} times this user's usual {usual:,.2f}"
    else:
        text = f"Amount {amount:,.2f} is more than most of this user's payments; a few large ones bring the average to"
        text += f" {usual:,.2f}"
    return Said(amount, CURRENCY, usual, text)


def _for_category(_feature: Feature, amount: float, row: Row) -> Said:
    text = f"Amount {amount:,.2f} {_how_high('for this category', 'its payments', row)}"
    if row[CATEGORY_VISITS]:
        usual = round(_of_ratio(amount, row[_TO_CATEGORY_MEAN]), _CENTS)
        return Said(amount, CURRENCY, usual, f"{text}; this user usually pays {usual:,.2f} in it")
    anywhere = _usual_amount(amount, row)
    if anywhere is None:
        return Said(amount, CURRENCY, None, text + _usually(None))
    return Said(amount, CURRENCY, anywhere, f"{text}; over all categories this user usually pays {anywhere:,.2f}")


def _at_merchant(_feature: Feature, amount: float, _row: Row) -> Said:
    text = f"Amount {amount:,.2f} is far above what this user paid at this merchant in the last 30 days"
    return Said(amount, CURRENCY, None, text)


def _recent(feature: Feature, amount: float, row: Row) -> Said:
    usual = _usual_amount(amount, row)
    if feature.name in _AGAINST_USER:
        against = f"this user, who usually pays {usual or 0.0:,.2f}"
    else:
        against = "their categories"
    text = f"Earlier payments of the last 7 days were unusually high for {against}"
    before, count = max(row[_SUM_7D] - amount, 0.0), row[_COUNT_7D]
    return Said(round(before / max(count, 1.0), _CENTS), "currency a payment in 7 d", usual, text)


def _day_spending(_feature: Feature, _amount: float, row: Row) -> Said:
    spent = round(row[_SUM_24H], _CENTS)
    if not row[_KNOWN]:
        return Said(spent, CURRENCY, None, f"{spent:,.2f} spent within 24 hours, with this user's first payment")
    usual = round(_of_ratio(spent, row[_SUM_RATIO]), _CENTS)
    text = f"{spent:,.2f} spent within 24 hours; on a usual day this user spends {usual:,.2f}"
    return Said(spent, CURRENCY, usual, text)


# Counts


def _velocity(_feature: Feature, _amount: float, row: Row) -> Said:
    in_hour = row[_COUNT_1H] + 1.0
    # The hour itself is no usual one.
    a_day = (row[_COUNT_30D] - row[_COUNT_1H]) / min(max(row[_AGE_DAYS], 1.0), _MONTH_DAYS)
    text = f"{in_hour:.0f} payments within an hour; {_usual_pace(a_day)}"
    return Said(in_hour, IN_HOUR, round(a_day / 24.0, _DIGITS), text)


def _card_testing(_feature: Feature, _amount: float, row: Row) -> Said:
    small = row[SMALL] + 1.0
    text = f"{small:.0f} very small amounts within an hour, as when a stolen card is tested"
    return Said(small, IN_HOUR, None, text)


# Devices, places, merchants, categories


def _device(_feature: Feature, _amount: float, row: Row) -> Said:
    text = _seen("with this device", row[_DEVICE_VISITS])
    return Said(row[_DEVICE_VISITS], IN_MONTH, None, text)


def _shared_device(_feature: Feature, _amount: float, row: Row) -> Said:
    users = row[DEVICE_USERS]
    text = f"{_seen('with this device', row[_DEVICE_VISITS])}, but {users:.0f} others have used it"
    return Said(users, "users", None, text)


def _location(_feature: Feature, _amount: float, row: Row) -> Said:
    return Said(row[_LOCATION_VISITS], IN_MONTH, None, _seen("at this location", row[_LOCATION_VISITS]))


def _merchant(_feature: Feature, _amount: float, row: Row) -> Said:
    return Said(row[_MERCHANT_VISITS], IN_MONTH, None, _seen("at this merchant", row[_MERCHANT_VISITS]))


def _travel(_feature: Feature, _amount: float, row: Row) -> Said:
    text = (
        f"The last known place is {row[_DISTANCE]:,.0f} km away: getting here since then takes {row[_SPEED]:,.0f} km/h"
    )
    return Said(round(row[_SPEED], 1), "km/h", None, text)


def _regular(_feature: Feature, _amount: float, row: Row) -> Said:
    charges = row[_MERCHANT_VISITS] + 1.0
    text = (
        "This merchant, new to this user in the last 30 days, has charged about the same amount "
        f"{charges:.0f} times at equal intervals"
    )
    return Said(charges, IN_MONTH, None, text)


def _category(_feature: Feature, _amount: float, row: Row) -> Said:
    here, month = row[CATEGORY_VISITS], row[_COUNT_30D]
    if not month:
        text = "This user made no payment in the last 30 days, so none in this category"
    elif not here and month == 1.0:
        text = "The only payment of this user in the last 30 days was in another category"
    elif not here:
        text = f"None of this user's {month:.0f} payments of the last 30 days was in this category"
    else:
        were = "was" if here == 1.0 else "were"
        text = f"Only {here:.0f} of this user's {_payments(month)} of the last 30 days {were} in this category"
    return Said(here, IN_MONTH, None, text)


# Times


def _hour(_feature: Feature, _amount: float, row: Row) -> Said:
    known, share = row[_KNOWN], _exp(-row[_HOUR_RARITY])
    if not known:
        text = "This is the user's first payment, so no hour of the day is usual"
    elif known == 1.0:
        text = "This user has paid once before, at another hour of the day"
    elif known < _FEW_PAYMENTS:
        text = f"Hardly any of this user's {known:.0f} payments so far were made around this hour of the day"
    else:
        text = f"Only about {share:.1%} of this user's earlier payments were made around this hour of the day"
    return Said(round(share, _DIGITS), "share of earlier transactions", None, text)


def _dormant(_feature: Feature, _amount: float, row: Row) -> Said:
    idle_days, known = row[_SINCE_LAST] / _DAY_S, row[_KNOWN]
    is_cut = idle_days >= _MONTH_DAYS
    text = f"This is this user's first payment in {idle_days:.0f} days" + (" or more" if is_cut else "")
    if is_cut or known < 2.0:  # noqa: PLR2004  two payments have one pause between them
        return Said(round(idle_days, 2), "d", None, text)
    usual = max(row[_AGE_DAYS] - idle_days, 0.0) / (known - 1.0)
    text += f"; usually one comes every {_days(usual)}"
    return Said(round(idle_days, 2), "d", round(usual, 2), text)


_SAY: dict[str, Callable[[Feature, float, Row], Said]] = {
    codes.LARGE_AMOUNT: _large,
    codes.AMOUNT_FOR_USER: _for_user,
    codes.AMOUNT_FOR_CATEGORY: _for_category,
    codes.AMOUNT_AT_MERCHANT: _at_merchant,
    codes.RECENT_AMOUNTS: _recent,
    codes.DAY_SPENDING: _day_spending,
    codes.HIGH_VELOCITY: _velocity,
    codes.CARD_TESTING: _card_testing,
    codes.NEW_DEVICE: _device,
    codes.SHARED_DEVICE: _shared_device,
    codes.NEW_LOCATION: _location,
    codes.IMPOSSIBLE_TRAVEL: _travel,
    codes.NEW_MERCHANT: _merchant,
    codes.REGULAR_CHARGES: _regular,
    codes.RARE_CATEGORY: _category,
    codes.NEW_CATEGORY: _category,
    codes.ODD_HOUR: _hour,
    codes.DORMANT_ACCOUNT: _dormant,
}


# Words


def _usual_amount(amount: float, row: Row) -> float | None:
    """The mean of what the user has paid so far, in cents, None before the first payment."""
    return round(_of_ratio(amount, row[_TO_MEAN]), _CENTS) if row[_KNOWN] else None


def _of_ratio(value: float, log_ratio: float) -> float:
    """What a value is compared with: a log ratio compares value + 1 with what is usual + 1."""
    return max((value + 1.0) * _exp(-log_ratio) - 1.0, 0.0)


def _how_high(where: str, payments: str, row: Row) -> str:
    """How high an amount is among those that the tail is of."""
    nats = row[_TAIL]
    if nats < _RARE_NATS:
        return f"is on the high side {where}: {_exp(-nats):.0%} of {payments} are as large"
    one_in = _exp(nats)
    if one_in >= _MOST_RARE:
        return f"is high {where}: fewer than 1 in {_MOST_RARE:,.0f} of {payments} is as large"
    return f"is high {where}: about 1 in {_roughly(one_in)} of {payments} is as large"


def _exp(exponent: float) -> float:
    """Finite for any exponent."""
    if abs(exponent) > _LARGEST_EXPONENT:
        exponent = math.copysign(_LARGEST_EXPONENT, exponent)
    return math.exp(exponent)


def _usually(usual: float | None) -> str:
    return "; it is this user's first payment" if usual is None else f"; this user usually pays {usual:,.2f}"


def _usual_pace(a_day: float) -> str:
    if not a_day:
        return "this user made no other in the last 30 days"
    if a_day < 1.0:
        return f"usually one comes every {_days(1.0 / a_day)}"
    return f"on a usual day this user makes {a_day:.1f}"


def _seen(how: str, visits: float) -> str:
    if visits:
        return f"This user first paid {how} within the last 24 hours"
    return f"This user has not paid {how} in the last 30 days"


def _payments(count: float) -> str:
    return "one payment" if count == 1.0 else f"{count:.0f} payments"


def _days(days: float) -> str:
    if days < 1.0:
        return f"{days * 24.0:.1f} hours"
    return f"{days:.1f} days"


def _times(times: float) -> str:
    return f"{times:,.0f}" if times >= _WHOLE_TIMES_FROM else f"{times:.1f}"


def _roughly(number: float) -> str:
    """Two leading digits: more would promise what a reference table cannot keep."""
    digits = 10.0 ** max(math.floor(math.log10(number)) - 1, 0)
    return f"{round(number / digits) * digits:,.0f}"
