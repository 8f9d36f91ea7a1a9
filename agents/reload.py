"""Follows the registry: a model promoted while the worker runs is loaded beside the one that judges, then swapped in.

What cannot be loaded changes nothing: the old model goes on, and /health, a metric and one line of the log say so.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Protocol

from fraudstream.adapters.metrics import Metrics
from fraudstream.detector import load_detector, model_directory, try_out
from fraudstream.errors import said
from fraudstream.pipeline import Detector
from fraudstream.settings import Settings

log = logging.getLogger(__name__)

RETRY_S = 60.0
"""A promoted model that failed is tried again after this long: its volume may have been half mounted."""


class Judge(Protocol):
    """Whoever holds the detector of a process."""

    @property
    def detector(self) -> Detector:
        """What judges now."""
        ...

    async def swap(self, detector: Detector) -> None:
        """Judges with another one from the next batch on."""
        ...


class ModelReload:
    """Looks at the registry from time to time, for as long as the process runs.

    Attributes:
        problem: why the promoted model is not the one in use; None while it is, or without a registry.
    """

    def __init__(self, settings: Settings, judge: Judge, metrics: Metrics) -> None:
        self._settings = settings
        self._judge = judge
        self._metrics = metrics
        self._failed: str | None = None
        self._retry_at_s = 0.0
        self.problem: str | None = None

    async def run(self) -> None:
        """Looks every MODEL_POLL_INTERVAL_S; returns at once without a registry."""
        while self._settings.model_registry is not None:
            await asyncio.sleep(self._settings.model_poll_interval_s)
            await self.look()

    async def look(self) -> bool:
        """Takes up the promoted model, if it is another one; returns whether it did. Never raises."""
        promoted = "unknown"
        try:
            promoted = (await asyncio.to_thread(model_directory, self._settings)).name
            if promoted == self._judge.detector.model_version:
                self._failed = self.problem = None
                return False
            if promoted == self._failed and time.monotonic() < self._retry_at_s:
                return False
            detector = await asyncio.to_thread(_load, self._settings)
        except Exception as error:  # whatever it is, transactions are still judged by the model in use
            self._fail(promoted, error)
            return False
        before = self._judge.detector.model_version
        await self._judge.swap(detector)
        self._metrics.observe_reload(detector.model_version)
        self._failed = self.problem = None
        log.info("model %s was promoted and is in use, before it %s", detector.model_version, before)
        return True

    def _fail(self, promoted: str, error: Exception) -> None:
        self._metrics.model_reload_failures.inc()
        problem = f"the promoted model ({promoted}) is not in use: {said(error)}"
        if problem != self.problem:  # once, not every few seconds
            log.error("%s; %s goes on", problem, self._judge.detector.model_version)
        self.problem, self._failed = problem, promoted
        self._retry_at_s = time.monotonic() + RETRY_S


def _load(settings: Settings) -> Detector:
    # Not `warm_up`: freezing here would keep what happens to be garbage now, and the model that is replaced later.
    detector = load_detector(settings)
    try_out(detector)
    return detector
