"""Which reasons are right for frauds whose story is known: what gives each campaign away, not what is only near.

The simulator's stories are those of campaigns.py. A code that happens to be true as well does not count: a card that is
tested comes from a new device too, but who reads only that does not learn that the card is being tested.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from fraudstream.decide import codes
from fraudstream.training.campaigns import SMALLEST_HAUL_USD


@dataclass(frozen=True, slots=True)
class Right:
    """The right reasons of a campaign.

    Attributes:
        codes: right for each of its frauds.
        of_large: right as well where the amount is `large_from` or more.
        large_from: in main units.
    """

    codes: tuple[str, ...]
    of_large: tuple[str, ...] = ()
    large_from: float = math.inf

    def of(self, amount: float) -> tuple[str, ...]:
        """The codes that are right for a fraud of this amount."""
        return self.codes + self.of_large if amount >= self.large_from else self.codes


ABOUT_AMOUNT = codes.codes_about(codes.AMOUNT)

SIMULATED = {
    "card_testing": Right((codes.CARD_TESTING, codes.HIGH_VELOCITY), ABOUT_AMOUNT, SMALLEST_HAUL_USD),
    "account_takeover": Right((codes.NEW_DEVICE, codes.SHARED_DEVICE, codes.ODD_HOUR, codes.DORMANT_ACCOUNT)),
    "impossible_travel": Right((codes.IMPOSSIBLE_TRAVEL, codes.NEW_LOCATION)),
    "merchant_compromise": Right((codes.NEW_DEVICE, codes.SHARED_DEVICE)),
    "slow_drain": Right((codes.REGULAR_CHARGES, codes.NEW_MERCHANT, codes.RARE_CATEGORY, codes.NEW_CATEGORY)),
    "amount_spike": Right(ABOUT_AMOUNT),
}
"""A tested card buys something dear last: that alone is an unusual amount. A copied card that buys once more where it
was flown to has not travelled again: then the place gives it away. Behind a leak of a merchant are the few
devices of a ring: merchants and categories are chosen at random there and give nothing away."""

HANDBOOK = {"1": Right(ABOUT_AMOUNT), "3": Right(ABOUT_AMOUNT)}
"""The Handbook's scenarios of a large amount and of a card that spends five times as much. Scenario 2, a compromised
terminal, leaves no trace in the payment itself: nothing can be expected of it."""


def right_reasons(campaign_column: str) -> dict[str, Right]:
    """Right reasons by campaign, as far as they are known.

    Args:
        campaign_column: how the file names its campaigns: the Handbook's numbers mean nothing in another file.
    """
    return HANDBOOK if campaign_column == "fraud_scenario" else SIMULATED
