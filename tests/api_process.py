"""A real `fraudstream api` process for tests and benchmarks: started, asked, stopped like any other."""

from __future__ import annotations

import http.client
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

from fraudstream.settings import Settings
from tests.child import Child
from tests.servers.ports import free_port
from tests.worker import READY_WITHIN_S, STOP_WITHIN_S, Answer, WorkerFailedError, ask, environment

POLL_S = 0.05


class ApiServer(Child):
    """One process, from `start` to `stop` or `end`, or as a context manager.

    Args:
        settings: of the process; its web port is replaced by a free one.
        directory: where its log lives.
        options: of the command.
    """

    def __init__(self, settings: Settings, directory: Path, options: tuple[str, ...] = ()) -> None:
        self.port = free_port()
        super().__init__(directory / "api.log")
        self._settings = settings.model_copy(update={"web_port": self.port})
        self._options = options

    def start(self) -> ApiServer:
        """Starts the process the way users do."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [str(Path(sys.executable).with_name("fraudstream")), "api", *self._options],
                env=environment(self._settings),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        return self

    def ready(self, within_s: float = READY_WITHIN_S) -> ApiServer:
        """Waits until /health says that it is ready."""
        deadline_s = time.monotonic() + within_s
        while True:
            if self._running().poll() is not None:
                raise WorkerFailedError(f"expected it to serve, it ended with {self._running().poll()}:\n{self.tail()}")
            try:
                if self.call("GET", "/health").status == http.HTTPStatus.OK:
                    return self
            except OSError:
                time.sleep(POLL_S)
            if time.monotonic() > deadline_s:
                raise WorkerFailedError(f"expected it ready within {within_s:.0f} s:\n{self.tail()}")

    def call(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Answer:
        """One HTTP request.

        Raises:
            OSError: nobody listens or answers.
        """
        return ask(self.port, method, path, body, headers)

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        self._running().terminate()
        return self.wait()

    def wait(self) -> int:
        """Waits until it has ended; returns the exit code."""
        return self._running().wait(STOP_WITHIN_S)

    def __enter__(self) -> ApiServer:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()
