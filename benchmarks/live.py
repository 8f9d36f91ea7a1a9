"""A worker as users start it on topics of its own, `fraudstream load` beside it, and what the worker's metrics say."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from benchmarks.broker import delete_topics
from benchmarks.cases import environment_of
from benchmarks.measure import own_settings
from benchmarks.process_figures import MeasurementError
from benchmarks.records import DATA_SET
from fraudstream.adapters import metric_catalogue as metrics
from fraudstream.adapters.kafka_topics import create_topics
from fraudstream.settings import Settings
from fraudstream.worker_process import WorkerProcess, end_process
from tests.worker import ask

FLOWS_WITHIN_S = 60.0
POLL_S = 0.1


@contextmanager
def running_worker(
    bootstrap: str, directory: Path, variables: Mapping[str, str] | None = None
) -> Iterator[tuple[Settings, WorkerProcess]]:
    """A worker that is ready.

    Args:
        variables: of its environment, beyond its topics.
    """
    settings = own_settings(bootstrap, directory)
    asyncio.run(create_topics(settings, bootstrap))
    environment = environment_of(settings, {}) | dict(variables or {})
    for name in ("DATA_DIR", "WEB_PORT"):  # the process has ones of its own
        del environment[name]
    try:
        with WorkerProcess(environment, directory) as worker:
            worker.wait_until_ready()
            yield settings, worker
    finally:
        delete_topics(settings)


class Load:
    """`fraudstream load` as a process beside the worker, from entering to leaving the context.

    Args:
        rate: transactions a second.
        in_flight: sends no more while so many have no verdict, so with a high rate as fast as they come.

    Attributes:
        cpu_s: user and system time of its whole life, once `result` was asked for.
    """

    cpu_s = 0.0

    def __init__(
        self,
        settings: Settings,
        directory: Path,
        rate: float,
        seconds: float,
        reader: str = "read_uncommitted",
        in_flight: int | None = None,
    ) -> None:
        self._settings = settings
        self._result = directory / f"load-{rate:g}.json"
        self._log = directory / "load.log"
        self._command = [
            *(sys.executable, "-m", "fraudstream.cli.main", "load", "--isolation", reader),
            *("--rate", str(rate), "--seconds", str(seconds), "--json", str(self._result)),
            *(("--input", str(DATA_SET)) if DATA_SET.exists() else ()),
            *(("--in-flight", str(in_flight)) if in_flight is not None else ()),
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Load:
        self._result.unlink(missing_ok=True)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command, env=environment_of(self._settings, os.environ), stdout=log, stderr=subprocess.STDOUT
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            end_process(self._process)

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process is not None and self._process.poll() is None

    def result(self) -> dict[str, Any]:
        """Waits for its end and returns what it says.

        Raises:
            MeasurementError: it did not measure.
        """
        assert self._process is not None
        before_s = _cpu_of_ended_s()
        self._process.wait()
        self.cpu_s = self.cpu_s or _cpu_of_ended_s() - before_s
        if not self._result.exists():
            said = self._log.read_text(encoding="utf-8", errors="replace")
            raise MeasurementError(f"expected fraudstream load to measure, it said: {said}")
        found: dict[str, Any] = json.loads(self._result.read_text(encoding="utf-8"))
        return found


def _cpu_of_ended_s() -> float:
    """User and system time of all child processes that have ended and were waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@dataclass(frozen=True, slots=True)
class Scrape:
    """What /metrics said once: (name, labels) -> value."""

    values: Mapping[tuple[str, tuple[tuple[str, str], ...]], float]

    @classmethod
    def of(cls, text: str) -> Scrape:
        """Reads the text format of Prometheus."""
        return cls(
            {
                (sample.name, tuple(sorted(sample.labels.items()))): sample.value
                for family in text_string_to_metric_families(text)
                for sample in family.samples
            }
        )

    def total(self, name: str, **labels: str) -> float:
        """The sum over all series of this name, or of those with these labels; 0 where there is none."""
        wanted = labels.items()
        return sum(
            value for (found, has), value in self.values.items() if found == name and wanted <= dict(has).items()
        )

    def buckets(self, name: str) -> dict[float, float]:
        """Upper bound -> how many values were not above it, of a histogram without labels."""
        return {
            float(dict(labels)["le"]): value
            for (found, labels), value in self.values.items()
            if found == f"{name}_bucket"
        }


def scrape(worker: WorkerProcess) -> Scrape:
    """Asks the worker for its metrics."""
    return Scrape.of(ask(worker.port, "GET", "/metrics").body.decode())


def most_between(before: Scrape, after: Scrape, name: str) -> float:
    """The bound that the largest value of a histogram between two scrapes was not above: its bucket's; 0 if none came.

    It is as exact as the buckets are.
    """
    earlier, most, counted = before.buckets(name), 0.0, 0.0
    for bound, count in sorted(after.buckets(name).items()):
        grown = count - earlier.get(bound, 0.0)
        if grown > counted:
            most, counted = bound, grown
    return most


def wait_until_it_flows(worker: WorkerProcess, load: Load) -> None:
    """Returns when verdicts are made: a load needs a while to read its transactions.

    Raises:
        MeasurementError: it ended before, or took too long.
    """
    deadline_s, before = time.monotonic() + FLOWS_WITHIN_S, scrape(worker).total(metrics.VERDICTS.name)
    while scrape(worker).total(metrics.VERDICTS.name) == before:
        if not load.is_running or time.monotonic() > deadline_s:
            raise MeasurementError(f"expected verdicts within {FLOWS_WITHIN_S:.0f} s; the load said {load.result()}")
        time.sleep(POLL_S)
