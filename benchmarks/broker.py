"""What the measuring side does with the broker: topics, records in, committed offsets and verdicts out."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import msgspec
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from benchmarks.checks import Found
from benchmarks.process_figures import cpu_s
from fraudstream.errors import BrokerError
from fraudstream.settings import Settings
from fraudstream.topics import changelog_topic
from tests.servers.jars import KAFKA_VERSION
from tests.servers.kafka import KafkaCluster

REQUEST_TIMEOUT_S = 30.0
READ_RECORDS = 10_000
INTERNAL_TOPICS = ("__consumer_offsets", "__transaction_state")
RETRY_S = 0.1
ON_THE_MOVE = (KafkaError.NOT_COORDINATOR, KafkaError.COORDINATOR_LOAD_IN_PROGRESS)
"""What a broker says that has just been started: a moment later it answers."""


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the records are: of this machine, or somebody else's.

    Attributes:
        bootstrap: HOST:PORT[,HOST:PORT].
        cluster: None where the broker was there before.
    """

    bootstrap: str
    cluster: KafkaCluster | None = None

    @property
    def title(self) -> str:
        """What a report calls it."""
        if self.cluster is None:
            return "the Kafka of KAFKA_SERVERS"
        return f"one Kafka {KAFKA_VERSION} broker on the same machine"

    def cpu_s(self) -> float | None:
        """User and system time of all brokers together; None where they cannot be seen."""
        return None if self.cluster is None else sum(map(cpu_s, self.cluster.pids))

    def log_bytes(self, settings: Settings) -> Counter[str]:
        """Size of the logs, all copies, by what is in them (`BrokerUse.log_bytes`); topics of other groups left out."""
        found = Counter[str]()
        for number in range(1, 1 + len(self.cluster.pids) if self.cluster else 1):
            assert self.cluster is not None
            # Only what is looked for is opened: the folders of the case before are being deleted meanwhile.
            for folder in self.cluster.data(number).iterdir():
                topic = folder.name.rpartition("-")[0]
                if settings.app_id in topic or topic in INTERNAL_TOPICS:
                    found[_content_of(topic, settings)] += sum(log.stat().st_size for log in folder.glob("*.log"))
        return found


def _content_of(topic: str, settings: Settings) -> str:
    names = {
        settings.transactions_topic: "transactions",
        settings.verdicts_topic: "verdicts",
        settings.alerts_topic: "alerts",
        settings.dead_letters_topic: "dead-letters",
    }
    return names.get(topic, "internal" if topic in INTERNAL_TOPICS else "state")


@contextmanager
def running_broker(brokers: int = 1) -> Iterator[Broker]:
    """The broker of KAFKA_SERVERS where it is set, else one started here on a free port, or so many.

    Raises:
        ServerUnavailableError: this machine cannot run a broker; says what is missing.
    """
    given = os.environ.get("KAFKA_SERVERS")
    if given:
        yield Broker(given)
        return
    with KafkaCluster(brokers) as cluster:
        yield Broker(cluster.bootstrap, cluster)


def produce(settings: Settings, messages: Sequence[tuple[bytes, bytes]]) -> None:
    """Writes the records to the transactions topic as fast as they go, and returns when the broker has all of them.

    Raises:
        BrokerError: a record was not acknowledged.
    """
    problems: list[str] = []
    producer = Producer(
        {
            **_client(settings),
            "partitioner": "murmur2_random",  # as Java's and aiokafka's clients place a key
            "linger.ms": 20,
            "queue.buffering.max.messages": len(messages) + 1,
            "enable.idempotence": True,
        }
    )
    for key, value in messages:
        producer.produce(
            settings.transactions_topic,
            value,
            key,
            on_delivery=lambda error, _message: problems.append(str(error)) if error else None,
        )
    left = producer.flush(REQUEST_TIMEOUT_S)
    if left or problems:
        raise BrokerError(
            f"expected {len(messages)} records to be acknowledged, got {left} without an answer and "
            f"{len(problems)} refused ({problems[0] if problems else 'no reason given'})"
        )


class Offsets:
    """How far the group of a case has committed."""

    def __init__(self, settings: Settings) -> None:
        # A consumer that never joins its group only asks; the admin client's futures crashed the interpreter once.
        self._client = Consumer(
            {
                **_client(settings),
                "group.id": settings.app_id,
                "enable.auto.commit": False,
                "isolation.level": "read_uncommitted",  # answers at once, also while a transaction is open
            }
        )
        self._partitions = _partitions(settings, settings.transactions_topic)

    def committed(self) -> int:
        """Records committed in all partitions together; the topic holds nothing but records, so offsets count them.

        Raises:
            BrokerError: the broker does not answer.
        """
        deadline_s = time.monotonic() + REQUEST_TIMEOUT_S
        while (found := self._ask(time.monotonic() > deadline_s)) is None:
            time.sleep(RETRY_S)
        return sum(max(partition.offset, 0) for partition in found)

    def _ask(self, is_late: bool) -> list[TopicPartition] | None:
        try:
            return self._client.committed(self._partitions, REQUEST_TIMEOUT_S)
        except KafkaException as error:
            if error.args[0].code() in ON_THE_MOVE and not is_late:
                return None
            raise BrokerError(f"expected the committed offsets of the case's group, got {error}") from None

    def close(self) -> None:
        """Lets the client go."""
        self._client.close()


class Written:
    """How many verdicts a case has written, for one that commits no offsets."""

    def __init__(self, settings: Settings) -> None:
        self._client = Consumer({**_client(settings), "group.id": f"{settings.app_id}-written"})
        self._partitions = _partitions(settings, settings.verdicts_topic)

    def committed(self) -> int:
        """Verdicts in all partitions together; without transactions the topic holds nothing but records.

        Raises:
            BrokerError: the broker does not answer.
        """
        try:
            ends = [self._client.get_watermark_offsets(one, REQUEST_TIMEOUT_S)[1] for one in self._partitions]
        except KafkaException as error:
            raise BrokerError(f"expected the ends of the topic of verdicts, got {error}") from None
        return sum(ends)

    def close(self) -> None:
        """Lets the client go."""
        self._client.close()


def read_verdicts(settings: Settings) -> list[Found]:
    """Every verdict that a read_committed reader sees, in the order of reading, which is that of writing for a user."""
    reader = Consumer(
        {
            **_client(settings),
            "group.id": f"{settings.app_id}-check",
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
        }
    )
    decode = msgspec.json.Decoder(Found).decode
    found: list[Found] = []
    try:
        reader.assign(_partitions(settings, settings.verdicts_topic, at=0))
        unread = set(range(settings.topic_partitions))
        while unread:
            messages = reader.consume(READ_RECORDS, timeout=REQUEST_TIMEOUT_S)
            if not messages:
                raise BrokerError(f"expected verdicts in {settings.verdicts_topic}, got no answer from the broker")
            for message in messages:
                error, value = message.error(), message.value()
                if error is None and value is not None:
                    found.append(decode(value))
                elif error is not None and error.code() == KafkaError._PARTITION_EOF:
                    unread.discard(message.partition())
                else:
                    raise BrokerError(f"expected verdicts in {settings.verdicts_topic}, got {error}")
    finally:
        reader.close()
    return found


def delete_topics(settings: Settings) -> None:
    """Removes every topic of the case, with those that its library made for itself."""
    admin = AdminClient(_client(settings))
    found = admin.list_topics(timeout=REQUEST_TIMEOUT_S).topics
    own = [name for name in found if settings.app_id in name]
    for deleted in admin.delete_topics(own).values() if own else ():
        deleted.result(REQUEST_TIMEOUT_S)


async def keep_changelog(settings: Settings, bootstrap: str) -> None:
    """The changelog stays as it is written for a week: nothing is compacted while something is measured."""
    kept = {"cleanup.policy": "compact", "min.compaction.lag.ms": str(7 * 86_400_000)}
    client = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await client.start()
    await client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, changelog_topic(settings), kept)])
    await client.close()


def _client(settings: Settings) -> dict[str, str | int | float | bool]:
    return {"bootstrap.servers": settings.kafka_servers or "", "log_level": 0}  # what matters comes as an error


def _partitions(settings: Settings, topic: str, at: int | None = None) -> list[TopicPartition]:
    numbers = range(settings.topic_partitions)
    if at is None:
        return [TopicPartition(topic, number) for number in numbers]
    return [TopicPartition(topic, number, at) for number in numbers]
