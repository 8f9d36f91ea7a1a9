"""When a checkpoint is due: as often as the settings ask, less often where checkpoints would hold up verdicts."""

from __future__ import annotations

import time
from collections.abc import Callable

SHARE = 0.25
"""Checkpoints take no more of the time, as long as none is due for BACKLOG_INTERVAL_S: they would hold up verdicts."""

BACKLOG_RECORDS = 5_000
BACKLOG_INTERVAL_S = 1.0
"""With so many records waiting, checkpoints are this far apart: a profile that changes often is written once."""


class CheckpointPace:
    """How far apart checkpoints are; one per worker.

    Args:
        interval_s: from the beginning of one to that of the next, at least.
        clock: seconds that only grow.
    """

    def __init__(self, interval_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval_s = interval_s
        self._clock = clock
        self._began_s = clock()
        self._is_large = False
        self._took_s = 0.0

    def is_due(self, waiting: Callable[[], int]) -> bool:
        """Whether the next one should begin.

        Args:
            waiting: tells how many records wait to be judged; to ask costs more than to look at a clock.
        """
        since_s = self._clock() - self._began_s
        rest_s = min(self._took_s / SHARE, BACKLOG_INTERVAL_S)
        return since_s >= max(self._interval_s, rest_s) and (
            since_s >= BACKLOG_INTERVAL_S or waiting() <= BACKLOG_RECORDS
        )

    def begin(self) -> None:
        """One begins."""
        now_s = self._clock()
        self._is_large = now_s - self._began_s >= BACKLOG_INTERVAL_S
        self._began_s = now_s

    def end(self, took_s: float) -> None:
        """It is committed, after so many seconds.

        One that had a backlog's work to write does not hold up those that come after the backlog.
        """
        self._took_s = min(took_s, self._took_s) if self._is_large else took_s
