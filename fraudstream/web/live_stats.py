"""What the last minute was like, second by second, as numpy counts; no verdict's text and no subscriber in here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

WINDOW_S = 60
THROUGHPUT_S = 5
SCORE_BINS = 20
PERCENTILES = (50, 95, 99)

_SLOTS = WINDOW_S + 4
"""Some more than the window, so that the second under way never overwrites one that is still shown."""
_BINS_PER_DECADE = 50
"""Neighbouring bins are 4.7 % apart: a percentile is at most 2.4 % off."""
_SHORTEST_MS, _DECADES = 0.01, 8
_TIME_BINS = _BINS_PER_DECADE * _DECADES
VERDICTS, ALERTS, DEAD_LETTERS = range(3)


@dataclass(frozen=True, slots=True)
class Judged:
    """What one second or a part of it brought.

    Attributes:
        scores: (n,) anomaly scores, 0 to 1.
        waited_ms: (n,) from the broker's time of a transaction until its verdict was sent.
        took_ms: (n,) how long judging and sending its micro-batch took.
        alerts: of them flagged.
        dead_letters: refused messages, beside the n.
    """

    scores: NDArray[np.float64]
    waited_ms: NDArray[np.float64]
    took_ms: NDArray[np.float64]
    alerts: int
    dead_letters: int


class RollingStats:
    """Counts of the last WINDOW_S seconds; a slot a second, used in turn."""

    def __init__(self) -> None:
        self._second_of = np.full(_SLOTS, -1, np.int64)
        self._counts = np.zeros((_SLOTS, 3), np.int64)
        self._scores = np.zeros((_SLOTS, SCORE_BINS), np.int64)
        self._waited = np.zeros((_SLOTS, _TIME_BINS), np.int64)
        self._took = np.zeros((_SLOTS, _TIME_BINS), np.int64)
        self.totals = np.zeros(3, np.int64)

    def add(self, second: int, judged: Judged) -> None:
        """Counts what was judged in a second (of a clock that never goes back)."""
        slot = second % _SLOTS
        if self._second_of[slot] != second:
            self._second_of[slot] = second
            for table in (self._counts, self._scores, self._waited, self._took):
                table[slot] = 0
        counts = (len(judged.scores), judged.alerts, judged.dead_letters)
        self._counts[slot] += counts
        self.totals += counts
        bins = np.clip((judged.scores * SCORE_BINS).astype(np.int64), 0, SCORE_BINS - 1)
        self._scores[slot] += np.bincount(bins, minlength=SCORE_BINS)
        self._waited[slot] += _time_counts(judged.waited_ms)
        self._took[slot] += _time_counts(judged.took_ms)

    def series(self, now: int, column: int) -> list[int]:
        """One count of each whole second of the window before `now`, oldest first."""
        seconds = np.arange(now - WINDOW_S, now)
        slots = seconds % _SLOTS
        counts = self._counts[slots, column] * (self._second_of[slots] == seconds)
        return [int(count) for count in counts]

    def in_window(self, now: int, column: int) -> int:
        """One count over the window, the second under way included."""
        return int(self._counts[self._recent(now), column].sum())

    def score_histogram(self, now: int) -> list[int]:
        """(SCORE_BINS,) how many verdicts of the window fell into each equal part of 0 to 1."""
        return [int(count) for count in self._scores[self._recent(now)].sum(axis=0)]

    def waited_ms(self, now: int) -> dict[str, float] | None:
        """Percentiles of the time from broker to verdict, None without a verdict."""
        return _percentiles(self._waited[self._recent(now)].sum(axis=0))

    def took_ms(self, now: int) -> dict[str, float] | None:
        """Percentiles of the processing time, None without a verdict."""
        return _percentiles(self._took[self._recent(now)].sum(axis=0))

    def _recent(self, now: int) -> NDArray[np.bool_]:
        return (self._second_of > now - WINDOW_S) & (self._second_of <= now)


def _time_counts(times_ms: NDArray[np.float64]) -> NDArray[np.int64]:
    # A broker whose clock is ahead of ours would give times below zero: as short as can be told.
    decades = np.log10(np.maximum(times_ms, _SHORTEST_MS) / _SHORTEST_MS)
    bins = np.minimum((decades * _BINS_PER_DECADE).astype(np.int64), _TIME_BINS - 1)
    return np.bincount(bins, minlength=_TIME_BINS)


def _percentiles(counts: NDArray[np.int64]) -> dict[str, float] | None:
    reached = np.cumsum(counts)
    if reached[-1] == 0:
        return None
    bins = np.searchsorted(reached, [reached[-1] * share / 100 for share in PERCENTILES])
    middles = _SHORTEST_MS * 10 ** ((bins + 0.5) / _BINS_PER_DECADE)
    return {f"p{share}": float(f"{value:.3g}") for share, value in zip(PERCENTILES, middles, strict=True)}
