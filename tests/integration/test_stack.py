"""`make stack`: the system of docker/compose.yaml as processes, which comes up, works, and heals whatever is killed."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from scripts.deploy_local import COMPOSE, ENV, passwords
from scripts.stack.compose import read_services
from scripts.stack.native import missing_programs, runs_natively
from tests.checkout import ROOT
from tests.conftest import missing
from tests.worker import ask

UP_WITHIN_S = 120.0  # a limit for a machine that does ten other things, not a promise
HEALED_WITHIN_S = 60.0
POLL_S = 0.2
KILLED = ("redis", "prometheus", "api", "audit", "postgres", "worker", "kafka")

pytestmark = [pytest.mark.servers, pytest.mark.slow]


class RunningStack:
    """The supervisor as a process, and what it says of its parts."""

    def __init__(self, folder: Path) -> None:
        self._state, self._log = folder / "state.json", folder / "stack.log"
        command = [sys.executable, "-m", "scripts.stack", "--free-ports", "--folder", str(folder)]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*command, "--json", str(self._state)], cwd=ROOT, stdout=log, stderr=subprocess.STDOUT
            )

    def state(self) -> dict[str, Any]:
        """What `--json` holds now."""
        found: dict[str, Any] = json.loads(self._state.read_text()) if self._state.exists() else {"up": False}
        return found

    def port(self, part: str) -> int:
        """Where users reach a part."""
        return int(self.state()["parts"][part]["address"].rpartition(":")[2])

    def wait_until(self, holds: Callable[[], bool], what: str, within_s: float) -> None:
        """Returns as soon as it holds; fails with the log of the supervisor where it does not in time."""
        deadline = time.monotonic() + within_s
        while not holds():
            assert self._process.poll() is None, f"the stack ended:\n{self._log.read_text()}"
            assert time.monotonic() < deadline, f"{what} not within {within_s:.0f} s:\n{self._log.read_text()}"
            time.sleep(POLL_S)

    def kill(self, part: str) -> None:
        """SIGKILL to a part, and waits until it was started again and everything is up."""
        before = self.state()["parts"][part]
        os.kill(before["pid"], signal.SIGKILL)

        def healed() -> bool:
            state = self.state()
            return bool(state["up"]) and state["parts"][part]["restarts"] > before["restarts"]

        self.wait_until(healed, f"{part} back after SIGKILL", HEALED_WITHIN_S)

    def stop(self) -> int:
        """Ctrl-C."""
        self._process.send_signal(signal.SIGINT)
        return self._process.wait(90)


@pytest.fixture
def stack() -> Iterator[RunningStack]:
    """All parts, up. The folder is one that PostgreSQL's own user can reach, which pytest's are not."""
    lacking = missing_programs_here()
    if lacking:
        missing("; ".join(lacking))
    folder = Path(tempfile.mkdtemp(prefix="fraudstream-stack-"))
    folder.chmod(0o755)
    running = RunningStack(folder)
    try:
        running.wait_until(lambda: bool(running.state()["up"]), "all parts up", UP_WITHIN_S)
        yield running
    finally:
        code = running.stop()
        left = left_processes(folder)
        shutil.rmtree(folder, ignore_errors=True)
    assert (code, left) == (0, [])


def test_it_comes_up_works_and_heals_whatever_part_is_killed(stack: RunningStack) -> None:
    check_deployment(stack)
    for part in KILLED:
        stack.kill(part)
        asyncio.run(a_payment_is_judged(f"after-{part}", stack.port("kafka")))
    judged = {f"after-{part}" for part in KILLED}
    stack.wait_until(lambda: stored(stack) >= judged, "every verdict in the audit trail", HEALED_WITHIN_S)
    stack.wait_until(lambda: targets_up(stack) == {"api", "audit", "worker"}, "all asked by Prometheus", 30)
    check_deployment(stack)


def check_deployment(stack: RunningStack) -> None:
    """Both ways in pass; the API says `degraded` until the worker has told Redis that it has all profiles."""
    for part in ("api", "worker"):
        deadline = time.monotonic() + HEALED_WITHIN_S
        while (done := outside_check(stack, part)).returncode != 0:
            assert time.monotonic() < deadline, f"{part}:\n{done.stdout}{done.stderr}"


def outside_check(stack: RunningStack, part: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "scripts/integration_tests.py", "--endpoint", f"http://127.0.0.1:{stack.port(part)}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


async def a_payment_is_judged(transaction_id: str, port: int) -> None:
    bootstrap = f"127.0.0.1:{port}"
    payment = {"transaction_id": transaction_id, "user_id": "u1", "amount": 12.5, "merchant": "m"}
    async with (
        AIOKafkaConsumer(
            "verdicts", bootstrap_servers=bootstrap, isolation_level="read_committed", auto_offset_reset="earliest"
        ) as verdicts,
        AIOKafkaProducer(bootstrap_servers=bootstrap) as producer,
    ):
        await producer.send_and_wait("transactions", json.dumps(payment).encode(), key=b"u1")
        async with asyncio.timeout(HEALED_WITHIN_S):
            async for message in verdicts:
                if json.loads(message.value)["transaction_id"] == transaction_id:
                    return


def stored(stack: RunningStack) -> set[str]:
    """Which transactions the audit trail in PostgreSQL holds."""

    async def rows() -> set[str]:
        password = passwords(ENV)["POSTGRES_PASSWORD"]
        address = f"127.0.0.1:{stack.port('postgres')}"
        connection = await asyncpg.connect(f"postgresql://fraudstream:{password}@{address}/fraudstream")
        try:
            found = await connection.fetch("SELECT transaction_id FROM fraudstream_audit.evidence")
            return {row["transaction_id"] for row in found}
        finally:
            await connection.close()

    return asyncio.run(rows())


def targets_up(stack: RunningStack) -> set[str]:
    answer = ask(stack.port("prometheus"), "GET", "/api/v1/query?query=up").json()
    return {one["metric"]["job"] for one in answer["data"]["result"] if one["value"][1] == "1"}


def left_processes(folder: Path) -> list[str]:
    """Command lines of processes that still run on the stack's folder."""
    lines = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout.splitlines()
    return [line for line in lines if str(folder) in line]


def missing_programs_here() -> list[str]:
    services = read_services(COMPOSE, {"POSTGRES_PASSWORD": "p", "GRAFANA_PASSWORD": "g"})
    return missing_programs([service for service in services.values() if runs_natively(service)])
