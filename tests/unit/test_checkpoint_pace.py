"""When a checkpoint is due: told by a clock that stands still between the looks."""

from __future__ import annotations

import pytest

from fraudstream.agents.checkpoint_pace import BACKLOG_INTERVAL_S, BACKLOG_RECORDS, CheckpointPace

INTERVAL_S = 0.125


class Clock:
    """Goes on when told to."""

    now_s = 7.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def due_after_s(pace: CheckpointPace, clock: Clock, waiting: int = 0) -> float:
    """How long after now the next one is due; it begins then."""
    began_s = clock.now_s
    while not pace.is_due(lambda: waiting):
        clock.now_s += INTERVAL_S / 8
        assert clock.now_s - began_s < 10 * BACKLOG_INTERVAL_S, "none is ever due"
    pace.begin()
    return clock.now_s - began_s


def test_checkpoints_are_an_interval_apart(clock: Clock) -> None:
    pace = CheckpointPace(INTERVAL_S, clock)
    for _ in range(3):
        assert due_after_s(pace, clock) == INTERVAL_S
        pace.end(0.01)


def test_one_that_takes_long_is_followed_by_a_rest(clock: Clock) -> None:
    pace = CheckpointPace(INTERVAL_S, clock)
    due_after_s(pace, clock)
    pace.end(0.125)
    assert due_after_s(pace, clock) == 0.5
    pace.end(60.0)
    assert due_after_s(pace, clock) == BACKLOG_INTERVAL_S, "however long it took"


def test_with_a_backlog_they_are_far_apart(clock: Clock) -> None:
    pace = CheckpointPace(INTERVAL_S, clock)
    assert due_after_s(pace, clock, BACKLOG_RECORDS) == INTERVAL_S
    assert due_after_s(pace, clock, BACKLOG_RECORDS + 1) == BACKLOG_INTERVAL_S


def test_an_interval_longer_than_that_of_a_backlog_is_kept(clock: Clock) -> None:
    pace = CheckpointPace(3.0, clock)
    for waiting in (0, BACKLOG_RECORDS + 1):
        assert due_after_s(pace, clock, waiting) == 3.0
        pace.end(0.5)


def test_what_a_backlog_took_does_not_hold_up_what_comes_after_it(clock: Clock) -> None:
    pace = CheckpointPace(INTERVAL_S, clock)
    due_after_s(pace, clock)
    pace.end(0.0625)
    due_after_s(pace, clock, BACKLOG_RECORDS + 1)
    pace.end(0.5)
    assert due_after_s(pace, clock) == 0.25, "as after the one before the backlog"


def test_one_pause_of_the_broker_does_not_keep_them_far_apart(clock: Clock) -> None:
    pace = CheckpointPace(INTERVAL_S, clock)
    due_after_s(pace, clock)
    pace.end(30.0)
    assert due_after_s(pace, clock) == BACKLOG_INTERVAL_S
    pace.end(0.03125)
    assert due_after_s(pace, clock) == INTERVAL_S
