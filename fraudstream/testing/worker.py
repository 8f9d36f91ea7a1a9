"""A real worker on an embedded broker, for tests: a process of its own, no server and no mock."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from fraudstream.adapters.embedded_broker import EmbeddedBroker
from fraudstream.adapters.transaction_stream import TransactionStream, transaction_stream
from fraudstream.errors import BrokerError
from fraudstream.settings import Settings, load_settings
from fraudstream.topics import declared_topics
from fraudstream.transaction import Transaction
from fraudstream.verdict import Verdict, decode_verdict
from fraudstream.worker_process import WorkerProcess

WITHIN_S = 60.0
RECEIVE_WAIT_S = 0.2


class EmbeddedWorker:
    """A worker that runs, and both ends of its topics; made by `embedded_worker`.

    Attributes:
        settings: of the worker.
        bootstrap: HOST:PORT of the embedded broker, for clients of one's own.
        url: of its web view.
    """

    def __init__(self, settings: Settings, bootstrap: str, process: WorkerProcess, stream: TransactionStream) -> None:
        self.settings = settings
        self.bootstrap = bootstrap
        self.url = process.url
        self._process = process
        self._stream = stream
        self._came: dict[str, list[bytes]] = {topic: [] for topic in settings.topic_names}

    async def send(self, transactions: Iterable[Transaction | Mapping[str, Any]]) -> None:
        """Produces transactions, keyed by their user."""
        encoded = [(_user_of(one).encode(), msgspec.json.encode(one)) for one in transactions]
        await self._stream.send(encoded)

    async def verdicts(self, number: int, within_s: float = WITHIN_S) -> list[Verdict]:
        """The next `number` verdicts, in order within a user."""
        return [decode_verdict(value) for value in await self._take(self.settings.verdicts_topic, number, within_s)]

    async def alerts(self, number: int, within_s: float = WITHIN_S) -> list[Verdict]:
        """The next `number` alerts."""
        return [decode_verdict(value) for value in await self._take(self.settings.alerts_topic, number, within_s)]

    async def dead_letters(self, number: int, within_s: float = WITHIN_S) -> list[bytes]:
        """The next `number` refused messages, as they were sent."""
        return await self._take(self.settings.dead_letters_topic, number, within_s)

    async def restart(self) -> None:
        """Kills the worker and starts it again with the data it left; returns when it is ready."""
        self._process.kill()
        await self.start()

    async def start(self) -> None:
        """Starts the worker; returns when it is ready."""
        self._process.start()
        await asyncio.to_thread(self._process.wait_until_ready)

    def log(self) -> str:
        """What the worker wrote to its log."""
        return self._process.log.read_text(encoding="utf-8", errors="replace")

    async def _take(self, topic: str, number: int, within_s: float) -> list[bytes]:
        came, deadline_s = self._came[topic], time.monotonic() + within_s
        while len(came) < number:
            for name, value in await self._stream.receive(RECEIVE_WAIT_S):
                self._came[name].append(value)
            self._process.check()
            if time.monotonic() > deadline_s and len(came) < number:
                raise BrokerError(
                    f"expected {number} messages on topic {topic} within {within_s:.0f} s, got {len(came)}; "
                    f"the worker's last lines:\n{self._process.tail()}"
                )
        self._came[topic] = came[number:]
        return came[:number]


@asynccontextmanager
async def embedded_worker(
    app: str = "fraudstream.agents.app",
    *,
    path: Sequence[Path | str] = (),
    directory: Path | None = None,
    **settings: Any,
) -> AsyncIterator[EmbeddedWorker]:
    """Starts a broker in this process and a worker in another; both are gone at the end.

    Args:
        app: module of the Faust app, as `faust -A` takes it; it must make its app from the environment's settings.
        path: folders in which the worker finds modules and installed packages besides those of this process.
        directory: where its log and data go; absent: a temporary one.
        settings: any field of `fraudstream.Settings`.

    Raises:
        SettingsError: a setting is unknown or wrong.
        FraudstreamError: the broker or the worker does not start; the text holds the worker's last lines.
    """
    with tempfile.TemporaryDirectory(prefix="fraudstream-worker-") as temporary, EmbeddedBroker() as broker:
        home = Path(temporary) if directory is None else directory
        chosen = load_settings(**{**settings, "kafka_servers": broker.bootstrap})
        for topic in declared_topics(chosen):
            broker.create_topic(topic.name, topic.partitions)
        environment = {name.upper(): _as_text(value) for name, value in settings.items()}
        environment["KAFKA_SERVERS"] = broker.bootstrap
        environment["PYTHONPATH"] = os.pathsep.join(map(str, path))
        process = WorkerProcess(environment, home, app)
        try:
            async with transaction_stream(chosen, broker.bootstrap) as stream:
                worker = EmbeddedWorker(chosen, broker.bootstrap, process, stream)
                await worker.start()
                yield worker
        finally:
            await asyncio.to_thread(process.stop)


def _user_of(transaction: Transaction | Mapping[str, Any]) -> str:
    return transaction.user_id if isinstance(transaction, Transaction) else str(transaction.get("user_id", ""))


def _as_text(value: Any) -> str:
    if isinstance(value, tuple | list):
        return ",".join(map(str, value))
    return "" if value is None else str(value)
