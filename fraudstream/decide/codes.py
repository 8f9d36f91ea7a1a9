"""The reason codes, each once, with its subject, its meaning and an example; nothing is computed here.

Verdicts carry codes as plain text, so that a record outlives the list: a code that is given up can still be read.
"""

from __future__ import annotations

from dataclasses import dataclass

LARGE_AMOUNT = "large_amount"
AMOUNT_FOR_USER = "amount_for_user"
AMOUNT_FOR_CATEGORY = "amount_for_category"
AMOUNT_AT_MERCHANT = "amount_at_merchant"
RECENT_AMOUNTS = "recent_amounts"
DAY_SPENDING = "day_spending"
HIGH_VELOCITY = "high_velocity"
CARD_TESTING = "card_testing"
NEW_DEVICE = "new_device"
SHARED_DEVICE = "shared_device"
NEW_LOCATION = "new_location"
IMPOSSIBLE_TRAVEL = "impossible_travel"
NEW_MERCHANT = "new_merchant"
REGULAR_CHARGES = "regular_charges"
RARE_CATEGORY = "rare_category"
NEW_CATEGORY = "new_category"
ODD_HOUR = "odd_hour"
DORMANT_ACCOUNT = "dormant_account"
UNUSUAL_SEQUENCE = "unusual_sequence"
OTHER_SIGNALS = "other_signals"

AMOUNT, SEQUENCE, OTHER = "amount", "sequence", "other"


@dataclass(frozen=True, slots=True)
class ReasonCode:
    """One code.

    Attributes:
        name: stable snake_case name, as it stands in verdicts.
        subject: what it is about: amount, velocity, device, place, merchant, category, time, sequence, or other.
        meaning: when it is given.
        example: a sentence as it may be read out.
    """

    name: str
    subject: str
    meaning: str
    example: str


CODES: tuple[ReasonCode, ...] = (
    ReasonCode(
        LARGE_AMOUNT,
        AMOUNT,
        "The amount is high among all payments, whoever makes them.",
        "Amount 912.40 is high among all payments; this user usually pays 65.10",
    ),
    ReasonCode(
        AMOUNT_FOR_USER,
        AMOUNT,
        "The amount is high against what this user has paid so far.",
        "Amount 912.40 is 14 times this user's usual 65.10",
    ),
    ReasonCode(
        AMOUNT_FOR_CATEGORY,
        AMOUNT,
        "The amount is high against what anybody pays in this category.",
        "Amount 912.40 is high for this category: about 1 in 250 of its payments is as large; this user usually pays "
        "65.10 in it",
    ),
    ReasonCode(
        AMOUNT_AT_MERCHANT,
        AMOUNT,
        "The amount is high against what this user has paid at this merchant in 30 days.",
        "Amount 912.40 is far above what this user paid at this merchant in the last 30 days",
    ),
    ReasonCode(
        RECENT_AMOUNTS,
        AMOUNT,
        "The payments of the last 7 days, before this one, were high already: a stolen card is used in bursts.",
        "Earlier payments of the last 7 days were unusually high for this user, who usually pays 65.10",
    ),
    ReasonCode(
        DAY_SPENDING,
        AMOUNT,
        "The sum of 24 hours, this payment included, is high.",
        "1,240.00 spent within 24 hours; on a usual day this user spends 60.00",
    ),
    ReasonCode(
        HIGH_VELOCITY,
        "velocity",
        "More payments within an hour than the user makes on a usual day.",
        "6 payments within an hour; on a usual day this user makes 1.8",
    ),
    ReasonCode(
        CARD_TESTING,
        "velocity",
        "Several amounts within an hour that are tiny for this user, as thieves find out whether a card works.",
        "4 very small amounts within an hour, as when a stolen card is tested",
    ),
    ReasonCode(
        NEW_DEVICE,
        "device",
        "The profile holds devices from before the last day, but not this one.",
        "This user has not paid with this device in the last 30 days",
    ),
    ReasonCode(
        SHARED_DEVICE,
        "device",
        "The same, and the training stream saw the device with several users. Only the strangeness is scored.",
        "This user has not paid with this device in the last 30 days, but 5 others have used it",
    ),
    ReasonCode(
        NEW_LOCATION,
        "place",
        "The profile holds locations from before the last day, but not this one.",
        "This user has not paid at this location in the last 30 days",
    ),
    ReasonCode(
        IMPOSSIBLE_TRAVEL,
        "place",
        "To be here now, the user would have had to travel faster than an airliner.",
        "The last known place is 5,570 km away: getting here since then takes 6,650 km/h",
    ),
    ReasonCode(
        NEW_MERCHANT,
        "merchant",
        "A strange device, and at a merchant where the user has not paid before the last day either.",
        "This user has not paid at this merchant in the last 30 days",
    ),
    ReasonCode(
        REGULAR_CHARGES,
        "merchant",
        "A merchant that the user did not know a month ago charges about the same amount at equal intervals.",
        "This merchant, new to this user in the last 30 days, has charged about the same amount 4 times at equal "
        "intervals",
    ),
    ReasonCode(
        RARE_CATEGORY,
        "category",
        "The user seldom buys in this category.",
        "Only 1 of this user's 40 payments of the last 30 days was in this category",
    ),
    ReasonCode(
        NEW_CATEGORY,
        "category",
        "The user bought nothing in this category in 30 days.",
        "None of this user's 40 payments of the last 30 days was in this category",
    ),
    ReasonCode(
        ODD_HOUR,
        "time",
        "The user seldom pays at this hour of the day.",
        "Only about 1.3% of this user's earlier payments were made around this hour of the day",
    ),
    ReasonCode(
        DORMANT_ACCOUNT,
        "time",
        "The user comes back after more than a week without a payment.",
        "This is this user's first payment in 21 days; usually one comes every 1.3 days",
    ),
    ReasonCode(
        UNUSUAL_SEQUENCE,
        SEQUENCE,
        "The LSTM finds the amounts of this and the last ten payments more surprising than 9 in 10 others.",
        "This payment fits this user's recent ones badly: 99.7% of all payments fit better",
    ),
    ReasonCode(
        OTHER_SIGNALS,
        OTHER,
        "What is left of the score: signals too small to be told alone, or a member whose part cannot be shared out.",
        "Smaller signals together",
    ),
)

REASON_CODES: dict[str, ReasonCode] = {code.name: code for code in CODES}
_SUBJECTS = {code.name: code.subject for code in CODES}


def subject_of(code: str) -> str:
    """What a code is about; a code that is not listed here, of a feature of somebody's own, is a subject of its own."""
    return _SUBJECTS.get(code, code)


def codes_about(subject: str) -> tuple[str, ...]:
    """Every code of a subject."""
    return tuple(code.name for code in CODES if code.subject == subject)


def markdown_table() -> str:
    """The codes as a Markdown table, for docs/reasons.md."""
    rows = [f"| `{code.name}` | {code.subject} | {code.meaning} | {code.example} |" for code in CODES]
    return "\n".join(["| code | subject | given when | example |", "|---|---|---|---|", *rows]) + "\n"
