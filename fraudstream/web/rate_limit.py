"""Token buckets: how many transactions each API key may ask about; no clock but the one that is handed in."""

from __future__ import annotations

import math

BURST_S = 1.0
"""A bucket holds what its rate gives in this time, and at least one token."""


class RateLimiter:
    """One bucket for each name. A batch takes as many tokens as it has transactions, on credit where there are fewer:
    it goes through at once, and the caller waits the longer afterwards.
    """

    def __init__(self) -> None:
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, name: str, rate_per_s: float, tokens: int, now_s: float) -> float:
        """Takes tokens out of a bucket.

        Args:
            rate_per_s: tokens that come in a second; 0: no limit.
            now_s: of a clock that only goes forward.

        Returns:
            0 if they were taken, otherwise how many seconds to wait before there is one again.
        """
        if rate_per_s <= 0:
            return 0.0
        most = max(rate_per_s * BURST_S, 1.0)
        held, since_s = self._buckets.get(name, (most, now_s))
        held = min(held + (now_s - since_s) * rate_per_s, most)
        if held < 1.0:
            self._buckets[name] = (held, now_s)
            return (1.0 - held) / rate_per_s
        self._buckets[name] = (held - tokens, now_s)
        return 0.0

    def charge(self, name: str, tokens: int) -> None:
        """Takes more tokens for a request that was let in already; nothing where there is no limit."""
        if name in self._buckets:
            held, since_s = self._buckets[name]
            self._buckets[name] = (held - tokens, since_s)


def retry_after_s(wait_s: float) -> int:
    """The header's whole seconds."""
    return max(math.ceil(wait_s), 1)
