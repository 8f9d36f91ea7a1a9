"""Fits the members side by side, each in a thread; what it is and in which order it is told depends on no thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from threading import Event

from fraudstream.training import members
from fraudstream.training.cores import available_cores
from fraudstream.training.unfinished import Arrays

_LOOKS_EVERY_S = 0.1


class Stopped(Exception):
    """Nobody waits for this fit any more."""


class Fits:
    """Fits that are under way; made by `fits`."""

    def __init__(self, pool: ThreadPoolExecutor, sample: members.Sample, seed: int, names: list[str]) -> None:
        self.stop = Event()
        self._share = dict.fromkeys(names, 0.0)
        self._fits: dict[str, Future[tuple[Arrays, float]]] = {
            name: pool.submit(self._fit, name, sample, seed) for name in names
        }

    def result(self, name: str, done: Callable[[float], None]) -> tuple[Arrays, float]:
        """The member's tensors and the seconds that the fit took; tells the share of it that is done meanwhile."""
        fit = self._fits[name]
        while wait([fit], _LOOKS_EVERY_S).not_done:
            done(self._share[name])
        fitted = fit.result()
        done(1.0)
        return fitted

    def _fit(self, name: str, sample: members.Sample, seed: int) -> tuple[Arrays, float]:
        def tell(share: float) -> None:
            if self.stop.is_set():
                raise Stopped
            self._share[name] = share

        tell(0.0)
        started_s = time.perf_counter()
        return members.MEMBER_FITS[name](sample, seed, tell), time.perf_counter() - started_s


@contextmanager
def fits(sample: members.Sample, seed: int, names: list[str]) -> Iterator[Fits]:
    """Begins to fit these members; left early, it stops them at their next minibatch."""
    with ThreadPoolExecutor(min(available_cores(), len(members.MEMBER_FITS)), "fit") as pool:
        running = Fits(pool, sample, seed, names)
        try:
            yield running
        finally:
            running.stop.set()
