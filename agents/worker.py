"""What one worker process is made of, and what it is to the HTTP routes: their `Service`."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterator
from typing import Any

from faust.types import TP

import fraudstream
from fraudstream.adapters.kafka_client import broker_answers
from fraudstream.adapters.metrics import Metrics
from fraudstream.adapters.transaction_recorder import TransactionRecorder
from fraudstream.agents.fatal import EXIT_SETTINGS, stop_process
from fraudstream.agents.liveness import Liveness, Work
from fraudstream.agents.membership import Membership
from fraudstream.agents.outage import Sender
from fraudstream.agents.owners import WorkerProfiles
from fraudstream.agents.producers import Producers
from fraudstream.agents.rekeying import Rekeying
from fraudstream.agents.reload import ModelReload
from fraudstream.agents.restore import ProfileRestore
from fraudstream.agents.scoring import Scoring, give_up
from fraudstream.agents.standby import Standby
from fraudstream.agents.transport import highwater, known_partitions, unread
from fraudstream.pipeline import Detector
from fraudstream.settings import Settings
from fraudstream.topics import added_partitions, judged_topic
from fraudstream.web.service import AnswerStore, HealthReport, LivenessReport

STUCK_AFTER_S = 30.0
"""A worker that gets on with nothing for this long is not ready, though the process lives."""

WAITS_AFTER_S = 10.0
"""A broker that takes nothing for this long is away, not slow."""


class FraudWorker:
    """The rooms of a worker, tied together; `app` is the Faust app, whose types leave out what is needed here.

    Attributes:
        settings, metrics, profiles, recorder, answers: as `fraudstream.web.service.Service` wants them.
        senders: the judging, and the re-keying where there is one.
    """

    answers: AnswerStore | None = None

    def __init__(
        self,
        app: Any,
        settings: Settings,
        profiles: WorkerProfiles,
        producers: Producers,
        restore: ProfileRestore,
        standby: Standby,
        scoring: Scoring,
        reload: ModelReload,
        recorder: TransactionRecorder,
        metrics: Metrics,
        membership: Membership,
        bootstrap: str,
        rekeying: Rekeying | None,
    ) -> None:
        self._app = app
        self.settings = settings
        self.metrics = metrics
        self.profiles = profiles
        self.recorder = recorder
        self._producers = producers
        self._restore = restore
        self._standby = standby
        self._scoring = scoring
        self._reload = reload
        self._membership = membership
        self._rekeying = rekeying
        self.senders: list[Sender] = [scoring, *((rekeying,) if rekeying is not None else ())]
        self._has_assignment = False
        self._liveness = Liveness(settings.liveness_stall_s, self._work, lambda: broker_answers(settings, bootstrap))

    async def fence(self, assigned: set[TP]) -> None:
        """Takes over the assigned partitions, before anything of them is read.

        Ends the process where partitions were added: users have moved to others and left their profiles behind.
        """
        topic = judged_topic(self.settings)
        found = known_partitions(self._app.consumer, topic)
        if found > self.settings.topic_partitions:
            wrong = added_partitions(topic, self.settings.topic_partitions, found)
            stop_process(f"cannot go on:\n  - {wrong}", EXIT_SETTINGS)
        try:
            partitions = {tp.partition for tp in assigned if tp.topic == topic}
            await self._producers.take_over(partitions)
            if self._rekeying is not None:
                await self._rekeying.take_over(partitions)
        except Exception as error:  # the client would log it and go on, unfenced
            give_up(error)
        self._scoring.begin()
        self._has_assignment = True

    def misses_source(self) -> bool:
        """Whether the broker no longer tells of a topic that is read, of which this worker had partitions."""
        return self._has_assignment and (
            not known_partitions(self._app.consumer, judged_topic(self.settings))
            or (self._rekeying is not None and self._rekeying.misses_source())
        )

    async def stop(self) -> None:
        """Lets the producers go."""
        await self.recorder.stop()
        if self._rekeying is not None:
            await self._rekeying.stop()
        await self._producers.stop()
        await self.profiles.close()

    async def checkpoint_regularly(self) -> None:
        """Checkpoints while the stream is idle, for as long as the process lives."""
        while True:
            await asyncio.sleep(self.settings.checkpoint_interval_s / 2)
            await self._scoring.tick()

    def lag(self) -> int:
        """Records that wait in the owned partitions, as far as the consumer knows."""
        return sum(self._lags().values())

    def _lags(self) -> dict[int, int]:
        consumer, waiting = self._app.consumer, {}
        has_work = self._scoring.is_busy() or consumer.queued_chunks()
        for partition in self._producers.partitions():
            tp = TP(judged_topic(self.settings), partition)
            judged = self._scoring.positions.get(partition) or consumer._committed_offset[tp] or 0
            # Where nothing is under way, what lies after the last message are only marks of transactions.
            waiting[partition] = max((highwater(consumer, tp) or 0) - judged, 0) if has_work else unread(consumer, tp)
            waiting[partition] += self._rekeying.waiting(partition) if self._rekeying is not None else 0
        return waiting

    def note_state(self) -> None:
        """Sets the metrics that are only known when they are asked for."""
        lags, now_s = self._lags(), time.time()
        ages = {
            partition: now_s - self._scoring.judged_ms[partition] / 1000
            for partition, waiting in lags.items()
            if waiting and partition in self._scoring.judged_ms
        }
        self.metrics.observe_lag(lags, ages)
        progress = self._restore.progress
        self.metrics.restoring.set(progress.is_running)
        self.metrics.restored.set(progress.restored)
        self.metrics.restore_total.set(progress.total)
        self.metrics.restore_seconds.set(progress.seconds())
        left_s = progress.left_s()
        self.metrics.restore_left_seconds.set(math.nan if left_s is None else left_s)

    async def watch_liveness(self) -> None:
        """Looks for a standstill, for as long as the process lives."""
        await self._liveness.watch()

    def liveness(self) -> LivenessReport:
        """Whether a restart would mend anything."""
        return self._liveness.report()

    def _work(self) -> Work | None:
        progress, partitions = self._restore.progress, self._producers.partitions()
        if self._is_lost():
            return Work("lost", "a transaction was lost and the consumer group is not joined again")
        if self._membership.is_silent():
            return Work(self._membership.heard_s, "the consumer group does not confirm this worker")
        if not partitions:
            return None
        if not self._app.tables.actives_ready:
            return Work(("restored", progress.restored), "profiles are not restored")
        if self._scoring.is_busy() or self._app.consumer.queued_chunks() or self._unread():
            moved = self._rekeying.moved if self._rekeying is not None else 0
            return Work(("judged", self._scoring.processed + moved), "transactions wait and none is judged")
        return None

    def _is_lost(self) -> bool:
        return any(sender.is_lost for sender in self.senders)

    def _unread(self) -> int:
        topic, partitions = judged_topic(self.settings), self._producers.partitions()
        moving = sum(map(self._rekeying.waiting, partitions)) if self._rekeying is not None else 0
        return moving + sum(unread(self._app.consumer, TP(topic, partition)) for partition in partitions)

    def _without_partitions(self) -> str:
        if not self._has_assignment:
            return "no partitions are assigned to this worker yet"
        workers = len(self._app.assignor.external_topic_distribution)
        return (
            f"this worker has nothing to do: all {self.settings.topic_partitions} partitions are with others of the "
            f"{workers} workers; it takes over when one of them ends"
        )

    def _problems(self) -> Iterator[str]:
        progress = self._restore.progress
        if self._membership.problem is not None:
            yield f"the consumer group refuses this worker: {self._membership.problem}"
        if self._membership.is_silent():
            yield f"no word from Kafka's group coordinator for {self._membership.silent_s():.0f} s"
        if self._is_lost():
            yield "a transaction was lost: joining the consumer group again, to go on from the last checkpoint"
        waiting_s = max(sender.producers.waiting_s() for sender in self.senders)
        if waiting_s > WAITS_AFTER_S:
            yield f"Kafka has taken nothing for {waiting_s:.0f} s"
        if not self._producers.partitions():
            yield self._without_partitions()
        elif not self._app.tables.actives_ready:
            yield (
                f"profiles are being restored ({progress})" if progress.is_running else "profiles are not restored yet"
            )
        elif self._liveness.still_s > STUCK_AFTER_S:
            yield f"{self.lag()} transactions wait and none was judged for {self._liveness.still_s:.0f} s"

    def health(self) -> HealthReport:
        """The worker's state now."""
        progress, partitions = self._restore.progress, self._producers.partitions()
        problems = tuple(self._problems())
        return HealthReport(
            ready=not problems,
            problems=problems,
            partitions=partitions,
            lag=self.lag() if partitions and self._app.tables.actives_ready else 0,
            processed=self._scoring.processed,
            restored=progress.restored,
            restoring=progress.is_running,
            restore_total=progress.total,
            restore_rate=round(progress.rate(), 1),
            restore_left_s=_rounded(progress.left_s()),
            standby=self._standby.partitions,
            standby_behind=self._standby.behind(),
            model_version=self._scoring.detector.model_version,
            model_problem=self._reload.problem,
            version=fraudstream.__version__,
        )

    @property
    def detector(self) -> Detector:
        """What judges now."""
        return self._scoring.detector


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)
