"""Shows the steps of something long: a bar with the time left on a terminal, one line a finished step elsewhere."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class StepsShown:
    """Shows steps from `with` to its end."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn(), console=console
        )
        self._tasks: dict[str, TaskID] = {}
        self._began_s = time.monotonic()

    def __enter__(self) -> StepsShown:
        if self._console.is_terminal:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def tell(self, step: str, done: float) -> None:
        """Notes that so much of a step is done, 0 to 1."""
        if self._console.is_terminal:
            if step not in self._tasks:
                self._tasks[step] = self._progress.add_task(step, total=1.0)
            self._progress.update(self._tasks[step], completed=done)
        elif done >= 1.0:
            now_s = time.monotonic()
            self._console.print(f"{step}: {now_s - self._began_s:.1f} s", highlight=False)
            self._began_s = now_s
