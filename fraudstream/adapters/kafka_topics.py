"""Creates the declared topics on a Kafka broker and checks those that exist; what they must be is said in topics.py."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import IncompatibleBrokerVersion, KafkaError, NoError, TopicAlreadyExistsError, for_code

from fraudstream.adapters.kafka_client import collected_log, kafka_arguments, servers_that_answer, unreachable
from fraudstream.errors import BrokerError, TopicError
from fraudstream.settings import Settings
from fraudstream.topics import FoundTopic, TopicProblem, TopicSpec, declared_topics, find_problems

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 5.0
REQUEST_TIMEOUT_S = 15.0
"""A broker that answers may need a while to create topics: a cluster under load takes seconds."""
LEADERS_POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class TopicOutcome:
    """What `create_topics` did about one topic; `created` is False where it was there already."""

    topic: str
    created: bool

    def __str__(self) -> str:
        return f"topic {self.topic}: {'created' if self.created else 'already there'}"


async def create_topics(settings: Settings, bootstrap: str) -> list[TopicOutcome]:
    """Creates the declared topics that are missing and waits until they can be written; changes none that exist.

    Args:
        bootstrap: HOST:PORT[,HOST:PORT] of the broker.

    Raises:
        BrokerError: the broker cannot be reached, or does not create topics.
        TopicError: the broker refused a topic; all others are created.
    """
    specs = declared_topics(settings)
    async with _admin(settings, bootstrap) as admin:
        await _require_controller(admin, bootstrap)
        response = await admin.create_topics(
            [NewTopic(spec.name, spec.partitions, spec.replication, topic_configs=dict(spec.config)) for spec in specs]
        )
        codes = {name: (for_code(code), message) for name, code, message, *_ in response.topic_errors}
        created = {name for name, (kind, _) in codes.items() if kind is NoError}
        refused = [
            _refusal(settings, name, kind, message)
            for name, (kind, message) in sorted(codes.items())
            if kind not in (NoError, TopicAlreadyExistsError)
        ]
        if refused:
            raise TopicError("; ".join(refused))
        await _wait_for_leaders(admin, created)
    return [TopicOutcome(spec.name, spec.name in created) for spec in specs]


async def delete_topics(settings: Settings, bootstrap: str) -> None:
    """Deletes the declared topics with all they hold: for topics that were made for one run only.

    Raises:
        BrokerError: the broker cannot be reached, or refuses.
    """
    async with _admin(settings, bootstrap) as admin:
        await admin.delete_topics([spec.name for spec in declared_topics(settings)])


async def check_topics(
    settings: Settings, bootstrap: str, specs: Sequence[TopicSpec] | None = None
) -> list[TopicProblem]:
    """What is wrong with topics on this broker; empty when all is well. Creates nothing.

    Args:
        specs: the topics that matter; None: all that are declared.

    Raises:
        BrokerError: the broker cannot be reached.
    """
    specs = declared_topics(settings) if specs is None else specs
    async with _admin(settings, bootstrap) as admin:
        found = await _describe(admin, {spec.name for spec in specs})
    return find_problems(specs, found)


async def describe_topics(settings: Settings, bootstrap: str, names: Iterable[str]) -> dict[str, FoundTopic]:
    """Those of these topics that are there.

    Raises:
        BrokerError: the broker cannot be reached.
    """
    async with _admin(settings, bootstrap) as admin:
        return await _describe(admin, set(names))


@asynccontextmanager
async def _admin(settings: Settings, bootstrap: str) -> AsyncIterator[AIOKafkaAdminClient]:
    """A connected admin client; whatever goes wrong on the way to the broker becomes one BrokerError."""
    with collected_log() as said:
        admin: AIOKafkaAdminClient | None = None
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                admin = AIOKafkaAdminClient(
                    bootstrap_servers=await servers_that_answer(bootstrap),
                    client_id="fraudstream-topics",
                    request_timeout_ms=int(REQUEST_TIMEOUT_S * 1000),
                    **kafka_arguments(settings),
                )
                await admin.start()
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                yield admin
        except TimeoutError:
            raise BrokerError(unreachable(bootstrap, said[0] if said else "no answer in time")) from None
        except (KafkaError, OSError) as error:
            raise BrokerError(unreachable(bootstrap, said[0] if said else str(error))) from None
        finally:
            if admin is not None:
                await admin.close()


async def _require_controller(admin: AIOKafkaAdminClient, bootstrap: str) -> None:
    cluster = await admin.describe_cluster()
    if cluster["controller_id"] not in {broker["node_id"] for broker in cluster["brokers"]}:
        raise BrokerError(
            f"expected a broker that creates topics at {bootstrap}, got one without a controller: if it is the "
            "embedded broker, it makes its topics itself; otherwise wait until the cluster has elected one"
        )


async def _wait_for_leaders(admin: AIOKafkaAdminClient, names: set[str]) -> None:
    """Returns when every partition has a leader: until then producers and consumers get errors."""
    while names:
        topics = {topic["topic"]: topic for topic in await admin.describe_topics()}
        names = {name for name in names if name not in topics or not _has_leaders(topics[name])}
        if names:
            await asyncio.sleep(LEADERS_POLL_S)


def _has_leaders(topic: Mapping[str, Any]) -> bool:
    partitions = topic["partitions"]
    return bool(partitions) and all(partition["leader"] >= 0 for partition in partitions)


async def _describe(admin: AIOKafkaAdminClient, names: set[str]) -> dict[str, FoundTopic]:
    # All topics, not these: a broker with auto.create.topics.enable makes a topic when it is asked for by name.
    partitions = {topic["topic"]: len(topic["partitions"]) for topic in await admin.describe_topics()}
    present = sorted(names & partitions.keys())
    configs = await _describe_configs(admin, present)
    return {name: FoundTopic(name, partitions[name], configs.get(name)) for name in present}


async def _describe_configs(admin: AIOKafkaAdminClient, names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Settings by topic; a topic whose settings the broker does not tell is left out."""
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    try:
        responses = await admin.describe_configs(resources) if resources else []
    except IncompatibleBrokerVersion:
        log.info("the broker does not tell topic settings; only partitions were checked")
        return {}
    configs: dict[str, dict[str, str]] = {}
    for response in responses:
        for code, message, _, name, entries in response.resources:
            if for_code(code) is NoError:
                configs[name] = {entry[0]: entry[1] for entry in entries}
            else:
                log.warning("topic %s: its settings were not checked, the broker said: %s", name, message)
    return configs


def _refusal(settings: Settings, name: str, kind: type[KafkaError], message: str | None) -> str:
    return (
        f"topic {name}: expected to create it with {settings.topic_partitions} partitions in "
        f"{settings.topic_replication} copies (TOPIC_PARTITIONS, TOPIC_REPLICATION), but the broker said: "
        f"{message or kind.__name__}"
    )
