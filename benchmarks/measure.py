"""One measurement: a case's processes from their first record to the last commit, their CPU time read from outside.

Start-up is not counted: the processes first consume and commit some warm-up records. Then they are held by SIGSTOP
while the records are produced, so that all of them are there when they go on, and nobody competes with them but the
broker.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from benchmarks.broker import Broker, Offsets, Written, delete_topics, produce, read_verdicts
from benchmarks.cases import PARTITIONS, Case
from benchmarks.checks import Message, one_verdict_each
from benchmarks.process_figures import MeasurementError
from benchmarks.processes import Processes
from benchmarks.summary import BrokerUse, Sample
from fraudstream.adapters.kafka_topics import create_topics
from fraudstream.settings import Settings, load_settings
from tests.servers.ports import free_port

POLL_S = 0.02
SETTLE_S = 0.3
"""CPU is read so long after the last commit was seen: a case may still have to write its own store."""
BROKER_WARM_UPS = 2
"""So often a case runs before the first measurement. A broker that has just started takes a whole core for some 20 s of
load, because its virtual machine compiles, and then a third of one: what is measured first would wait."""
START_TIMEOUT_S = 60.0


def measure(case: Case, broker: Broker, warm_up: Sequence[Message], records: Sequence[Message]) -> Sample:
    """Runs a case once, on topics of its own.

    Raises:
        MeasurementError: a process ended, was too slow, or its verdicts are not those of the records.
        BrokerError: the broker refuses or does not answer.
    """
    with running(case, broker) as consumer:
        consumer.warm_up(warm_up)
        sample = consumer.take(records)
        return replace(sample, flagged=consumer.finish())


def warm_broker(case: Case, broker: Broker, warm_up: Sequence[Message], records: Sequence[Message]) -> None:
    """Runs a case some times for the broker's sake, before anything is measured.

    Raises:
        MeasurementError, BrokerError: as for `measure`.
    """
    for _ in range(BROKER_WARM_UPS):
        measure(case, broker, warm_up, records)


class Consumer:
    """A case that runs on topics of its own; `running` makes one."""

    def __init__(self, case: Case, settings: Settings, broker: Broker, processes: Processes) -> None:
        self._case = case
        self._settings = settings
        self._broker = broker
        self._processes = processes
        self._progress = Offsets(settings) if case.commits else Written(settings)
        self._given: list[Message] = []

    @property
    def pids(self) -> tuple[int, ...]:
        """The numbers of its processes."""
        return self._processes.pids

    def warm_up(self, records: Sequence[Message]) -> None:
        """Gives it records that are not measured; returns when they are committed."""
        produce(self._settings, records)
        self._wait_for(records)
        time.sleep(SETTLE_S)

    def take(self, records: Sequence[Message]) -> Sample:
        """Gives it records while it is held, and measures it from going on until they are committed."""
        load = os.getloadavg()[0]
        self._processes.hold()
        broker = _BrokerMeter(self._broker, self._settings)
        try:
            produce(self._settings, records)
            broker.produced()
            cpu_before_s = self._processes.cpu_s
        finally:
            started_s = time.monotonic()
            self._processes.go_on()
        ended_s = self._wait_for(records)
        time.sleep(SETTLE_S)
        cpu_s = self._processes.cpu_s - cpu_before_s
        return Sample(len(records), cpu_s, ended_s - started_s, load, broker.used())

    def finish(self) -> float | None:
        """Ends it, and looks at what it wrote.

        Returns:
            The share of the verdicts that are flagged; None where there are none, or they do not say so.

        Raises:
            MeasurementError: its verdicts are not those of the records that it was given.
        """
        self._processes.stop()
        if not self._case.gives_verdicts:
            return None
        found, check = read_verdicts(self._settings), self._case.check
        problem = one_verdict_each(found, self._given) or (check(found, self._given) if check else "")
        if problem:
            raise MeasurementError(problem)
        flags = [verdict.flagged for verdict in found if verdict.flagged is not None]
        return sum(flags) / len(flags) if flags else None

    def close(self) -> None:
        """Lets its clients go."""
        self._progress.close()

    def _wait_for(self, records: Sequence[Message]) -> float:
        """Returns the moment at which these were committed too."""
        self._given += records
        timeout_s = START_TIMEOUT_S + len(records) / self._case.slowest_per_s
        deadline_s = time.monotonic() + timeout_s
        while (committed := self._progress.committed()) < len(self._given):
            self._processes.check()
            if time.monotonic() > deadline_s:
                raise MeasurementError(
                    f"expected {len(self._given)} records to be committed within {timeout_s:.0f} s, got {committed}"
                )
            time.sleep(POLL_S)
        return time.monotonic()


class _BrokerMeter:
    """What a broker of this machine spends and keeps, from its making on."""

    def __init__(self, broker: Broker, settings: Settings) -> None:
        self._broker = broker
        self._settings = settings
        self._began = broker.cpu_s(), broker.log_bytes(settings)
        self._produced_s = self._began[0]

    def produced(self) -> None:
        """The records are in the topic: what follows is the consumer's."""
        self._produced_s = self._broker.cpu_s()

    def used(self) -> BrokerUse | None:
        """All of it."""
        (began_s, held), produced_s, now_s = self._began, self._produced_s, self._broker.cpu_s()
        if began_s is None or produced_s is None or now_s is None:
            return None
        grown = self._broker.log_bytes(self._settings) - held
        return BrokerUse(produced_s - began_s, now_s - produced_s, dict(grown))


@contextmanager
def running(case: Case, broker: Broker) -> Iterator[Consumer]:
    """A case whose processes have been started.

    Raises:
        MeasurementError: with the last words of the processes.
    """
    with tempfile.TemporaryDirectory(prefix="fraudstream-bench-") as directory:
        settings = own_settings(broker.bootstrap, Path(directory), case.partitions, case.brokers)
        asyncio.run(create_topics(settings, broker.bootstrap))
        processes = Processes(case, settings, Path(directory))
        try:
            with processes, closing(Consumer(case, settings, broker, processes)) as consumer:
                yield consumer
        except MeasurementError as error:
            raise MeasurementError(f"{case.name}: {error}; its last words:\n{processes.last_words()}") from None
        finally:
            delete_topics(settings)


def own_settings(bootstrap: str, directory: Path, partitions: int = PARTITIONS, copies: int = 1) -> Settings:
    """Settings of one measurement: topics, group and directory of its own."""
    own = f"bench-{uuid.uuid4().hex[:8]}"
    return load_settings(
        kafka_servers=bootstrap,
        app_id=own,
        transactions_topic=f"{own}-transactions",
        verdicts_topic=f"{own}-verdicts",
        alerts_topic=f"{own}-alerts",
        dead_letters_topic=f"{own}-dead-letters",
        labels_topic=f"{own}-labels",
        topic_partitions=partitions,
        topic_replication=copies,
        data_dir=directory / "data",
        web_port=free_port(),
    )
