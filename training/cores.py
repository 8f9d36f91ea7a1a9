"""Work on several cores of this process: results in the order of the tasks, whichever is done first.

Threads do, because the kernels run without the GIL and the arrays need not be copied; with one worker there is none.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import TypeVar

Result = TypeVar("Result")

_AHEAD = 2
"""Tasks that wait for each worker: it never idles, and results that nobody took do not pile up."""


def available_cores() -> int:
    """Cores that this process may use; `taskset` and container runtimes that pin cores lower it."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Cores:
    """Workers, as a context manager; where it is left early, what has not begun never begins.

    Args:
        workers: how many; default: as many as there are cores.
    """

    def __init__(self, workers: int | None = None) -> None:
        self.workers = available_cores() if workers is None else workers
        self._pool = ThreadPoolExecutor(self.workers, "core") if self.workers > 1 else None

    def __enter__(self) -> Cores:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def map(self, tasks: Iterable[Callable[[], Result]]) -> Iterator[Result]:
        """The result of each task, in the order of the tasks."""
        if self._pool is None:
            yield from (task() for task in tasks)
            return
        waiting: deque[Future[Result]] = deque()
        for task in tasks:
            waiting.append(self._pool.submit(task))
            if len(waiting) > self.workers * (1 + _AHEAD):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
