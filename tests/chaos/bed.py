"""What a scenario may touch: brokers, workers with disks of their own, and the marks that it leaves for the judge."""

from __future__ import annotations

import asyncio
import itertools
import random
import shutil
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path

from fraudstream.settings import Settings
from tests.chaos.reading import Reader
from tests.chaos.source import Source
from tests.servers.kafka import KafkaCluster
from tests.servers.line import Line
from tests.worker import Worker

POLL_S = 0.1
READY_WITHIN_S = 90.0
JUDGED_WITHIN_S = 150.0
STOP_WITHIN_S = 60.0
EXIT_FENCED = 75


class ScenarioError(AssertionError):
    """Something that had to happen within its time did not."""


class Bed:
    """One scenario's brokers and workers; a worker that ends by itself is started again, as a supervisor would.

    Attributes:
        line: between the clients and the broker, where the scenario wants one.
        chance: where every random choice of the scenario comes from.
        exits: how often workers ended by themselves, by exit code.
        kills: of workers, by SIGKILL.
        marks_s: moments that the scenario wants to be judged by, on the wall clock.
        variables: further environment of the workers that are added from now on.
    """

    def __init__(
        self,
        cluster: KafkaCluster,
        line: Line | None,
        settings: Settings,
        source: Source,
        chance: random.Random,
        directory: Path,
    ) -> None:
        self.line = line
        self.cluster, self.settings, self.source, self.chance = cluster, settings, source, chance
        self.reader = Reader(cluster.bootstrap)
        self.exits = Counter[int]()
        self.last_words: list[str] = []
        self.kills = 0
        self.marks_s: dict[str, float] = {}
        self.variables: dict[str, str] = {}
        self._directory = directory
        self.workers: list[Worker] = []
        self._watched: set[str] = set()
        self._watching: asyncio.Task[None] | None = None

    # Workers

    def add_worker(self, data_dir: Path | None = None) -> Worker:
        """A further worker, started."""
        worker = Worker(self.settings, self._directory, f"w{len(self.workers) + 1}")
        worker.variables = dict(self.variables)
        if data_dir is not None:
            worker.settings = worker.settings.model_copy(update={"data_dir": data_dir})
            worker.data_dir = data_dir
        self.workers.append(worker)
        self.start(worker)
        return worker

    def start(self, worker: Worker) -> None:
        """Starts a worker; from here on it is started again when it ends by itself."""
        worker.start()
        self._watched.add(worker.directory.name)

    @property
    def directory(self) -> Path:
        """For whatever a scenario needs on disk."""
        return self._directory

    def kill(self, worker: Worker) -> None:
        """SIGKILL; it stays down until `start`."""
        self._watched.discard(worker.directory.name)
        worker.kill()
        self.kills += 1

    def wipe(self, worker: Worker) -> None:
        """A new machine: the worker's disk is empty."""
        shutil.rmtree(worker.data_dir, ignore_errors=True)

    async def stop(self, worker: Worker) -> None:
        """SIGTERM, as an orderly restart or scaling down does; it must end well."""
        self._watched.discard(worker.directory.name)
        code = await asyncio.to_thread(worker.stop, STOP_WITHIN_S)
        if code != 0:
            raise ScenarioError(f"expected {worker.directory.name} to stop with 0, got {code}:\n{worker.tail()}")

    async def stall(self, worker: Worker, seconds: float) -> None:
        """A zombie: it stands still, and goes on as if no time had passed."""
        worker.stall()
        await asyncio.sleep(seconds)
        worker.resume()

    def running(self) -> list[Worker]:
        """Those that are up."""
        return [worker for worker in self.workers if worker.directory.name in self._watched]

    async def until_shared(self) -> None:
        """Waits until every running worker is ready and each partition has one owner."""

        async def is_shared() -> bool:
            told = [await worker.ask("/health") for worker in self.running()]
            owned = [answer.json()["partitions"] for answer in told if answer and answer.status == HTTPStatus.OK]
            is_each_ready = len(owned) == len(told) and all(owned)
            return is_each_ready and sorted(itertools.chain(*owned)) == list(range(self.settings.topic_partitions))

        await self.until(is_shared, READY_WITHIN_S, "every worker to be ready and every partition to have one owner")

    # Waiting

    async def until(self, holds: Callable[[], Awaitable[bool]], within_s: float, what: str) -> None:
        """Waits for something.

        Raises:
            ScenarioError: it did not come.
        """
        deadline_s = time.monotonic() + within_s
        while not await holds():
            if time.monotonic() > deadline_s:
                told = "\n".join(f"--- {worker.directory.name}\n{worker.tail()}" for worker in self.workers)
                raise ScenarioError(f"expected within {within_s:.0f} s: {what}\n{told}")
            await asyncio.sleep(POLL_S)

    async def until_all_judged(self) -> None:
        """Waits until the workers have committed everything that was sent."""
        ends = self.source.ends()

        async def is_committed() -> bool:
            group, topic = self.settings.app_id, self.settings.transactions_topic
            found = await asyncio.to_thread(self.reader.committed, group, topic, self.settings.topic_partitions)
            return all(found[number] == end for number, end in ends.items())

        await self.until(is_committed, JUDGED_WITHIN_S, "everything that was sent to be judged and committed")

    def mark(self, what: str) -> None:
        """Notes the time."""
        self.marks_s[what] = time.time()

    # The supervisor

    async def __aenter__(self) -> Bed:
        self._watching = asyncio.create_task(self._supervise())
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._watching is not None:
            self._watching.cancel()
            with suppress(asyncio.CancelledError):
                await self._watching
        for worker in self.workers:
            worker.end()

    async def _supervise(self) -> None:
        while True:
            for worker in self.running():
                code = worker.exit_code()
                if code is not None:
                    self.exits[code] += 1
                    said = [line for line in worker.tail().splitlines() if line.startswith("fraudstream:")]
                    self.last_words.append(f"{worker.directory.name} ({code}): {said[-1] if said else worker.tail()}")
                    worker.start()
            await asyncio.sleep(POLL_S)
