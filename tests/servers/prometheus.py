"""A real Prometheus on a free port of loopback, with the test's rules; it scrapes its targets each second."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.servers.jars import ServerUnavailableError
from tests.servers.ports import free_port

START_TIMEOUT_S = 30.0


class Prometheus:
    """One server, from `start` to `end`, or as a context manager.

    Args:
        directory: of its data and log.
        targets: HOST:PORT by job.
        rules: files of rules.
    """

    def __init__(self, directory: Path, targets: Mapping[str, Sequence[str]], rules: Sequence[Path] = ()) -> None:
        self.port = free_port()
        self._directory = directory
        self._config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(rule) for rule in rules],
            "scrape_configs": [
                {"job_name": job, "static_configs": [{"targets": list(hosts)}]} for job, hosts in targets.items()
            ],
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Of its HTTP interface."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> Prometheus:
        """Starts it and waits until it is ready.

        Raises:
            ServerUnavailableError: it is not installed or does not come up.
        """
        program = shutil.which("prometheus")
        if program is None:
            raise ServerUnavailableError("prometheus is missing: install the Debian package prometheus")
        config, log = self._directory / "prometheus.yml", self._directory / "prometheus.log"
        config.write_text(json.dumps(self._config))  # YAML reads JSON
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                [
                    *(program, f"--config.file={config}", f"--storage.tsdb.path={self._directory / 'data'}"),
                    f"--web.listen-address=127.0.0.1:{self.port}",
                ],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise ServerUnavailableError(f"prometheus does not come up:\n{log.read_text()[-2000:]}")
            time.sleep(0.1)
        return self

    def query(self, expr: str) -> list[dict[str, Any]]:
        """The result of an instant query.

        Raises:
            ValueError: Prometheus refused it; the text is its own.
        """
        url = f"{self.url}/api/v1/query?{urllib.parse.urlencode({'query': expr})}"
        try:
            with urllib.request.urlopen(url, timeout=10) as response:  # noqa: S310  an address of our own
                found: list[dict[str, Any]] = json.load(response)["data"]["result"]
        except urllib.error.HTTPError as error:
            raise ValueError(f"{expr}: {error.read().decode()}") from error
        return found

    def names(self) -> set[str]:
        """Every metric that its targets declare, those that have no series yet among them."""
        with urllib.request.urlopen(f"{self.url}/api/v1/metadata", timeout=10) as response:  # noqa: S310  an address of our own
            return set(json.load(response)["data"])

    def end(self) -> None:
        """Ends it, whatever state it is in."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Prometheus:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=1) as response:  # noqa: S310  an address of our own
                return bool(response.status == 200)
        except OSError:
            return False
