"""Every panel shows something, every alert can be evaluated, and every metric that is named anywhere exists.

A worker, an API process and an audit sink under load, with Redis and PostgreSQL, scraped by a real Prometheus.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from aiokafka import AIOKafkaProducer
from pydantic import SecretStr

from fraudstream.adapters.audit_store import open_store
from fraudstream.adapters.kafka_topics import create_topics
from fraudstream.adapters.metric_catalogue import METRICS
from fraudstream.settings import Settings
from tests.api_process import ApiServer
from tests.checkout import ROOT
from tests.conftest import missing
from tests.servers.jars import ServerUnavailableError
from tests.servers.kafka import KafkaCluster
from tests.servers.prometheus import Prometheus
from tests.servers.redis import RedisServer
from tests.worker import Worker

RULES = ROOT / "k8s" / "fraudstream" / "rules" / "fraudstream.rules.yml"
DASHBOARDS = sorted((ROOT / "k8s" / "fraudstream" / "dashboards").glob("*.json"))
NAME = re.compile(r"\bfraudstream_[a-z_]+[a-z]\b")
OF_THE_DATABASE = re.compile(r"fraudstream_audit(_owner|_writer|_reader)?$")
RATE = 400
SHOWN_WITHIN_S = 90.0

pytestmark = [pytest.mark.slow, pytest.mark.servers]


def queries() -> dict[str, str]:
    """Each panel's queries, with the variables as they are where there is one namespace."""
    found = {}
    for file in DASHBOARDS:
        for panel in json.loads(file.read_text())["panels"]:
            for target in panel.get("targets", []):
                expr = target["expr"].replace("$namespace", ".*").replace("$__rate_interval", "15s")
                found[f"{file.stem} / {panel['title']} / {target['refId']}"] = expr
    return found


def rule_expressions() -> dict[str, str]:
    """Each rule's expression."""
    rules = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    return {rule.get("alert") or rule["record"]: rule["expr"] for rule in rules}


class Load:
    """Payments all the time, some of them odd, and their labels; until the block ends."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._task: asyncio.Task[None] | None = None
        self._ended = False
        self.sent = 0

    async def __aenter__(self) -> Load:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._ended = True
        await self._task

    async def _run(self) -> None:
        settings = self._settings
        async with AIOKafkaProducer(bootstrap_servers=settings.kafka_servers) as producer:
            while not self._ended:
                for _ in range(RATE // 10):
                    await producer.send(settings.transactions_topic, *self._payment())
                await producer.send(settings.transactions_topic, b"no JSON", b"u")
                for number in range(max(self.sent - 4000, 0), self.sent, 50):
                    await producer.send(settings.labels_topic, *self._label(number))
                await asyncio.sleep(0.1)

    def _payment(self) -> tuple[bytes, bytes]:
        self.sent += 1
        is_odd, user = self.sent % 50 == 0, f"u{self.sent % 200}"
        payment = {
            "transaction_id": f"t{self.sent}",
            "user_id": user,
            "amount": 4000.0 if is_odd else 20.0 + self.sent % 7,
            "merchant": f"odd {self.sent}" if is_odd else f"shop {self.sent % 5}",
            "category": "jewels" if is_odd else "food",
            "device_id": f"d{self.sent}" if is_odd else f"d-{user}",
            "timestamp": time.time(),
        }
        return json.dumps(payment).encode(), user.encode()

    def _label(self, number: int) -> tuple[bytes, bytes]:
        user = f"u{number % 200}"
        label = {
            "transaction_id": f"t{number}",
            "user_id": user,
            "is_fraud": number % 100 == 0,
            "reported_at": datetime.now(UTC).isoformat(),
            "source": "test",
        }
        return json.dumps(label).encode(), user.encode()


@pytest.fixture
async def watched(
    kafka: KafkaCluster, redis: RedisServer, own_database: str, own_settings: Settings, tmp_path: Path
) -> AsyncIterator[Prometheus]:
    """All processes under load and restarted once, so that there was something to restore."""
    settings = own_settings.model_copy(
        update={
            "kafka_servers": kafka.bootstrap,
            "redis_host": redis.host,
            "postgres_url": SecretStr(own_database),
            "topic_partitions": 2,
        }
    )
    await create_topics(settings, kafka.bootstrap)
    async with open_store(settings) as store:
        await store.migrate()
    async with AsyncExitStack() as stack:
        worker = stack.enter_context(Worker(settings, tmp_path))
        sink = stack.enter_context(Worker(settings, tmp_path, "sink", app="fraudstream.agents.audit"))
        (tmp_path / "api").mkdir()
        api = stack.enter_context(ApiServer(settings, tmp_path / "api"))
        await worker.ready()
        await sink.ready()
        await asyncio.to_thread(api.ready)
        await stack.enter_async_context(Load(settings))
        await asyncio.sleep(5)
        assert worker.stop() == 0, worker.tail()
        worker.start()
        await worker.ready()
        targets = {name: [f"127.0.0.1:{process.port}"] for name, process in
                   (("worker", worker), ("sink", sink), ("api", api))}  # fmt: skip
        prometheus = Prometheus(tmp_path, targets, [RULES])
        try:
            stack.enter_context(prometheus)
        except ServerUnavailableError as error:
            missing(str(error))
        ended = asyncio.Event()
        asking = asyncio.create_task(ask(worker, api, ended))
        yield prometheus
        ended.set()
        await asking


async def ask(worker: Worker, api: ApiServer, ended: asyncio.Event) -> None:
    """Somebody asks both processes, again and again, about users who are known."""
    number = 0
    while not ended.is_set():
        number += 1
        body = json.dumps(
            {"transaction_id": f"q{number}", "user_id": f"u{number % 50}", "amount": 5, "merchant": "m"}
        ).encode()
        headers = {"Content-Type": "application/json"}
        for process in (worker, api):
            await asyncio.to_thread(process.call, "POST", "/predict", body, headers)
        await asyncio.sleep(0.1)


def empty(prometheus: Prometheus) -> list[str]:
    """Panels whose query returns nothing or not a number."""
    return [
        f"{panel}: {expr}"
        for panel, expr in queries().items()
        if not [sample for sample in prometheus.query(expr) if sample["value"][1] != "NaN"]
    ]


async def test_every_panel_shows_data_and_every_metric_that_is_named_exists(watched: Prometheus) -> None:
    assert len(queries()) > 60
    deadline = time.monotonic() + SHOWN_WITHIN_S
    while missing_data := await asyncio.to_thread(empty, watched):
        assert time.monotonic() < deadline, "panels without data:\n" + "\n".join(missing_data)
        await asyncio.sleep(2)

    for name, expr in rule_expressions().items():
        try:
            watched.query(expr)
        except ValueError as error:
            pytest.fail(f"{name}: {error}")

    declared = {metric.name for metric in METRICS}
    assert declared - watched.names() == set()
    texts = {**queries(), **rule_expressions()}
    texts |= {page.name: page.read_text() for page in (ROOT / "docs").glob("*.md")}
    named = {
        (where, re.sub(r"_(bucket|sum|count)$", "", name))
        for where, text in texts.items()
        for name in NAME.findall(text)
        if not OF_THE_DATABASE.match(name)
    }
    assert {(where, name) for where, name in named if name not in declared} == set()
