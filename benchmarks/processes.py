"""The processes of a case: started, held, let go on, stopped; one or several that share a group."""

from __future__ import annotations

import http
import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from benchmarks.cases import CHECKOUT, Case, environment_of
from benchmarks.process_figures import MeasurementError, cpu_s
from fraudstream.settings import Settings
from tests.servers.ports import free_port
from tests.worker import ask

SESSION_TIMEOUT_S = 30.0
"""Longer than the process is ever held, so that the group does not give it up."""
STOP_TIMEOUT_S = 20.0
READY_TIMEOUT_S = 60.0
POLL_S = 0.1
LOG_LINES = 15


class Processes:
    """From entering to leaving the context.

    Args:
        case: whose command they run.
        settings: topics, group and directory; each process has a data directory and a web port of its own.
        directory: where their logs are.
    """

    def __init__(self, case: Case, settings: Settings, directory: Path) -> None:
        self._case = case
        self._settings = settings
        self._directory = directory
        self._ports: list[int] = []
        self._running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Processes:
        try:
            for number in range(self._case.processes):
                self._start(number)
            if self._case.processes > 1:
                self._wait_until_all_have_partitions()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pids(self) -> tuple[int, ...]:
        """Their numbers."""
        return tuple(process.pid for process in self._running)

    @property
    def cpu_s(self) -> float:
        """CPU time of all of them together."""
        return sum(cpu_s(process.pid) for process in self._running)

    def hold(self) -> None:
        """They stand still."""
        for process in self._running:
            process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """They go on as if no time had passed."""
        for process in self._running:
            process.send_signal(signal.SIGCONT)

    def check(self) -> None:
        """Raises MeasurementError if one has ended."""
        for process in self._running:
            if process.poll() is not None:
                raise MeasurementError(f"expected it to run, it ended with exit code {process.returncode}")

    def stop(self) -> None:
        """Ends them; a second time does nothing."""
        for process in self._running:
            process.send_signal(signal.SIGTERM)
            process.send_signal(signal.SIGCONT)  # one that is held would not hear the other
        for process in self._running:
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._running.clear()

    def last_words(self) -> str:
        """The last lines of the logs."""
        lines = [
            line
            for log in sorted(self._directory.glob("log-*"))
            for line in log.read_text(errors="replace").splitlines()[-LOG_LINES:]
        ]
        return "\n".join(lines)

    def _start(self, number: int) -> None:
        own = self._settings.model_copy(
            update={"data_dir": self._directory / f"data-{number}", "web_port": free_port()}
        )
        self._ports.append(own.web_port)
        environment = environment_of(own, os.environ) | {"KAFKA_SESSION_TIMEOUT_S": str(SESSION_TIMEOUT_S)}
        with (self._directory / f"log-{number}").open("wb") as log:
            self._running.append(
                subprocess.Popen(
                    self._case.command,
                    cwd=CHECKOUT,
                    env={**environment, **self._case.environment},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
            )

    def _wait_until_all_have_partitions(self) -> None:
        """One alone would take everything, and the others would start while it is measured."""
        deadline_s = time.monotonic() + READY_TIMEOUT_S
        waiting = list(self._ports)
        while waiting:
            self.check()
            if time.monotonic() > deadline_s:
                raise MeasurementError(f"expected each process to be ready within {READY_TIMEOUT_S:.0f} s")
            waiting = [port for port in waiting if not _is_ready(port)]
            time.sleep(POLL_S)


def _is_ready(port: int) -> bool:
    with suppress(OSError):
        return ask(port, "GET", "/health").status == http.HTTPStatus.OK
    return False
