"""What one worker process is made of, and what it is to the HTTP routes: their `Service`."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from faust.types import TP

import fraudstream
from fraudstream.adapters.metrics import Metrics
from fraudstream.adapters.transaction_recorder import TransactionRecorder
from fraudstream.agents.owners import WorkerProfiles
from fraudstream.agents.producers import Producers
from fraudstream.agents.recovery import ProfileRestore
from fraudstream.agents.reload import ModelReload
from fraudstream.agents.scoring import Scoring, give_up
from fraudstream.pipeline import Detector
from fraudstream.settings import Settings
from fraudstream.web.service import AnswerStore, HealthReport

STUCK_AFTER_S = 30.0
"""A worker that has lag and judged nothing for this long is not ready, though the process lives."""


class FraudWorker:
    """The rooms of a worker, tied together; `app` is the Faust app, whose types leave out what is needed here.

    Attributes:
        settings, metrics, profiles, recorder, answers: as `fraudstream.web.service.Service` wants them.
    """

    answers: AnswerStore | None = None

    def __init__(
        self,
        app: Any,
        settings: Settings,
        profiles: WorkerProfiles,
        producers: Producers,
        restore: ProfileRestore,
        scoring: Scoring,
        reload: ModelReload,
        recorder: TransactionRecorder,
        metrics: Metrics,
    ) -> None:
        self._app = app
        self.settings = settings
        self.metrics = metrics
        self.profiles = profiles
        self.recorder = recorder
        self._producers = producers
        self._restore = restore
        self._scoring = scoring
        self._reload = reload

    async def fence(self, assigned: set[TP]) -> None:
        """Takes over the assigned partitions, before anything of them is read."""
        try:
            await self._producers.take_over(
                {tp.partition for tp in assigned if tp.topic == self.settings.transactions_topic}
            )
        except Exception as error:  # the client would log it and go on, unfenced
            give_up(error)

    async def stop(self) -> None:
        """Lets the producers go."""
        await self.recorder.stop()
        await self._producers.stop()
        await self.profiles.close()

    async def checkpoint_regularly(self) -> None:
        """Checkpoints while the stream is idle, for as long as the process lives."""
        while True:
            await asyncio.sleep(self.settings.checkpoint_interval_s / 2)
            await self._scoring.tick()

    def lag(self) -> int:
        """Records that wait in the owned partitions, as far as the consumer knows."""
        consumer, waiting = self._app.consumer, 0
        for partition in self._producers.partitions():
            tp = TP(self.settings.transactions_topic, partition)
            judged = self._scoring.positions.get(partition) or consumer._committed_offset[tp] or 0
            waiting += max((consumer.highwater(tp) or 0) - judged, 0)
        return waiting

    def health(self) -> HealthReport:
        """The worker's state now."""
        progress = self._restore.progress
        problems: list[str] = []
        partitions = self._producers.partitions()
        lag = 0
        if not partitions:
            problems.append("no partitions are assigned to this worker yet")
        elif not self._app.tables.actives_ready:
            problems.append(
                f"profiles are being restored ({progress.restored} of at most {progress.total} records)"
                if progress.is_running
                else "profiles are not restored yet"
            )
        else:
            lag = self.lag()
            idle_s = time.monotonic() - self._scoring.last_progress_s
            if lag and idle_s > STUCK_AFTER_S:
                problems.append(f"{lag} transactions wait and none was judged for {idle_s:.0f} s")
        return HealthReport(
            ready=not problems,
            problems=tuple(problems),
            partitions=partitions,
            lag=lag,
            processed=self._scoring.processed,
            restored=progress.restored,
            restoring=progress.is_running,
            model_version=self._scoring.detector.model_version,
            model_problem=self._reload.problem,
            version=fraudstream.__version__,
        )

    @property
    def detector(self) -> Detector:
        """What judges now."""
        return self._scoring.detector
