"""Which reasons are right for frauds whose story is known: what gives each campaign away, not what is only near.

The simulator's stories are those of campaigns.py. A code that happens to be true as well does not count: a card that is
tested comes from a new device too, but who reads only that does not learn that the card is being tested.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from fraudstream.features.catalogue import ReasonCode
from fraudstream.training.campaigns import SMALLEST_HAUL_USD


@dataclass(frozen=True, slots=True)
class Right:
    """The right reasons of a campaign.

    Attributes:
        codes: right for each of its frauds.
        of_large: right as well where the amount is `large_from` or more.
        large_from: in main units.
    """

    codes: tuple[ReasonCode, ...]
    of_large: tuple[ReasonCode, ...] = ()
    large_from: float = math.inf

    def of(self, amount: float) -> tuple[ReasonCode, ...]:
        """The codes that are right for a fraud of this amount."""
        return self.codes + self.of_large if amount >= self.large_from else self.codes


SIMULATED = {
    "card_testing": Right(("high_velocity",), ("unusual_amount",), SMALLEST_HAUL_USD),
    "account_takeover": Right(("new_device", "unusual_time")),
    "impossible_travel": Right(("impossible_travel", "unusual_location")),
    "merchant_compromise": Right(("new_device",)),
    "slow_drain": Right(("unusual_merchant", "unusual_category")),
    "amount_spike": Right(("unusual_amount",)),
}
"""A tested card buys something dear last: that alone is an unusual amount. A copied card that buys once more where it
was flown to has not travelled again: then the place gives it away. Behind a leak of a merchant are the few
devices of a ring: merchants and categories are chosen at random there and give nothing away."""

HANDBOOK = {"1": Right(("unusual_amount",)), "3": Right(("unusual_amount",))}
"""The Handbook's scenarios of a large amount and of a card that spends five times as much. Scenario 2, a compromised
terminal, leaves no trace in the payment itself: nothing can be expected of it."""


def right_reasons(campaign_column: str) -> dict[str, Right]:
    """Right reasons by campaign, as far as they are known.

    Args:
        campaign_column: how the file names its campaigns: the Handbook's numbers mean nothing in another file.
    """
    return HANDBOOK if campaign_column == "fraud_scenario" else SIMULATED
