"""One measurement: a case's process from its first record to its last commit, its CPU time read from outside.

Start-up is not counted: the process first consumes and commits some warm-up records. Then it is held by SIGSTOP while
the records are produced, so that all of them are there when it goes on, and nobody competes with it but the broker.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from benchmarks.broker import Offsets, delete_topics, produce, verdict_ids
from benchmarks.cases import CHECKOUT, Case, environment_of
from benchmarks.summary import Sample
from fraudstream.adapters.kafka_topics import create_topics
from fraudstream.errors import FraudstreamError
from fraudstream.settings import Settings, load_settings
from fraudstream.transaction import decode_transaction
from tests.servers.ports import free_port

PARTITIONS = 4
SESSION_TIMEOUT_S = 30.0
"""Longer than the process is ever held, so that the group does not give it up."""
POLL_S = 0.02
SETTLE_S = 0.3
"""CPU is read so long after the last commit was seen: a case may still have to write its own store."""
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0
SLOWEST_EVENTS_PER_S = 500.0
LOG_LINES = 15


class MeasurementError(FraudstreamError):
    """A case did not do what is measured, so there is no figure."""


def measure(
    case: Case, bootstrap: str, warm_up: Sequence[tuple[bytes, bytes]], records: Sequence[tuple[bytes, bytes]]
) -> Sample:
    """Runs a case once, on topics of its own.

    Raises:
        MeasurementError: the process ended, was too slow, or its verdicts are not those of the records.
        BrokerError: the broker refuses or does not answer.
    """
    with tempfile.TemporaryDirectory(prefix="fraudstream-bench-") as directory:
        settings = own_settings(bootstrap, Path(directory))
        asyncio.run(create_topics(settings, bootstrap))
        try:
            with (Path(directory) / "log").open("wb") as log:
                process = subprocess.Popen(
                    case.command,
                    cwd=CHECKOUT,
                    env={**environment_of(settings, os.environ), "KAFKA_SESSION_TIMEOUT_S": str(SESSION_TIMEOUT_S)},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
            try:
                with closing(Offsets(settings)) as offsets:
                    sample = _consume(process, settings, offsets, warm_up, records)
            finally:
                _stop(process)
            if case.gives_verdicts:
                _check_verdicts(settings, [*warm_up, *records])
            return sample
        except MeasurementError as error:
            tail = "\n".join((Path(directory) / "log").read_text(errors="replace").splitlines()[-LOG_LINES:])
            raise MeasurementError(f"{case.name}: {error}; its last words:\n{tail}") from None
        finally:
            delete_topics(settings)


def cpu_s(pid: int) -> float:
    """User and system time of a process with all its threads, in steps of the kernel's clock tick (10 ms).

    Raises:
        MeasurementError: this system does not tell, or the process is gone.
    """
    stat = Path(f"/proc/{pid}/stat")
    if not stat.exists():
        raise MeasurementError(f"expected the CPU time of a running process in {stat} (on Linux), found none")
    fields = stat.read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def own_settings(bootstrap: str, directory: Path) -> Settings:
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
        topic_partitions=PARTITIONS,
        data_dir=directory / "data",
        web_port=free_port(),
    )


def _consume(
    process: subprocess.Popen[bytes],
    settings: Settings,
    offsets: Offsets,
    warm_up: Sequence[tuple[bytes, bytes]],
    records: Sequence[tuple[bytes, bytes]],
) -> Sample:
    produce(settings, warm_up)
    _wait_for(offsets, process, len(warm_up), START_TIMEOUT_S)
    time.sleep(SETTLE_S)
    load = os.getloadavg()[0]
    process.send_signal(signal.SIGSTOP)
    try:
        produce(settings, records)
        cpu_before_s = cpu_s(process.pid)
    finally:
        started_s = time.monotonic()
        process.send_signal(signal.SIGCONT)
    ended_s = _wait_for(
        offsets, process, len(warm_up) + len(records), START_TIMEOUT_S + len(records) / SLOWEST_EVENTS_PER_S
    )
    time.sleep(SETTLE_S)
    return Sample(len(records), cpu_s(process.pid) - cpu_before_s, ended_s - started_s, load)


def _wait_for(offsets: Offsets, process: subprocess.Popen[bytes], wanted: int, timeout_s: float) -> float:
    """Returns the moment at which so many records were committed."""
    deadline_s = time.monotonic() + timeout_s
    while (committed := offsets.committed()) < wanted:
        if process.poll() is not None:
            raise MeasurementError(f"expected it to run, it ended with exit code {process.returncode}")
        if time.monotonic() > deadline_s:
            raise MeasurementError(
                f"expected {wanted} records to be committed within {timeout_s:.0f} s, got {committed}"
            )
        time.sleep(POLL_S)
    return time.monotonic()


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _check_verdicts(settings: Settings, records: Sequence[tuple[bytes, bytes]]) -> None:
    wanted = sorted(decode_transaction(value).transaction_id for _, value in records)
    found = verdict_ids(settings)
    if sorted(found) != wanted:
        raise MeasurementError(
            f"expected one verdict for each of {len(wanted)} transactions, got {len(found)} of "
            f"{len(set(found))} transactions"
        )
