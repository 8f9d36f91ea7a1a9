"""A worker as a child process, with a log, a data directory and a port of its own: for commands and for tests."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import TracebackType

import fraudstream
from fraudstream.errors import FraudstreamError

LOOPBACK = "127.0.0.1"
READY_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 10.0
POLL_S = 0.1
TAIL_LINES = 15
HTTP_OK = 200


class WorkerDiedError(FraudstreamError):
    """The worker process ended, or never became ready; the text holds its last lines."""


def end_process(process: subprocess.Popen[bytes]) -> None:
    """Ends a process in order, or by force where that takes too long."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class WorkerProcess:
    """A worker from `start` to `stop`, or as a context manager.

    Args:
        environment: its settings, by the names of their environment variables; PYTHONPATH is where it finds more.
        directory: where its log and its data go.
        app: the module of its Faust app.
    """

    def __init__(self, environment: Mapping[str, str], directory: Path, app: str = "fraudstream.agents.app") -> None:
        self._app = app
        self.port = _free_port()
        self.log = directory / "worker.log"
        self._directory = directory
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where its web view is."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def pid(self) -> int:
        """Its process id; 0 before it is started."""
        return self._process.pid if self._process else 0

    def start(self) -> None:
        """Starts the process; `wait_until_ready` tells when it scores."""
        # A checkout that is not installed must be found from the worker's own directory too.
        root = str(Path(fraudstream.__file__).parents[1])
        found_in = [self._environment.get("PYTHONPATH"), root, os.environ.get("PYTHONPATH")]
        environment = {
            **os.environ,
            "DATA_DIR": str(self._directory / "data"),
            "WEB_HOST": LOOPBACK,
            "WEB_PORT": str(self.port),
            **self._environment,
            "PYTHONPATH": os.pathsep.join(filter(None, found_in)),
        }
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "faust", "-A", self._app, "worker", "-l", "info"],
                cwd=self._directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the command, which stops the worker in order
            )

    def wait_until_ready(self) -> None:
        """Returns when /health says ready.

        Raises:
            WorkerDiedError: it ended, or took too long.
        """
        deadline_s = time.monotonic() + READY_TIMEOUT_S
        while not self._is_ready():
            self.check()
            if time.monotonic() > deadline_s:
                raise WorkerDiedError(
                    f"expected a ready worker within {READY_TIMEOUT_S:.0f} s; its last lines:\n{self.tail()}"
                )
            time.sleep(POLL_S)

    def check(self) -> None:
        """Raises WorkerDiedError if the process has ended."""
        code = self._process.poll() if self._process else None
        if code is not None:
            raise WorkerDiedError(
                f"expected the worker to run, it ended with exit code {code}; its last lines:\n{self.tail()}"
            )

    def tail(self) -> str:
        """The last lines of its log."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(f"    {line}" for line in lines[-TAIL_LINES:])

    def stop(self) -> None:
        """Ends the process in order, or by force when that takes too long."""
        if self._process is None:
            return
        end_process(self._process)
        self._process = None

    def kill(self) -> None:
        """SIGKILL: no chance to commit; `start` starts it again, with the data it left."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def __enter__(self) -> WorkerProcess:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _is_ready(self) -> bool:
        connection = HTTPConnection(LOOPBACK, self.port, timeout=2)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == HTTP_OK
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()


def _free_port() -> int:
    with socket.create_server((LOOPBACK, 0)) as listener:
        return int(listener.getsockname()[1])
