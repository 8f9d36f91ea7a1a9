"""Fixtures that tests of every kind may ask for: the brokers, and settings with topics of the test's own."""

from __future__ import annotations

import fcntl
import os
import uuid
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

from fraudstream.adapters.embedded_broker import EmbeddedBroker
from fraudstream.errors import BrokerError
from fraudstream.settings import Settings, load_settings
from tests.servers.jars import ServerUnavailableError

if TYPE_CHECKING:
    from playwright.async_api import Browser

    from tests.servers.kafka import KafkaCluster
    from tests.servers.kubernetes.cluster import KubernetesCluster
    from tests.servers.postgres import PostgresServer
    from tests.servers.redis import RedisServer

SERVERS = frozenset({"browser", "kafka", "postgres", "redis"})
"""Fixtures of what is installed beside Python: servers, and the browser."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever asks for a real server is marked so, and cannot be forgotten."""
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        if not SERVERS.isdisjoint(fixtures):
            item.add_marker(pytest.mark.servers)
        if "kubernetes" in fixtures:
            item.add_marker(pytest.mark.kubernetes)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """A test marked `alone` waits for those in other processes (pytest-xdist), and they wait for it."""
    folder = item.config.cache.mkdir("turns")
    with (folder / "queue").open("w") as queue, (folder / "room").open("w") as room:
        fcntl.flock(queue, fcntl.LOCK_EX)  # whoever waits for the room is the next to enter
        fcntl.flock(room, fcntl.LOCK_EX if item.get_closest_marker("alone") else fcntl.LOCK_SH)
        fcntl.flock(queue, fcntl.LOCK_UN)
        return (yield)


@pytest.fixture
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting comes from the machine's environment."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaCluster]:
    """A real Kafka broker, one for the whole run; use topics of your own (`own_settings`)."""
    from tests.servers.kafka import KafkaCluster

    try:
        cluster = KafkaCluster(directory=tmp_path_factory.mktemp("kafka"), secure=True)
        cluster.start()
    except ServerUnavailableError as error:
        missing(str(error))
    yield cluster
    cluster.stop()


@pytest.fixture(scope="session")
def kubernetes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubernetesCluster]:
    """A real Kubernetes control plane with simulated nodes, one for the whole run; use a namespace of your own."""
    from tests.servers.kubernetes.cluster import KubernetesCluster

    cluster = KubernetesCluster(directory=tmp_path_factory.mktemp("kubernetes"))
    try:
        cluster.start()
    except ServerUnavailableError as error:
        missing(str(error))
    yield cluster
    cluster.stop()


@pytest.fixture
def own_namespace(kubernetes: KubernetesCluster) -> Iterator[str]:
    """The name of an empty namespace under the restricted Pod Security Standard, removed after the test."""
    name = kubernetes.create_namespace(f"t{uuid.uuid4().hex[:8]}")
    yield name
    kubernetes.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A real PostgreSQL, one for the whole run; use a database of your own (`own_database`)."""
    from tests.servers.postgres import PostgresServer

    server = PostgresServer()
    try:
        server.start()
    except ServerUnavailableError as error:
        missing(str(error))
    yield server
    server.stop()


@pytest.fixture
def own_database(postgres: PostgresServer) -> str:
    """The administrator's URL of an empty database that no other test uses."""
    return postgres.create_database(f"t{uuid.uuid4().hex[:8]}")


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """A real Chromium, one for each test."""
    from tests.servers.browser import chromium_browser

    try:
        async with chromium_browser() as started:
            yield started
    except ServerUnavailableError as error:
        missing(str(error))


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A real Redis, one for each test: it may be killed and started again."""
    from tests.servers.redis import RedisServer

    server = RedisServer(directory=tmp_path)
    try:
        server.start()
    except ServerUnavailableError as error:
        missing(str(error))
    yield server
    server.end()


@pytest.fixture
def embedded_broker() -> Iterator[EmbeddedBroker]:
    """An embedded broker without topics, one for each test."""
    try:
        broker = EmbeddedBroker()
        broker.start()
    except BrokerError as error:
        missing(str(error))
    yield broker
    broker.stop()


@pytest.fixture
def own_settings(monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings whose topics and consumer group no other test uses, whatever the environment says."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
        monkeypatch.delenv(f"{name.upper()}_FILE", raising=False)
    own = f"t{uuid.uuid4().hex[:8]}"
    return load_settings(
        app_id=own,
        transactions_topic=f"{own}-transactions",
        verdicts_topic=f"{own}-verdicts",
        alerts_topic=f"{own}-alerts",
        dead_letters_topic=f"{own}-dead-letters",
        labels_topic=f"{own}-labels",
    )


def missing(reason: str) -> NoReturn:
    """Skips a test whose server this machine lacks; where CI is set every server must be there, so it fails."""
    if os.environ.get("CI"):
        pytest.fail(f"{reason} (CI is set, so no server may be missing)", pytrace=False)
    pytest.skip(reason)
