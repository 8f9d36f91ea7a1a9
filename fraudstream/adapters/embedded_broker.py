"""The embedded broker: librdkafka's mock cluster inside this process, for trying out and for tests.

It comes in the confluent-kafka wheel, speaks the real protocol on a loopback port, and starts in milliseconds. It is
driven through librdkafka's own C functions, because confluent-kafka's setting `test.mock.num.brokers` reaches neither
the number of partitions (always 4) nor the three seconds that a consumer group waits for its first members.

What it is not:

- It keeps everything in memory and forgets it when it stops. Of each partition it keeps the newest 5 MiB; older
  records are dropped silently, read or not, whatever the topic's cleanup policy.
- It stores no transactions: aborted records stay readable, every reader reads uncommitted, offsets that were sent
  with a transaction are not kept, and a stalled producer is not fenced.
- It knows no CreateTopics and no DescribeConfigs: `create_topic` makes a topic, and a topic that a client merely asks
  for appears with 4 partitions.
- Its consumer groups are simple: after a member that died without leaving, the others wait for its session timeout.
"""

from __future__ import annotations

import ctypes
from types import TracebackType
from typing import Any

from fraudstream.errors import BrokerError, TopicError

NEWEST_LIBRDKAFKA = (2, 14)
"""Since 2.15 the mock cluster ends a transaction with a marker whose checksum is wrong, and aiokafka stops there."""

_PRODUCER = 0  # RD_KAFKA_PRODUCER: the mock cluster needs some client to live in
_CONF_OK = 0  # RD_KAFKA_CONF_OK
_TOPIC_ALREADY_EXISTS = 36
_ERROR_BYTES = 512
# Errors only: the client that hosts the cluster has no brokers, and would say so at each start.
_CLIENT_CONF = {b"log_level": b"3"}

_POINTER = ctypes.c_void_p
_SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "rd_kafka_conf_new": (_POINTER, []),
    "rd_kafka_conf_set": (
        ctypes.c_int,
        [_POINTER, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t],
    ),
    "rd_kafka_new": (_POINTER, [ctypes.c_int, _POINTER, ctypes.c_char_p, ctypes.c_size_t]),
    "rd_kafka_destroy": (None, [_POINTER]),
    "rd_kafka_err2str": (ctypes.c_char_p, [ctypes.c_int]),
    "rd_kafka_mock_cluster_new": (_POINTER, [_POINTER, ctypes.c_int]),
    "rd_kafka_mock_cluster_destroy": (None, [_POINTER]),
    "rd_kafka_mock_cluster_bootstraps": (ctypes.c_char_p, [_POINTER]),
    "rd_kafka_mock_group_initial_rebalance_delay_ms": (None, [_POINTER, ctypes.c_int32]),
    "rd_kafka_mock_topic_create": (ctypes.c_int, [_POINTER, ctypes.c_char_p, ctypes.c_int, ctypes.c_int]),
}


class EmbeddedBroker:
    """A broker in this process, from `start` to `stop`, or as a context manager.

    >>> with EmbeddedBroker() as broker:  # doctest: +SKIP
    ...     broker.create_topic("transactions", partitions=4)
    ...     print(broker.bootstrap)
    127.0.0.1:43711
    """

    def __init__(self) -> None:
        self._library: ctypes.CDLL | None = None
        self._client: int | None = None
        self._cluster: int | None = None
        self._bootstrap = ""
        self._partitions: dict[str, int] = {}

    def start(self) -> str:
        """Starts the broker and returns its address, HOST:PORT; a broker that runs already just tells it.

        Raises:
            BrokerError: confluent-kafka is not installed, or of a version that does not serve.
        """
        if self._cluster is not None:
            return self._bootstrap
        library = _load_librdkafka()
        client = _new_client(library)
        cluster = library.rd_kafka_mock_cluster_new(client, 1)
        if not cluster:
            library.rd_kafka_destroy(client)
            raise BrokerError("expected the embedded broker to start, but it found no free port on 127.0.0.1")
        library.rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, 0)
        self._library, self._client, self._cluster = library, client, cluster
        self._bootstrap = library.rd_kafka_mock_cluster_bootstraps(cluster).decode()
        return self._bootstrap

    def stop(self) -> None:
        """Stops the broker and forgets all topics; harmless when it does not run."""
        if self._library is not None:
            self._library.rd_kafka_mock_cluster_destroy(self._cluster)
            self._library.rd_kafka_destroy(self._client)
        self._library = self._client = self._cluster = None
        self._bootstrap = ""
        self._partitions.clear()

    def __enter__(self) -> EmbeddedBroker:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def bootstrap(self) -> str:
        """The address for any Kafka client, HOST:PORT; empty while the broker does not run."""
        return self._bootstrap

    def create_topic(self, name: str, partitions: int) -> bool:
        """Makes a topic; False if it was made before with as many partitions.

        Raises:
            BrokerError: the broker does not run.
            TopicError: the topic exists with another number of partitions, or the number is none.
        """
        if self._library is None:
            raise BrokerError(f"expected a running embedded broker for topic {name}; call start() first")
        if partitions < 1:
            raise TopicError(f"topic {name}: expected at least 1 partition, got {partitions}")
        if self._partitions.get(name) == partitions:
            return False
        code = self._library.rd_kafka_mock_topic_create(self._cluster, name.encode(), partitions, 1)
        if code == _TOPIC_ALREADY_EXISTS:
            found = self._partitions.get(name)
            raise TopicError(
                f"topic {name}: expected to create it with {partitions} partitions, but it exists "
                + (f"with {found}" if found else "already (a client asked for it; create topics before clients start)")
            )
        if code:
            raise TopicError(
                f"topic {name}: expected to create it with {partitions} partitions, but the embedded broker said: "
                f"{self._library.rd_kafka_err2str(code).decode()}"
            )
        self._partitions[name] = partitions
        return True


def _load_librdkafka() -> ctypes.CDLL:
    try:
        from confluent_kafka import cimpl, libversion
    except ImportError:
        raise BrokerError(
            "the embedded broker needs confluent-kafka, which is not installed: pip install 'fraudstream[demo]', "
            "or set KAFKA_SERVERS to a Kafka broker"
        ) from None
    version = libversion()[0]
    if tuple(int(part) for part in version.split(".")[:2]) > NEWEST_LIBRDKAFKA:
        newest = ".".join(map(str, NEWEST_LIBRDKAFKA))
        raise BrokerError(
            f"the embedded broker needs confluent-kafka up to {newest} (later ones mark the end of a transaction with "
            f"a wrong checksum), got {version}: pip install 'fraudstream[demo]', or set KAFKA_SERVERS to a Kafka broker"
        )
    try:
        # The extension module is linked to librdkafka, so its handle finds librdkafka's functions too.
        library = ctypes.CDLL(cimpl.__file__)
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except (AttributeError, OSError) as error:
        raise BrokerError(
            f"the embedded broker does not run on this platform (confluent-kafka {version}: {error}): "
            "set KAFKA_SERVERS to a Kafka broker"
        ) from None
    return library


def _new_client(library: ctypes.CDLL) -> int:
    error = ctypes.create_string_buffer(_ERROR_BYTES)
    conf = library.rd_kafka_conf_new()
    for name, value in _CLIENT_CONF.items():
        if library.rd_kafka_conf_set(conf, name, value, error, _ERROR_BYTES) != _CONF_OK:
            raise BrokerError(f"the embedded broker cannot be configured: {error.value.decode()}")
    client = library.rd_kafka_new(_PRODUCER, conf, error, _ERROR_BYTES)
    if not client:
        raise BrokerError(f"the embedded broker cannot start: {error.value.decode()}")
    return int(client)
