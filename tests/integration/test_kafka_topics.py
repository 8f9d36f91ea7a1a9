"""Creating and checking topics on a real broker, and what is said when there is none."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Iterator

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from pydantic import SecretStr

from fraudstream.adapters.kafka_topics import check_topics, create_topics
from fraudstream.errors import BrokerError, SettingsError, TopicError
from fraudstream.settings import Settings
from fraudstream.topics import DEAD_LETTER_MAX_BYTES, changelog_topic, declared_topics, replayed_topic, worker_topics
from tests.checker import until
from tests.servers.kafka import KafkaCluster

MIB = 1024 * 1024
WITHIN_S = 30.0


async def create_by_hand(kafka: KafkaCluster, name: str, partitions: int, **config: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    configs = {option.replace("_", "."): value for option, value in config.items()}
    await admin.create_topics([NewTopic(name, partitions, 1, topic_configs=configs)])
    await admin.close()

    async def is_told() -> bool:
        return name in await topics_on(kafka)

    await until(is_told, WITHIN_S, f"{name}, which the broker made, among its topics")


async def topics_on(kafka: KafkaCluster) -> set[str]:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    names = set(await admin.list_topics())
    await admin.close()
    return names


@pytest.fixture
def deaf_port() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def closed_port() -> int:
    """A port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


async def test_topics_that_were_created_pass_the_check(kafka: KafkaCluster, own_settings: Settings) -> None:
    outcomes = await create_topics(own_settings, kafka.bootstrap)
    assert {outcome.topic for outcome in outcomes if outcome.created} == {
        *own_settings.topic_names,
        own_settings.labels_topic,
        changelog_topic(own_settings),
        replayed_topic(own_settings),
    }
    assert await check_topics(own_settings, kafka.bootstrap) == []


async def test_a_created_topic_can_be_written_at_once(kafka: KafkaCluster, own_settings: Settings) -> None:
    await create_topics(own_settings, kafka.bootstrap)
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap) as producer:
        sent = [await producer.send(spec.name, b"{}", key=b"u", partition=3) for spec in declared_topics(own_settings)]
        assert [record.offset for record in await asyncio.gather(*sent)] == [0] * len(sent)


async def test_a_dead_letter_of_one_mib_with_its_headers_is_taken(kafka: KafkaCluster, own_settings: Settings) -> None:
    await create_topics(own_settings, kafka.bootstrap)
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, max_request_size=DEAD_LETTER_MAX_BYTES) as producer:
        record = await producer.send_and_wait(
            own_settings.dead_letters_topic, bytes(MIB), key=b"user", headers=[("detail", bytes(32 * 1024))]
        )
    assert record.offset == 0


async def test_creating_topics_twice_changes_nothing(kafka: KafkaCluster, own_settings: Settings) -> None:
    await create_topics(own_settings, kafka.bootstrap)
    again = await create_topics(own_settings, kafka.bootstrap)
    assert [outcome.created for outcome in again] == [False] * len(declared_topics(own_settings))
    assert await check_topics(own_settings, kafka.bootstrap) == []


async def test_creating_topics_fills_in_what_is_missing_and_leaves_the_rest_alone(
    kafka: KafkaCluster, own_settings: Settings
) -> None:
    await create_by_hand(kafka, own_settings.transactions_topic, 6)
    outcomes = await create_topics(own_settings, kafka.bootstrap)
    assert [outcome.topic for outcome in outcomes if not outcome.created] == [own_settings.transactions_topic]
    [problem] = await check_topics(own_settings, kafka.bootstrap)
    assert (problem.topic, problem.wrong) == (own_settings.transactions_topic, "expected 4 partitions, found 6")


async def test_checking_finds_every_missing_topic_and_creates_none(kafka: KafkaCluster, own_settings: Settings) -> None:
    before = await topics_on(kafka)
    problems = await check_topics(own_settings, kafka.bootstrap)
    assert [problem.wrong for problem in problems] == ["missing"] * len(declared_topics(own_settings))
    assert await topics_on(kafka) == before


async def test_a_worker_does_without_labels_and_what_was_replayed(kafka: KafkaCluster, own_settings: Settings) -> None:
    for spec in worker_topics(own_settings):
        await create_by_hand(kafka, spec.name, 4, **{key.replace(".", "_"): text for key, text in spec.config.items()})
    assert await check_topics(own_settings, kafka.bootstrap, worker_topics(own_settings)) == []
    problems = await check_topics(own_settings, kafka.bootstrap)
    missing = {problem.topic for problem in problems if problem.wrong == "missing"}
    assert missing == {own_settings.labels_topic, replayed_topic(own_settings)}


async def test_a_changelog_that_deletes_and_a_dead_letter_topic_too_small_are_found(
    kafka: KafkaCluster, own_settings: Settings
) -> None:
    await create_by_hand(kafka, changelog_topic(own_settings), 4)
    await create_by_hand(kafka, own_settings.dead_letters_topic, 4, cleanup_policy="delete")
    await create_topics(own_settings, kafka.bootstrap)
    problems = await check_topics(own_settings, kafka.bootstrap, worker_topics(own_settings))
    wrong = {problem.topic: problem.wrong for problem in problems}
    assert wrong == {
        changelog_topic(own_settings): "expected cleanup.policy=compact, found delete",
        own_settings.dead_letters_topic: "expected max.message.bytes>=2097152, found 1048588",
    }


async def test_more_copies_than_brokers_are_refused_in_the_brokers_words(
    kafka: KafkaCluster, own_settings: Settings
) -> None:
    settings = own_settings.model_copy(update={"topic_replication": 3})
    with pytest.raises(TopicError, match=r"TOPIC_REPLICATION.*[Rr]eplication factor"):
        await create_topics(settings, kafka.bootstrap)


async def test_one_dead_bootstrap_server_does_not_hide_the_living_one(
    kafka: KafkaCluster, own_settings: Settings, closed_port: int
) -> None:
    servers = f"127.0.0.1:{closed_port},{kafka.bootstrap}"
    assert len(await create_topics(own_settings, servers)) == len(declared_topics(own_settings))


@pytest.mark.parametrize("ask", [create_topics, check_topics])
async def test_a_broker_that_is_not_there_is_named_in_one_quiet_sentence(
    own_settings: Settings, closed_port: int, capfd: pytest.CaptureFixture[str], ask: type
) -> None:
    started = time.monotonic()
    with pytest.raises(BrokerError, match=rf"127\.0\.0\.1:{closed_port}, got: Connection refused; check KAFKA_SERVERS"):
        await ask(own_settings, f"127.0.0.1:{closed_port}")
    assert time.monotonic() - started < 5
    assert capfd.readouterr() == ("", "")


async def test_a_server_that_takes_connections_but_is_no_broker_is_given_up_within_its_time(
    own_settings: Settings, deaf_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    started = time.monotonic()
    with caplog.at_level(logging.WARNING), pytest.raises(BrokerError, match="no answer in time"):
        await check_topics(own_settings, f"127.0.0.1:{deaf_port}")
    assert time.monotonic() - started < 6
    assert caplog.records == []


@pytest.mark.parametrize(
    ("protocol", "reason"),
    [("SSL", r"(Connection\w*Error|SSL\w*Error|SSL)"), ("SASL_PLAINTEXT", "IllegalSaslStateError")],
)
async def test_a_client_of_another_protocol_hears_the_reason_once_and_quietly(
    kafka: KafkaCluster, own_settings: Settings, caplog: pytest.LogCaptureFixture, protocol: str, reason: str
) -> None:
    settings = own_settings.model_copy(
        update={"kafka_servers": kafka.bootstrap, "kafka_security_protocol": protocol}
        | {"kafka_sasl_username": "scorer", "kafka_sasl_password": SecretStr("secret")}
    )
    with (
        caplog.at_level(logging.WARNING),
        pytest.raises(BrokerError, match=rf'got: Unable connect to "[^"]+": .*{reason}.*; check .*_SECURITY_PROTOCOL'),
    ):
        await check_topics(settings, kafka.bootstrap)
    assert caplog.records == []


@pytest.mark.parametrize("address", ["localhost", "127.0.0.1:port", "127.0.0.1:99999", ":9092", ""])
async def test_an_address_that_is_no_address_is_a_wrong_setting(own_settings: Settings, address: str) -> None:
    with pytest.raises(SettingsError, match=r"KAFKA_SERVERS: expected HOST:PORT"):
        await check_topics(own_settings, address)


async def test_a_host_that_does_not_exist_is_named(own_settings: Settings) -> None:
    with pytest.raises(BrokerError, match=r"no-such-host\.invalid:9092, got: .*(not known|resolution|no answer)"):
        await check_topics(own_settings, "no-such-host.invalid:9092")
