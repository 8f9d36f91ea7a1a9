"""A worker whose transactions the broker ends after a second; run as its Faust app."""

from __future__ import annotations

from fraudstream.agents import producers

producers.TRANSACTION_TIMEOUT_S = 1.0

from fraudstream.agents.app import app  # noqa: E402  what stands above must hold when producers start

__all__ = ["app"]
