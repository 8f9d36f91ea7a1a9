"""The feature catalogue itself: every feature once, in one list.

How a feature is computed stands in the kernels of this package under the same name; the naive twin that it is held
equal to stands in the tests. In the formulas `a` is this amount in main units, `n_w`, `s_w`, `m_w` are count, sum and
mean of the user's earlier transactions in the window (t - w, t]; `la` is log1p(a). What is usual for a category, or for
everybody, comes from the model's reference tables (reference.py), fitted to the training stream and frozen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ReasonCode = Literal[
    "unusual_amount",
    "high_velocity",
    "impossible_travel",
    "new_device",
    "unusual_merchant",
    "unusual_category",
    "unusual_location",
    "unusual_time",
    "unusual_sequence",
]


@dataclass(frozen=True, slots=True)
class Feature:
    """One feature.

    Attributes:
        name: stable snake_case name.
        unit: unit of the value.
        formula: how it is computed.
        doc: one line for the reader.
        reason: what a verdict says when this feature stands out; a feature of one's own may bring its own code.
        risk: which side is suspicious; None keeps it out of the models.
        scale: `log1p` where values span orders of magnitude, so that trees and networks see their order evenly.
        says: the sentence of a reason, with {value}, {times} (e to the value), {share} (e to minus the value) and the
            facts of decide/sentences.py, such as what is usual for the user; set where `risk` is.
        weight: how many inputs it counts for in forest and autoencoder. A dozen inputs describe the amount; evidence
            that stands alone for its subject would otherwise never be heard.
    """

    name: str
    unit: str
    formula: str
    doc: str
    reason: ReasonCode | str
    risk: Literal["high", "low"] | None = "high"
    scale: Literal["linear", "log1p"] = "linear"
    says: str = ""
    weight: int = 1


AMOUNT: ReasonCode = "unusual_amount"
VELOCITY: ReasonCode = "high_velocity"

CATALOGUE: tuple[Feature, ...] = (
    Feature(
        "log_amount",
        "log(1 + currency)",
        "log1p(a)",
        "Size of the amount.",
        AMOUNT,
        says="The amount of {amount:,.2f} is high{usually}",
    ),
    Feature(
        "amount_z",
        "standard deviations",
        "(la - mean(la)) / sqrt(var(la) + 0.05) over life, la = log1p(a) in steps of 1/1024; 0 before 3 events",
        "How far the amount is from what the user pays.",
        AMOUNT,
        says="The amount of {amount:,.2f} is {value:.1f} standard deviations above what this user pays{usually}",
    ),
    Feature(
        "amount_to_mean_24h",
        "log ratio",
        "log((a + 1) / (m_24h + 1)), 0 without history",
        "Amount against the user's mean of a day.",
        AMOUNT,
        None,
    ),
    Feature(
        "amount_to_mean_7d",
        "log ratio",
        "log((a + 1) / (m_7d + 1)), 0 without history",
        "Amount against the user's mean of a week.",
        AMOUNT,
        None,
    ),
    Feature(
        "amount_to_mean_30d",
        "log ratio",
        "log((a + 1) / (m_30d + 1)), 0 without history",
        "Amount against the user's mean of 30 days.",
        AMOUNT,
        None,
    ),
    Feature(
        "amount_to_mean_lifetime",
        "log ratio",
        "log((a + 1) / (lifetime mean + 1)), 0 without history",
        "Amount against the user's mean of all time.",
        AMOUNT,
        says="The amount of {amount:,.2f} is {times:,.1f} times what this user usually pays, {usual:,.2f}",
        weight=3,
    ),
    Feature(
        "amount_to_max_30d",
        "log ratio",
        "log((a + 1) / (largest of 30 d + 1)), 0 without history",
        "Amount against the user's largest of 30 days.",
        AMOUNT,
        None,
    ),
    Feature(
        "amount_rank_30d",
        "nats",
        "-log((number >= a in 30 d + 0.5) / (n_30d + 1))",
        "How rarely the user pays that much.",
        AMOUNT,
        None,
    ),
    Feature(
        "amount_to_category_mean_30d",
        "log ratio",
        "log((a + 1) / (m_30d in this category, shrunk by 3 events to m_30d, + 1)), 0 without history",
        "Amount against what the user pays in this category.",
        AMOUNT,
        None,
    ),
    Feature(
        "count_1h",
        "transactions",
        "n_1h",
        "Transactions in the last hour.",
        VELOCITY,
        None,
        scale="log1p",
    ),
    Feature(
        "count_24h",
        "transactions",
        "n_24h",
        "Transactions in the last 24 hours.",
        VELOCITY,
        None,
        scale="log1p",
    ),
    Feature("count_7d", "transactions", "n_7d", "Transactions in the last 7 days.", VELOCITY, None, "log1p"),
    Feature("count_30d", "transactions", "n_30d", "Transactions in the last 30 days.", VELOCITY, None, "log1p"),
    Feature(
        "sum_1h",
        "currency",
        "s_1h + a",
        "Spent within an hour, this one included.",
        AMOUNT,
        None,
        scale="log1p",
    ),
    Feature(
        "sum_24h",
        "currency",
        "s_24h + a",
        "Spent within 24 hours, this one included.",
        AMOUNT,
        scale="log1p",
        says="{value:,.2f} spent within 24 hours{on_a_day}",
    ),
    Feature("sum_7d", "currency", "s_7d + a", "Spent within 7 days, this one included.", AMOUNT, None, "log1p"),
    Feature("sum_30d", "currency", "s_30d + a", "Spent within 30 days, this one included.", AMOUNT, None, "log1p"),
    Feature(
        "mean_24h",
        "currency",
        "(s_24h + a) / (n_24h + 1)",
        "Mean amount within 24 hours, this one included.",
        AMOUNT,
        None,
        scale="log1p",
    ),
    Feature(
        "count_ratio_24h",
        "log ratio",
        "log((n_24h + 1) / (n_30d / days + 1)), days = account age in 1..30",
        "Transactions of a day against the user's usual day.",
        VELOCITY,
        None,
    ),
    Feature(
        "sum_ratio_24h",
        "log ratio",
        "log((s_24h + a + 1) / (s_30d / days + 1)), 0 without history",
        "Spending of a day against the user's usual day.",
        AMOUNT,
        None,
    ),
    Feature(
        "seconds_since_last",
        "s",
        "t - time of the last event, at most 30 d",
        "Time since the user's last transaction.",
        VELOCITY,
        None,
        "log1p",
    ),
    Feature(
        "pace",
        "log ratio",
        "log1p(86400 days / (n_30d + 1)) - log1p(seconds_since_last), 0 without history",
        "How much sooner than usual this transaction follows.",
        VELOCITY,
        None,
    ),
    Feature(
        "merchants_24h",
        "merchants",
        "distinct merchants in 24 h",
        "Different merchants in the last 24 hours.",
        VELOCITY,
        None,
        scale="log1p",
    ),
    Feature(
        "merchant_visits_30d",
        "transactions",
        "earlier transactions at this merchant in 30 d",
        "How well the user knows the merchant.",
        "unusual_merchant",
        None,
        "log1p",
    ),
    Feature(
        "merchant_is_new",
        "0 or 1",
        "1 when the profile holds events, none of them at this merchant",
        "First time at this merchant.",
        "unusual_merchant",
        None,
    ),
    Feature(
        "category_visits_30d",
        "transactions",
        "earlier transactions in this category in 30 d",
        "How well the user knows the category.",
        "unusual_category",
        None,
        "log1p",
    ),
    Feature(
        "category_rarity",
        "nats",
        "-log((category_visits_30d + 5/14) / (n_30d + 5)), 0 without a category",
        "How rarely the user buys in this category.",
        "unusual_category",
        says="This user rarely buys in this category{in_a_month}",
    ),
    Feature(
        "device_visits_30d",
        "transactions",
        "earlier transactions with this device in 30 d",
        "How well the device is known.",
        "new_device",
        None,
        "log1p",
    ),
    Feature(
        "device_is_new",
        "0 or 1",
        "1 when the profile holds a device, but not this one",
        "A device that this user never used.",
        "new_device",
        None,
    ),
    Feature(
        "location_visits_30d",
        "transactions",
        "earlier transactions at this location in 30 d",
        "How well the user knows the place.",
        "unusual_location",
        None,
        "log1p",
    ),
    Feature(
        "location_is_new",
        "0 or 1",
        "1 when the profile holds a location, but not this one",
        "A place where this user never paid.",
        "unusual_location",
        None,
    ),
    Feature(
        "hour_rarity",
        "nats",
        "-log((h/2 + a quarter of the hours beside it + 5/24) / (lifetime count + 5)), hours in UTC",
        "How rarely the user pays at this hour.",
        "unusual_time",
        says="This user rarely pays at this hour{of_earlier}",
    ),
    Feature(
        "distance_km",
        "km",
        "great circle to the last event with coordinates in 30 d, 0 without one",
        "Distance from the last known place.",
        "impossible_travel",
        None,
        "log1p",
    ),
    Feature(
        "speed_kmh",
        "km/h",
        "distance_km / max(time since that event, 60 s)",
        "Speed needed to get here from the last known place.",
        "impossible_travel",
        None,
        scale="log1p",
    ),
    Feature(
        "amount_z_category",
        "standard deviations",
        "(la - mean(la of the category)) / deviation, both of the training stream; 0 without a category",
        "How far the amount is from what anybody pays in this category.",
        AMOUNT,
        says="The amount of {amount:,.2f} is {value:.1f} standard deviations above what is usual for such a payment"
        "{usually}",
    ),
    Feature(
        "amount_tail_category",
        "nats",
        "-log(share of the training stream's amounts in this category, or of all without one, that are >= a)",
        "How rarely anybody pays that much in this category.",
        AMOUNT,
        says="Only {share:.2%} of such payments are of {amount:,.2f} or more{usually}",
    ),
    Feature(
        "amount_beyond_merchant",
        "standard deviations",
        "max((la - mean(la) at this merchant in 30 d) / the category's deviation of the training stream - 2, 0); 0 "
        "without such a transaction, or where merchants of the training stream have no prices of their own",
        "How far the amount is from what the user pays at this merchant.",
        AMOUNT,
        says="The amount of {amount:,.2f} is far above what this user has paid at this merchant{usually}",
        weight=6,
    ),
    Feature(
        "echo_z_1d",
        "standard deviations",
        "s + max(sum((s_i - 1/6) exp(-age_i / 1 d)), 0) / 2 over 7 d, s = max((la - mean(la)) / deviation - 1, 0) of "
        "the user",
        "Amounts above what the user pays, now and lately.",
        AMOUNT,
        scale="log1p",
        says="{these} far above what this user pays{usually}",
    ),
    Feature(
        "echo_category_1d",
        "standard deviations",
        "the same with s = max(amount_z_category - 1, 0), of what has a category",
        "Amounts above what is paid in their categories, now and lately.",
        AMOUNT,
        scale="log1p",
        says="{these} far above what is usual for such payments{usually}",
        weight=4,
    ),
    Feature(
        "echo_category_3d",
        "standard deviations",
        "the same with exp(-age_i / 3 d)",
        "Amounts above what is paid in their categories over several days.",
        AMOUNT,
        scale="log1p",
        says="{these} far above what is usual for such payments{usually}",
    ),
    Feature(
        "echo_ratio_1d",
        "log ratio",
        "as echo_z_1d with s_i - 0.07 and s = max(log((a + 1) / (lifetime mean + 1)) - 1/2, 0)",
        "Amounts above the user's mean, now and lately.",
        AMOUNT,
        scale="log1p",
        says="{these} far above the user's mean{usually}",
    ),
    Feature(
        "echo_ratio_3d",
        "log ratio",
        "the same with exp(-age_i / 3 d)",
        "Amounts above the user's mean over several days.",
        AMOUNT,
        scale="log1p",
        says="{these} far above the user's mean{usually}",
    ),
    Feature(
        "echo_tail_1d",
        "nats",
        "s + max(sum((s_i - 0.27) exp(-age_i / 1 d)), 0) over 7 d, s = max(amount_tail_category - 2, 0), of what has a "
        "category",
        "Rare amounts, now and lately.",
        AMOUNT,
        scale="log1p",
        says="{these} rare among such payments{usually}",
        weight=4,
    ),
    Feature(
        "amount_is_round",
        "0 or 1",
        "1 when a is a whole multiple of 50",
        "A round amount, as on gift cards and in transfers.",
        AMOUNT,
        None,
    ),
    Feature(
        "velocity_excess_1h",
        "log ratio",
        "max(log((n_1h + 1) / (n_30d / days + 2)), 0), days = account age in 1..30",
        "More transactions within an hour than on the user's usual day.",
        VELOCITY,
        says="{in_an_hour:.0f} transactions within an hour; on a usual day this user makes {a_day:.1f}",
        weight=5,
    ),
    Feature(
        "small_burst_1h",
        "transactions",
        "max(number of amounts <= lifetime mean / 10 within an hour, this one included, - 1, 0); 0 before 3 events",
        "Small amounts in quick succession, as thieves test a card.",
        VELOCITY,
        says="{value:.0f} more very small amounts within an hour, as when a stolen card is tested",
        weight=4,
    ),
    Feature(
        "charges_are_regular",
        "0 or 1",
        "1 when the earlier transactions at this merchant are 2 or more, all within 30 d and with amounts within 10 % "
        "of a, and the longest interval between them, 1 h at least, is at most 1.25 times the shortest",
        "Equal charges at equal intervals by a merchant that the user did not know a month ago.",
        "unusual_merchant",
        says="This merchant, new to the user, charges about the same amount again and again, at equal intervals",
        weight=24,
    ),
    Feature(
        "dormancy",
        "log ratio",
        "max(log(time since the last event / 7 d), 0)",
        "A user who comes back after a long silence.",
        "unusual_time",
        says="The user comes back after a silence of {silence}",
    ),
    Feature(
        "device_strangeness",
        "1 + nats",
        "0 if the device, or no device at all, was seen more than a day ago; else 1 + category_rarity, 1 more if the "
        "merchant was not, and small_burst_1h, at most 2",
        "A strange device, the more so at a strange merchant and after small amounts.",
        "new_device",
        says="The device was never used by this user before the last day",
        weight=14,
    ),
    Feature(
        "device_users",
        "users",
        "users of this device in the training stream, 0 for fewer than 2",
        "A device that several users share.",
        "new_device",
        None,
        "log1p",
    ),
    Feature(
        "location_is_strange",
        "0 or 1",
        "1 when a location was seen more than a day ago, but not this one",
        "A place where this user never paid before the last day.",
        "unusual_location",
        says="The user never paid at this location before the last day",
        weight=4,
    ),
    Feature(
        "travel_excess",
        "log ratio",
        "max(log(speed_kmh / 900), 0) from a distance_km of 300, else 0",
        "How much faster than an airliner the user would have had to travel.",
        "impossible_travel",
        says="{distance:,.0f} km from the last known place: getting here takes {speed:,.0f} km/h",
        weight=24,
    ),
    Feature("account_age_days", "d", "(t - first event) / 86400", "How long the user is known.", AMOUNT, None),
    Feature(
        "lifetime_count",
        "transactions",
        "events in the user's life before t",
        "How many transactions the user has made.",
        VELOCITY,
        None,
        "log1p",
    ),
    Feature(
        "windows_cut",
        "windows",
        "how many of the four windows reach back further than the profile",
        "0 when every window is complete.",
        VELOCITY,
        None,
    ),
)
