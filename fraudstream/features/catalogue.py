"""The feature catalogue: every feature once, in one list; matrix, docs table, manifest and reasons are made from it.

How a feature is computed stands in `kernel.py` under the same name; the naive twin that it is held equal to stands in
the tests. In the formulas `a` is this amount in main units, `n_w`, `s_w`, `m_w` are count, sum and mean of the user's
earlier transactions in the window (t - w, t].
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

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
        reason: what a verdict says when this feature stands out.
        risk: which side is suspicious; None keeps it out of the models.
        scale: `log1p` where values span orders of magnitude, so that trees and networks see their order evenly.
        says: the sentence of a reason, with {value}, {amount} and {times} (e to the value); set where `risk` is.
    """

    name: str
    unit: str
    formula: str
    doc: str
    reason: ReasonCode
    risk: Literal["high", "low"] | None = "high"
    scale: Literal["linear", "log1p"] = "linear"
    says: str = ""


AMOUNT: ReasonCode = "unusual_amount"
VELOCITY: ReasonCode = "high_velocity"

CATALOGUE: tuple[Feature, ...] = (
    Feature(
        "log_amount",
        "log(1 + currency)",
        "log1p(a)",
        "Size of the amount.",
        AMOUNT,
        says="The amount of {amount:,.2f} is high",
    ),
    Feature(
        "amount_z",
        "standard deviations",
        "(la - mean(la)) / sqrt(var(la) + 0.05) over life, la = log1p(a) in steps of 1/1024; 0 before 3 events",
        "How far the amount is from what the user pays.",
        AMOUNT,
        says="The amount of {amount:,.2f} is {value:.1f} standard deviations above what this user pays",
    ),
    Feature(
        "amount_to_mean_24h",
        "log ratio",
        "log((a + 1) / (m_24h + 1)), 0 without history",
        "Amount against the user's mean of a day.",
        AMOUNT,
        says="The amount of {amount:,.2f} is {times:,.1f} times the user's mean of the last day",
    ),
    Feature(
        "amount_to_mean_7d",
        "log ratio",
        "log((a + 1) / (m_7d + 1)), 0 without history",
        "Amount against the user's mean of a week.",
        AMOUNT,
        says="The amount of {amount:,.2f} is {times:,.1f} times the user's mean of the last week",
    ),
    Feature(
        "amount_to_mean_30d",
        "log ratio",
        "log((a + 1) / (m_30d + 1)), 0 without history",
        "Amount against the user's mean of 30 days.",
        AMOUNT,
        says="The amount of {amount:,.2f} is {times:,.1f} times the user's mean of 30 days",
    ),
    Feature(
        "amount_to_mean_lifetime",
        "log ratio",
        "log((a + 1) / (lifetime mean + 1)), 0 without history",
        "Amount against the user's mean of all time.",
        AMOUNT,
        says="The amount of {amount:,.2f} is {times:,.1f} times what the user usually pays",
    ),
    Feature(
        "amount_to_max_30d",
        "log ratio",
        "log((a + 1) / (largest of 30 d + 1)), 0 without history",
        "Amount against the user's largest of 30 days.",
        AMOUNT,
        says="The amount of {amount:,.2f} is {times:,.1f} times the user's largest of 30 days",
    ),
    Feature(
        "amount_rank_30d",
        "nats",
        "-log((number >= a in 30 d + 0.5) / (n_30d + 1))",
        "How rarely the user pays that much.",
        AMOUNT,
        says="This user rarely pays {amount:,.2f} or more",
    ),
    Feature(
        "amount_to_category_mean_30d",
        "log ratio",
        "log((a + 1) / (m_30d in this category, shrunk by 3 events to m_30d, + 1)), 0 without history",
        "Amount against what the user pays in this category.",
        AMOUNT,
        says="The amount of {amount:,.2f} is {times:,.1f} times what the user pays in this category",
    ),
    Feature(
        "count_1h",
        "transactions",
        "n_1h",
        "Transactions in the last hour.",
        VELOCITY,
        scale="log1p",
        says="{value:.0f} other transactions within an hour",
    ),
    Feature(
        "count_24h",
        "transactions",
        "n_24h",
        "Transactions in the last 24 hours.",
        VELOCITY,
        scale="log1p",
        says="{value:.0f} other transactions within 24 hours",
    ),
    Feature("count_7d", "transactions", "n_7d", "Transactions in the last 7 days.", VELOCITY, None, "log1p"),
    Feature("count_30d", "transactions", "n_30d", "Transactions in the last 30 days.", VELOCITY, None, "log1p"),
    Feature(
        "sum_1h",
        "currency",
        "s_1h + a",
        "Spent within an hour, this one included.",
        AMOUNT,
        scale="log1p",
        says="{value:,.2f} spent within an hour",
    ),
    Feature(
        "sum_24h",
        "currency",
        "s_24h + a",
        "Spent within 24 hours, this one included.",
        AMOUNT,
        scale="log1p",
        says="{value:,.2f} spent within 24 hours",
    ),
    Feature("sum_7d", "currency", "s_7d + a", "Spent within 7 days, this one included.", AMOUNT, None, "log1p"),
    Feature("sum_30d", "currency", "s_30d + a", "Spent within 30 days, this one included.", AMOUNT, None, "log1p"),
    Feature(
        "mean_24h",
        "currency",
        "(s_24h + a) / (n_24h + 1)",
        "Mean amount within 24 hours, this one included.",
        AMOUNT,
        scale="log1p",
        says="Transactions of the last day average {value:,.2f}",
    ),
    Feature(
        "count_ratio_24h",
        "log ratio",
        "log((n_24h + 1) / (n_30d / days + 1)), days = account age in 1..30",
        "Transactions of a day against the user's usual day.",
        VELOCITY,
        says="{times:,.1f} times as many transactions as on the user's usual day",
    ),
    Feature(
        "sum_ratio_24h",
        "log ratio",
        "log((s_24h + a + 1) / (s_30d / days + 1)), 0 without history",
        "Spending of a day against the user's usual day.",
        AMOUNT,
        says="{times:,.1f} times the spending of the user's usual day",
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
        says="The transaction follows the last one {times:,.0f} times sooner than usual",
    ),
    Feature(
        "merchants_24h",
        "merchants",
        "distinct merchants in 24 h",
        "Different merchants in the last 24 hours.",
        VELOCITY,
        scale="log1p",
        says="{value:.0f} different merchants within 24 hours",
    ),
    Feature(
        "merchant_visits_30d",
        "transactions",
        "earlier transactions at this merchant in 30 d",
        "How well the user knows the merchant.",
        "unusual_merchant",
        "low",
        "log1p",
        says="{value:.0f} earlier visits to this merchant within 30 days",
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
        says="This user rarely buys in this category",
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
        says="The device was never used by this user",
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
        says="The user never paid at this location",
    ),
    Feature(
        "hour_rarity",
        "nats",
        "-log((h/2 + a quarter of the hours beside it + 5/24) / (lifetime count + 5)), hours in UTC",
        "How rarely the user pays at this hour.",
        "unusual_time",
        says="This user rarely pays at this hour",
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
        scale="log1p",
        says="Getting here from the last known place takes {value:,.0f} km/h",
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

FEATURE_NAMES: tuple[str, ...] = tuple(feature.name for feature in CATALOGUE)
MODEL_INPUTS: tuple[Feature, ...] = tuple(feature for feature in CATALOGUE if feature.risk is not None)

_INPUT_COLUMNS = np.array([FEATURE_NAMES.index(feature.name) for feature in MODEL_INPUTS])
_LOG_COLUMNS = np.array([at for at, feature in enumerate(MODEL_INPUTS) if feature.scale == "log1p"])
_SIGNS = np.array([-1.0 if feature.risk == "low" else 1.0 for feature in MODEL_INPUTS], np.float32)


def index_of(name: str) -> int:
    """Column of a feature in the matrix.

    Raises:
        KeyError: there is no such feature.
    """
    try:
        return FEATURE_NAMES.index(name)
    except ValueError:
        raise KeyError(f"expected one of the {len(CATALOGUE)} features of the catalogue, got {name!r}") from None


def model_inputs(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the models see: the features with a risk side, scaled, turned so that high is suspicious.

    Args:
        features: (n, len(CATALOGUE)) as the kernel gives them.

    Returns:
        (n, len(MODEL_INPUTS)), C order.
    """
    inputs = np.ascontiguousarray(features[:, _INPUT_COLUMNS])
    inputs[:, _LOG_COLUMNS] = np.log1p(inputs[:, _LOG_COLUMNS])
    inputs *= _SIGNS
    return inputs


def catalogue_hash() -> str:
    """Fingerprint of what the models see; a model trained on another catalogue is refused. Wording may change."""
    seen = [(feature.name, feature.unit, feature.formula, feature.risk, feature.scale) for feature in CATALOGUE]
    return hashlib.sha256(json.dumps(seen).encode()).hexdigest()


def markdown_table() -> str:
    """The catalogue as a Markdown table, for docs/features.md."""
    rows = [f"| `{feature.name}` | {feature.unit} | {feature.formula} | {feature.doc} |" for feature in CATALOGUE]
    return "\n".join(["| feature | unit | formula | meaning |", "|---|---|---|---|", *rows]) + "\n"
