"""A real Redis on this machine, on a free port of loopback: started, killed, stalled and started again by tests.

    python -m tests.servers.redis [--port 6379]

runs one in the foreground until Ctrl-C.
"""

from __future__ import annotations

import argparse
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from tests.child import Child
from tests.servers.foreground import run_until_stopped
from tests.servers.jars import ServerUnavailableError
from tests.servers.ports import free_port

START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 5.0


class RedisServer(Child):
    """One redis-server that keeps everything in memory, from `start` to `end`, or as a context manager.

    Args:
        port: None for a free one.
        directory: of its log; None for a new temporary one.
        options: more of redis-server's own, such as `("--requirepass", "secret")`.
    """

    def __init__(self, port: int | None = None, directory: Path | None = None, options: Sequence[str] = ()) -> None:
        self.port = port or free_port()
        self.directory = directory or Path(tempfile.mkdtemp(prefix="fraudstream-redis-"))
        super().__init__(self.directory / "redis.log")
        self.options = tuple(options)

    @property
    def host(self) -> str:
        """As REDIS_HOST takes it."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> str:
        """Starts it, empty, and waits until it answers; returns `host`.

        Raises:
            ServerUnavailableError: redis-server is missing or does not come up.
        """
        program = shutil.which("redis-server")
        if program is None:
            raise ServerUnavailableError("redis-server is missing: install the Debian package redis-server")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.directory)),
                    *("--save", "", "--appendonly", "no"),
                    *self.options,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            if self.exit_code() is not None or time.monotonic() > deadline:
                raise ServerUnavailableError(f"redis-server does not answer on {self.host}:\n{self.tail()}")
            time.sleep(0.02)
        return self.host

    def __enter__(self) -> RedisServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def _answers(self) -> bool:
        try:
            plain = socket.create_connection(("127.0.0.1", self.port), timeout=1)
            with plain, self._secured(plain) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(5).startswith((b"+PONG", b"-NOAU", b"-DENI"))
        except OSError:
            return False

    def _secured(self, plain: socket.socket) -> socket.socket:
        """The connection as the options ask for it; whose certificate it is does not matter to know that it answers."""
        if "--tls-port" not in self.options:
            return plain
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context.wrap_socket(plain)


def main() -> int:
    """Runs one in the foreground until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m tests.servers.redis", description="a real Redis on loopback")
    parser.add_argument("--port", type=int, default=6379)
    return run_until_stopped(
        RedisServer(parser.parse_args().port), lambda running: f"Redis listens on {running.host} (Ctrl-C stops)"
    )


if __name__ == "__main__":
    sys.exit(main())
