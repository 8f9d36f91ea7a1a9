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
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from benchmarks.broker import Offsets, Written, delete_topics, produce, read_verdicts
from benchmarks.cases import PARTITIONS, Case
from benchmarks.checks import Message, one_verdict_each
from benchmarks.processes import MeasurementError, Processes
from benchmarks.summary import Sample
from fraudstream.adapters.kafka_topics import create_topics
from fraudstream.settings import Settings, load_settings
from tests.servers.ports import free_port

POLL_S = 0.02
SETTLE_S = 0.3
"""CPU is read so long after the last commit was seen: a case may still have to write its own store."""
START_TIMEOUT_S = 60.0


def measure(case: Case, bootstrap: str, warm_up: Sequence[Message], records: Sequence[Message]) -> Sample:
    """Runs a case once, on topics of its own.

    Raises:
        MeasurementError: a process ended, was too slow, or its verdicts are not those of the records.
        BrokerError: the broker refuses or does not answer.
    """
    with tempfile.TemporaryDirectory(prefix="fraudstream-bench-") as directory:
        settings = own_settings(bootstrap, Path(directory), case.partitions)
        asyncio.run(create_topics(settings, bootstrap))
        processes = Processes(case, settings, Path(directory))
        try:
            with (
                processes,
                closing(Offsets(settings) if case.commits else Written(settings)) as progress,
            ):
                sample = _consume(case, processes, settings, progress, warm_up, records)
            _check(case, settings, [*warm_up, *records])
            return sample
        except MeasurementError as error:
            raise MeasurementError(f"{case.name}: {error}; its last words:\n{processes.last_words()}") from None
        finally:
            delete_topics(settings)


def own_settings(bootstrap: str, directory: Path, partitions: int = PARTITIONS) -> Settings:
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
        data_dir=directory / "data",
        web_port=free_port(),
    )


def _consume(
    case: Case,
    processes: Processes,
    settings: Settings,
    progress: Offsets | Written,
    warm_up: Sequence[Message],
    records: Sequence[Message],
) -> Sample:
    produce(settings, warm_up)
    _wait_for(progress, processes, len(warm_up), START_TIMEOUT_S + len(warm_up) / case.slowest_per_s)
    time.sleep(SETTLE_S)
    load = os.getloadavg()[0]
    processes.hold()
    try:
        produce(settings, records)
        cpu_before_s = processes.cpu_s
    finally:
        started_s = time.monotonic()
        processes.go_on()
    patience_s = START_TIMEOUT_S + len(records) / case.slowest_per_s
    ended_s = _wait_for(progress, processes, len(warm_up) + len(records), patience_s)
    time.sleep(SETTLE_S)
    return Sample(len(records), processes.cpu_s - cpu_before_s, ended_s - started_s, load)


def _wait_for(progress: Offsets | Written, processes: Processes, wanted: int, timeout_s: float) -> float:
    """Returns the moment at which so many records were committed."""
    deadline_s = time.monotonic() + timeout_s
    while (committed := progress.committed()) < wanted:
        processes.check()
        if time.monotonic() > deadline_s:
            raise MeasurementError(
                f"expected {wanted} records to be committed within {timeout_s:.0f} s, got {committed}"
            )
        time.sleep(POLL_S)
    return time.monotonic()


def _check(case: Case, settings: Settings, messages: Sequence[Message]) -> None:
    if not case.gives_verdicts:
        return
    found = read_verdicts(settings)
    problem = one_verdict_each(found, messages) or (case.check(found, messages) if case.check else "")
    if problem:
        raise MeasurementError(problem)
