"""Streaks of frauds, and how soon they are noticed, against a reading that walks through them one by one."""

from __future__ import annotations

from statistics import median

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraudstream.training.streaks import EARLY_STEPS, LONGEST_GAP_S, StreakDetection, detection, find_streaks

DAY_S = 86_400

rows_of_days = st.lists(
    st.tuples(st.integers(0, 30), st.integers(0, 3), st.booleans(), st.booleans(), st.booleans()),
    max_size=40,  # day; user; fraud; judged; flagged
)


def naive(days: list[tuple[int, int, bool, bool, bool]]) -> StreakDetection | None:
    """Follows each user through the stream."""
    running: dict[int, tuple[int, list[tuple[int, bool, bool]]]] = {}
    streaks = []
    for day, user, is_fraud, is_judged, is_flagged in sorted(days, key=lambda row: row[0]):
        if not is_fraud:
            continue
        last, streak = running.get(user, (-1000, []))
        if (day - last) * DAY_S >= LONGEST_GAP_S:
            streak = []
            streaks.append(streak)
        streak.append((day, is_judged, is_flagged))
        running[user] = day, streak
    judged = [[(day, flag) for day, is_in, flag in streak if is_in] for streak in streaks if streak[0][1]]
    # Where a judged range has holes, the place in the streak counts the frauds that are not judged too.
    early = [any(is_in and flag for _, is_in, flag in s[:EARLY_STEPS]) for s in streaks if s[0][1]]
    if not judged:
        return None
    hours = [24.0 * (next(day for day, flag in s if flag) - s[0][0]) for s in judged if any(flag for _, flag in s)]
    return StreakDetection(
        streaks=len(judged),
        first_caught=sum(s[0][1] for s in judged) / len(judged),
        caught_within_three=sum(early) / len(judged),
        ever_caught=len(hours) / len(judged),
        median_hours=median(hours) if hours else None,
    )


@given(rows_of_days)
def test_streaks_are_those_of_a_walk_through_each_user(days: list[tuple[int, int, bool, bool, bool]]) -> None:
    days = sorted(days, key=lambda row: row[0])
    columns = [np.array([row[at] for row in days]) for at in range(5)]
    judged = np.flatnonzero(columns[3])
    found = detection(
        find_streaks(
            columns[1].astype(np.int32), columns[0].astype(np.int64) * DAY_S, columns[2].astype(np.bool_), judged
        ),
        columns[4].astype(np.bool_)[judged],
    )
    assert found == naive(days)


def test_frauds_a_week_apart_are_two_streaks_and_a_second_less_is_one() -> None:
    user, frauds, judged = np.zeros(2, np.int32), np.ones(2, np.bool_), np.arange(2)
    for gap_s, streaks in ((LONGEST_GAP_S, 2), (LONGEST_GAP_S - 1, 1)):
        assert find_streaks(user, np.array([0, gap_s]), frauds, judged).count == streaks


def test_a_streak_that_began_before_the_judged_range_is_left_out() -> None:
    user, time_s, frauds = np.zeros(3, np.int32), np.array([0, 100, 200]), np.ones(3, np.bool_)
    assert find_streaks(user, time_s, frauds, np.array([1, 2])).count == 0
    assert detection(find_streaks(user, time_s, frauds, np.array([1, 2])), np.ones(2, np.bool_)) is None


@pytest.mark.parametrize(("flagged", "within_three", "hours"), [(0, 1.0, 0.0), (2, 1.0, 2.0), (3, 0.0, 3.0)])
def test_the_first_three_frauds_are_early_and_the_fourth_is_late(
    flagged: int, within_three: float, hours: float
) -> None:
    streaks = find_streaks(np.zeros(4, np.int32), np.arange(4) * 3600, np.ones(4, np.bool_), np.arange(4))
    found = detection(streaks, np.arange(4) == flagged)
    assert found is not None
    assert (found.caught_within_three, found.median_hours) == (within_three, hours)
    assert (found.first_caught, found.ever_caught) == (float(flagged == 0), 1.0)
