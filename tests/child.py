"""A child process of tests: watched, stalled, killed and ended the same way, whatever runs in it."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

TAIL_LINES = 25
TRACEBACK_LINES = 60


class Child:
    """One process, with a log; how it is started is for its kind to say.

    Args:
        log: where it writes what it says.
    """

    def __init__(self, log: Path) -> None:
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the process that was started last."""
        return self._running().pid

    def exit_code(self) -> int | None:
        """None while the process runs."""
        return self._running().poll()

    def kill(self) -> None:
        """SIGKILL: no chance to commit or to say goodbye."""
        self._running().kill()
        self._running().wait()

    def stall(self) -> None:
        """SIGSTOP: the process stands still and keeps everything it holds, connections too."""
        self._running().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT: a stalled process goes on as if no time had passed."""
        self._running().send_signal(signal.SIGCONT)

    def end(self) -> None:
        """Ends the process, whatever state it is in; also where it was never started."""
        if self.process is not None:
            self.kill()  # ends a stalled process too

    def log_text(self) -> str:
        """Everything that it said, over all its starts."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def tail(self) -> str:
        """The last lines of the log."""
        return "\n".join(self.log_text().splitlines()[-TAIL_LINES:])

    def assert_no_traceback(self) -> None:
        """Nothing that it said shows code; fails with the first that does, and what was said before and after."""
        before, found, after = self.log_text().partition("Traceback (most recent call last)")
        lines = [*before.splitlines()[-TRACEBACK_LINES:], found, *after.splitlines()[:TRACEBACK_LINES]]
        assert not found, "\n".join(lines)

    def _running(self) -> subprocess.Popen[bytes]:
        assert self.process is not None, f"the process of {self.log.name} was never started"
        return self.process
