"""A real worker process for tests: started, asked over HTTP, stalled and killed like any other; no mock of anything."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from pydantic import SecretStr

from fraudstream.settings import Settings
from tests.child import Child
from tests.servers.ports import free_port

CHECKOUT = Path(__file__).resolve().parents[1]
READY_WITHIN_S = 90.0  # a limit for a machine that does ten other things, not a promise
STOP_WITHIN_S = 40.0
POLL_S = 0.05
HTTP_TIMEOUT_S = 10.0

_EMBEDDED = re.compile(r"embedded broker on (\S+),")


@dataclass(frozen=True, slots=True)
class Answer:
    """What the web view answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


def ask(
    port: int, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> Answer:
    """One HTTP request to this machine.

    Raises:
        OSError: nobody listens or answers.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=HTTP_TIMEOUT_S)
    try:
        connection.request(method, path, body, dict(headers or {}))
        response = connection.getresponse()
        return Answer(response.status, dict(response.getheaders()), response.read())
    except http.client.HTTPException as error:
        raise OSError(f"no HTTP answer: {error!r}") from error
    finally:
        connection.close()


class WorkerFailedError(AssertionError):
    """The worker did not do what the test waits for; the text ends with the last lines of its log."""


class Worker(Child):
    """One worker process with a directory of its own, from `start` to `kill` or `stop`; may be started again.

    Args:
        settings: of the worker; its data directory and web port are replaced by ones of its own.
        directory: where its log and its RocksDB files live.
        name: of the log file.
        app: the module of its Faust app.
    """

    def __init__(
        self,
        settings: Settings,
        directory: Path,
        name: str = "worker",
        web_host: str = "127.0.0.1",
        app: str = "fraudstream.agents.app",
    ) -> None:
        self.directory = directory / name
        self.directory.mkdir(parents=True, exist_ok=True)
        super().__init__(self.directory / "worker.log")
        self.data_dir = self.directory / "data"
        self.port = free_port()
        self.settings = settings.model_copy(
            update={
                "data_dir": self.data_dir,
                "web_port": self.port,
                "audit_web_port": self.port,
                "web_host": web_host,
            }
        )
        self._app = app
        self.variables: dict[str, str] = {}
        """Further variables of its environment."""

    def start(self) -> Worker:
        """Starts the process the way users do; the log goes on where an earlier one ended."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [str(Path(sys.executable).with_name("faust")), "-A", self._app, "worker", "-l", "info"],
                cwd=self.directory,
                env=environment(self.settings) | self.variables,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        return self

    async def ready(self, within_s: float = READY_WITHIN_S) -> Worker:
        """Waits until /health says that the worker is ready."""
        deadline = time.monotonic() + within_s
        while True:
            if self.exit_code() is not None:
                raise WorkerFailedError(f"expected a ready worker, it ended with {self.exit_code()}:\n{self.tail()}")
            answer = await self.ask("/health")
            if answer is not None and answer.status == http.HTTPStatus.OK:
                return self
            if time.monotonic() > deadline:
                said = answer.body.decode() if answer else "nothing"
                raise WorkerFailedError(f"expected it ready within {within_s:.0f} s, it said {said}:\n{self.tail()}")
            await asyncio.sleep(POLL_S)

    async def ask(self, path: str) -> Answer | None:
        """GET without blocking the event loop; None where nobody listens."""
        try:
            return await asyncio.to_thread(self.call, "GET", path)
        except OSError:
            return None

    def call(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One HTTP request.

        Raises:
            OSError: nobody listens or answers.
        """
        return ask(self.port, method, path, body, headers)

    def stop(self, within_s: float = STOP_WITHIN_S) -> int:
        """SIGTERM; returns the exit code."""
        self._running().terminate()
        return self.wait(within_s)

    def wait(self, within_s: float) -> int:
        """The exit code, as soon as the process ends by itself."""
        try:
            return self._running().wait(within_s)
        except subprocess.TimeoutExpired:
            raise WorkerFailedError(f"expected the worker to end within {within_s:.0f} s:\n{self.tail()}") from None

    def embedded_broker(self) -> str:
        """HOST:PORT of the broker inside a worker without KAFKA_SERVERS.

        Raises:
            WorkerFailedError: the worker did not tell it.
        """
        deadline = time.monotonic() + READY_WITHIN_S
        while (told := _EMBEDDED.findall(self.log_text())) == []:
            if time.monotonic() > deadline or self.exit_code() is not None:
                raise WorkerFailedError(f"expected the address of the embedded broker:\n{self.tail()}")
            time.sleep(POLL_S)
        return str(told[-1])

    def __enter__(self) -> Worker:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()
        if error is not None:
            print(f"--- {self.log}\n{self.tail()}")


def environment(settings: Settings) -> dict[str, str]:
    """The environment of a worker with exactly these settings."""
    names = {name.upper() for name in Settings.model_fields}
    inherited = {name: value for name, value in os.environ.items() if name.removesuffix("_FILE") not in names}
    own = {name.upper(): _as_text(getattr(settings, name)) for name in Settings.model_fields}
    path = [str(CHECKOUT), *filter(None, [inherited.get("PYTHONPATH")])]
    return inherited | {name: text for name, text in own.items() if text} | {"PYTHONPATH": os.pathsep.join(path)}


def _as_text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
