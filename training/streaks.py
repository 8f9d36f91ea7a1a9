"""Streaks: the frauds that one thief commits with one card, and how soon the first of them is noticed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fraudstream.training.metrics import Flags, Ints

LONGEST_GAP_S = 7 * 86_400
"""Frauds of a user this far apart or further are two cases: few thieves wait a week, and few cards live on for one."""
EARLY_STEPS = 3


@dataclass(frozen=True, slots=True, eq=False)
class Streaks:
    """Frauds, streak by streak, each in the order of time.

    Attributes:
        rows: (frauds,) place of each fraud among the judged rows.
        number: (frauds,) of its streak, from 0.
        step: (frauds,) its place in the streak, from 0.
        elapsed_s: (frauds,) since the streak's first.
    """

    rows: Ints
    number: Ints
    step: Ints
    elapsed_s: Ints

    @property
    def count(self) -> int:
        """How many streaks there are."""
        return int(self.number[-1]) + 1 if len(self.number) else 0


@dataclass(frozen=True, slots=True)
class StreakDetection:
    """How soon streaks are noticed.

    Attributes:
        streaks: how many.
        first_caught: share whose very first fraud is flagged.
        caught_within_three: share with a flag on one of the first three frauds.
        ever_caught: share with any flag.
        median_hours: from the first fraud to the first flagged one, over the streaks that were ever noticed.
    """

    streaks: int
    first_caught: float
    caught_within_three: float
    ever_caught: float
    median_hours: float | None


def find_streaks(user: NDArray[np.int32], time_s: Ints, is_fraud: Flags, judged: Ints) -> Streaks:
    """The streaks that begin among the judged rows; their frauds outside of them are left out.

    Args:
        user: (n,) numbers of the users of a whole history, so that a streak which began earlier is known as such.
        time_s: (n,) ascending.
        is_fraud: (n,) labels.
        judged: rows of the history that are judged, ascending.
    """
    frauds = np.flatnonzero(is_fraud)
    frauds = frauds[np.lexsort((time_s[frauds], user[frauds]))]
    who, when = user[frauds], time_s[frauds]
    begins = np.ones(len(frauds), np.bool_)
    begins[1:] = (who[1:] != who[:-1]) | (when[1:] - when[:-1] >= LONGEST_GAP_S)
    number = np.cumsum(begins) - 1
    first = np.flatnonzero(begins)
    elapsed_s, step = when - when[first][number], np.arange(len(frauds)) - first[number]
    place = np.searchsorted(judged, frauds)
    is_judged = place < len(judged)
    is_judged[is_judged] = judged[place[is_judged]] == frauds[is_judged]
    kept = is_judged & is_judged[first][number]
    _, renumbered = np.unique(number[kept], return_inverse=True)
    return Streaks(place[kept], renumbered.astype(np.int64), step[kept], elapsed_s[kept])


def detection(streaks: Streaks, flagged: Flags) -> StreakDetection | None:
    """How soon flags (judged rows,) notice the streaks; None without a streak."""
    if not streaks.count:
        return None
    hit = flagged[streaks.rows]
    early = np.bincount(streaks.number, hit & (streaks.step < EARLY_STEPS)) > 0
    noticed, first_hit = np.unique(streaks.number[hit], return_index=True)
    hours = streaks.elapsed_s[hit][first_hit] / 3600.0
    return StreakDetection(
        streaks=streaks.count,
        first_caught=float(hit[streaks.step == 0].mean()),
        caught_within_three=float(early.mean()),
        ever_caught=len(noticed) / streaks.count,
        median_hours=float(np.median(hours)) if len(hours) else None,
    )
