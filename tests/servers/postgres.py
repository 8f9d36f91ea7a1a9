"""A real PostgreSQL on this machine: a cluster in a directory of its own, on loopback; killed and revived at will.

PostgreSQL refuses to run as root, so there it runs as the user `postgres` or `nobody`.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from tests.servers.jars import ServerUnavailableError
from tests.servers.ports import free_port

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 10.0
POLL_S = 0.05
LOG_TAIL_LINES = 15
USERS = ("postgres", "nobody")
ADMIN = "postgres"

# Everything that makes a commit durable stays on: tests kill it.
CONFIGURATION = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 40
shared_buffers = 128MB
max_wal_size = 2GB
log_min_messages = warning
"""


class PostgresServer:
    """One server, from `start` to `stop`, or as a context manager.

    Args:
        directory: where cluster and log live, for which the server's user needs the way; None: a new temporary one.
        options: further lines of postgresql.conf.
    """

    def __init__(self, directory: Path | None = None, options: Mapping[str, str] | None = None) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="fraudstream-postgres-")) if directory is None else directory
        self.port = free_port()
        self._data = self.directory / "data"
        self._log = self.directory / "server.log"
        self._options = dict(options or {})
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, database: str = "postgres", user: str = ADMIN) -> str:
        """postgresql://... of a database, as the administrator by default; everybody on loopback is trusted."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def create_database(self, name: str) -> str:
        """Makes an empty database and returns the administrator's URL of it."""
        command = [str(program("createdb")), "-h", "127.0.0.1", "-p", str(self.port), "-U", ADMIN, name]
        subprocess.run(command, check=True, capture_output=True)
        return self.url(name)

    def start(self) -> None:
        """Makes the cluster and starts the server.

        Raises:
            ServerUnavailableError: PostgreSQL is not installed, or does not come up.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        user = server_user()
        if user is not None:
            shutil.chown(self.directory, user)
        command = [str(program("initdb")), "-D", str(self._data), "-U", ADMIN, "-A", "trust", "-E", "UTF8"]
        made = subprocess.run(
            [*command, "--locale=C", "--no-sync", "--no-instructions"],
            check=False,
            capture_output=True,
            text=True,
            user=user,
            cwd=self.directory,
        )
        if made.returncode != 0:
            raise ServerUnavailableError(f"initdb made no cluster:\n{made.stdout}{made.stderr}")
        with (self._data / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.write(CONFIGURATION + f"port = {self.port}\n")
            file.writelines(f"{name} = '{value}'\n" for name, value in self._options.items())
        self.revive()

    def revive(self) -> None:
        """Starts a server that was killed on what it had written, and waits until it takes connections."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(program("postgres")), "-D", str(self._data)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                user=server_user(),
                cwd=self.directory,
                start_new_session=True,
            )
        deadline_s = time.monotonic() + START_TIMEOUT_S
        ask = [str(program("pg_isready")), "-q", "-h", "127.0.0.1", "-p", str(self.port), "-U", ADMIN, "-d", ADMIN]
        while subprocess.run(ask, check=False).returncode != 0:
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                raise ServerUnavailableError(f"PostgreSQL does not take connections:\n{self.tail()}")
            time.sleep(POLL_S)

    def kill(self) -> None:
        """SIGKILL to all its processes: nothing is written to the end, no shared memory is kept."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._end()

    def stop(self) -> None:
        """Stops the server and removes the cluster, its log too."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)  # at once: what it would write at the end goes anyway
            try:
                self._process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
            self._end()
        shutil.rmtree(self.directory, ignore_errors=True)

    def tail(self) -> str:
        """The last lines of the log."""
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines() if self._log.exists() else []
        return "\n".join(lines[-LOG_TAIL_LINES:])

    def __enter__(self) -> PostgresServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _end(self) -> None:
        assert self._process is not None
        self._process.wait()
        self._process = None


def program(name: str) -> Path:
    """Where a program of PostgreSQL is; Debian keeps the server's own off the PATH.

    Raises:
        ServerUnavailableError: it is not installed.
    """
    found = [
        *sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: -int(path.parts[-3])),
        *map(Path, filter(None, [shutil.which(name)])),
    ]
    if not found:
        raise ServerUnavailableError(f"a real PostgreSQL needs `{name}` (Debian: postgresql); found none")
    return found[0]


def server_user() -> str | None:
    """Who runs the server, which refuses to be root; None: whoever runs this.

    Raises:
        ServerUnavailableError: this is root, and nobody else is there.
    """
    if os.getuid() != 0:
        return None
    for name in USERS:
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    raise ServerUnavailableError(f"PostgreSQL does not run as root, and there is no user {' or '.join(USERS)}")
