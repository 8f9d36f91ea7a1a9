"""A real Kafka cluster on this machine: one Java process a broker (KRaft), listening on loopback only.

    python -m tests.servers.kafka [--port 9092] [--brokers 1]

runs one in the foreground until Ctrl-C. Records live in a temporary directory and are removed at the end; the brokers'
logs stay there for a look at what went wrong.
"""

from __future__ import annotations

import argparse
import base64
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tests.servers import kafka_security
from tests.servers.foreground import run_until_stopped
from tests.servers.jars import ServerUnavailableError, kafka_jars
from tests.servers.ports import free_ports

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 5.0  # then SIGKILL: the records go anyway
HEAP = "-Xmx512m"
LOG_TAIL_LINES = 15

LOG4J = """\
status = error
appender.file.type = File
appender.file.name = file
appender.file.fileName = {path}
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d %p %c - %m%n
rootLogger.level = {level}
rootLogger.appenderRef.file.ref = file
"""

# Few partitions in the internal topics, no wait for further group members, no topics that nobody declared; and a
# short broker session, because a killed broker may come back only when its old session has ended.
PROPERTIES = """\
process.roles=broker,controller
node.id={node}
controller.quorum.voters={voters}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}{secure}
advertised.listeners=PLAINTEXT://127.0.0.1:{told_port}{secure}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SSL:SSL,SASL_SSL:SASL_SSL
log.dirs={data}
auto.create.topics.enable=false
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=4000
group.initial.rebalance.delay.ms=0
default.replication.factor={copies}
min.insync.replicas={in_sync}
offsets.topic.num.partitions=4
offsets.topic.replication.factor={copies}
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor={copies}
transaction.state.log.min.isr={in_sync}
share.coordinator.state.topic.replication.factor={copies}
share.coordinator.state.topic.min.isr={in_sync}
"""


@dataclass(frozen=True, slots=True)
class _Node:
    number: int
    port: int
    controller_port: int
    secure_ports: dict[str, int]
    directory: Path

    @property
    def properties(self) -> Path:
        return self.directory / "server.properties"

    @property
    def log(self) -> Path:
        return self.directory / "server.log"

    @property
    def output(self) -> Path:
        return self.directory / "output.log"


class KafkaCluster:
    """A cluster of 1 or 3 brokers, from `start` to `stop`, or as a context manager.

    Args:
        brokers: how many; internal topics get as many copies (at most 3).
        port: of the first broker, the others take the next; None: free ports.
        told_port: which clients are told instead, for a line in between (one broker only).
        directory: where records and logs live; None: a new temporary directory.
        log_level: of the brokers' own logs (log4j's words).
        secure: serves TLS, and TLS with SCRAM-SHA-512, on ports of their own too (tests/servers/kafka_security.py).

    Attributes:
        ca_file: what clients of the secure ports must trust.
    """

    def __init__(
        self,
        brokers: int = 1,
        port: int | None = None,
        directory: Path | None = None,
        log_level: str = "WARN",
        told_port: int | None = None,
        *,
        secure: bool = False,
    ) -> None:
        self.directory = directory or Path(tempfile.mkdtemp(prefix="fraudstream-kafka-"))
        self.ca_file = self.directory / "tls" / "ca.pem"
        self._is_secure = secure
        self._nodes = _plan(brokers, port, self.directory, kafka_security.PROTOCOLS if secure else ())
        self._log_level = log_level
        self._told_port = told_port
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._jars = Path()

    @property
    def port(self) -> int:
        """Where the first broker listens."""
        return self._nodes[0].port

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes of the brokers that were started and not killed."""
        return tuple(process.pid for process in self._processes.values())

    def data(self, broker: int = 1) -> Path:
        """Where a broker keeps its logs, a directory for each partition."""
        return self._nodes[broker - 1].directory / "data"

    @property
    def bootstrap(self) -> str:
        """The addresses of all brokers, HOST:PORT[,HOST:PORT]."""
        return ",".join(f"127.0.0.1:{node.port}" for node in self._nodes)

    def secure_bootstrap(self, protocol: str) -> str:
        """The same for SSL or SASL_SSL."""
        return ",".join(f"127.0.0.1:{node.secure_ports[protocol]}" for node in self._nodes)

    def start(self) -> str:
        """Starts all brokers, waits until each answers, and returns `bootstrap`.

        Raises:
            ServerUnavailableError: Java, Maven or a port is missing, or a broker does not come up.
        """
        try:
            _refuse_taken_ports(self._nodes)
            self._jars = kafka_jars()
            self._format()
            for node in self._nodes:
                self._launch(node)
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self.bootstrap

    def stop(self) -> None:
        """Stops all brokers and removes their records; the logs stay in `directory`."""
        for process in self._processes.values():
            process.send_signal(signal.SIGCONT)  # a paused one would not hear the next
            process.terminate()
        for process in self._processes.values():
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes.clear()
        for node in self._nodes:
            shutil.rmtree(node.directory / "data", ignore_errors=True)
        if self.directory.is_dir() and not any(self.directory.iterdir()):  # nothing was started, so there are no logs
            self.directory.rmdir()

    def kill(self, *brokers: int) -> None:
        """Ends brokers with SIGKILL, all at once; they count from 1, and none named is the first."""
        killed = [self._processes.pop(number) for number in brokers or (1,)]
        for process in killed:
            process.kill()
        for process in killed:
            process.wait()

    def revive(self, *brokers: int) -> None:
        """Starts killed brokers again on what they had written, and waits until they serve."""
        for number in brokers or (1,):
            self._launch(self._nodes[number - 1])
        self._wait_until_ready()

    def pause(self, broker: int = 1) -> None:
        """SIGSTOP: the broker stands still and keeps its connections."""
        self._processes[broker].send_signal(signal.SIGSTOP)

    def resume(self, broker: int = 1) -> None:
        """SIGCONT: a paused broker goes on as if no time had passed."""
        self._processes[broker].send_signal(signal.SIGCONT)

    def __enter__(self) -> KafkaCluster:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _format(self) -> None:
        cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
        copies = min(3, len(self._nodes))
        voters = ",".join(f"{node.number}@127.0.0.1:{node.controller_port}" for node in self._nodes)
        security, options = "", tuple[str, ...]()
        if self._is_secure:
            key_store = kafka_security.make_certificates(self.ca_file.parent)
            security, options = kafka_security.PROPERTIES.format(key_store=key_store), kafka_security.FORMAT_OPTIONS
        tools: list[tuple[_Node, subprocess.Popen[bytes]]] = []
        for node in self._nodes:
            node.directory.mkdir(parents=True, exist_ok=True)
            node.properties.write_text(
                PROPERTIES.format(
                    node=node.number,
                    voters=voters,
                    port=node.port,
                    told_port=self._told_port or node.port,
                    controller_port=node.controller_port,
                    secure=kafka_security.listeners(node.secure_ports),
                    data=node.directory / "data",
                    copies=copies,
                    in_sync=max(1, copies - 1),
                )
                + security
            )
            (node.directory / "log4j2.properties").write_text(LOG4J.format(path=node.log, level=self._log_level))
            # One word, because one id in 64 begins with a dash and would be read as an option of its own.
            tool = (
                "kafka.tools.StorageTool",
                "format",
                f"--cluster-id={cluster_id}",
                "-c",
                str(node.properties),
                *options,
            )
            tools.append((node, self._java(node, *tool)))
        for node, process in tools:
            if process.wait(START_TIMEOUT_S) != 0:
                raise ServerUnavailableError(f"broker {node.number} cannot format its storage:\n{_tail(node)}")

    def _launch(self, node: _Node) -> None:
        self._processes[node.number] = self._java(node, "kafka.Kafka", str(node.properties))

    def _java(self, node: _Node, *command: str) -> subprocess.Popen[bytes]:
        logging = f"-Dlog4j2.configurationFile={node.directory / 'log4j2.properties'}"
        with node.output.open("ab") as output:
            return subprocess.Popen(
                ["java", HEAP, logging, "-cp", f"{self._jars}/*", *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for us: we stop the brokers in order
            )

    def _wait_until_ready(self) -> None:
        """Returns when each broker that was not killed answers for itself and knows all the others."""
        deadline = time.monotonic() + START_TIMEOUT_S
        alive = [node for node in self._nodes if node.number in self._processes]
        for node in alive:
            # A client of its own for each: one that knows the cluster would ask whichever broker it likes.
            client = AdminClient(
                {"bootstrap.servers": f"127.0.0.1:{node.port}", "log_level": 0, "reconnect.backoff.max.ms": 200}
            )
            while not _knows(client, len(alive)):
                if self._processes[node.number].poll() is not None:
                    raise ServerUnavailableError(f"broker {node.number} does not run:\n{_tail(node)}")
                if time.monotonic() > deadline:
                    raise ServerUnavailableError(
                        f"expected {len(alive)} brokers at {self.bootstrap} within {START_TIMEOUT_S:.0f} s; "
                        f"their logs are in {self.directory}"
                    )
                time.sleep(0.1)


def _knows(client: AdminClient, brokers: int) -> bool:
    try:
        return len(client.list_topics(timeout=1).brokers) == brokers
    except KafkaException:
        return False


def _plan(brokers: int, port: int | None, directory: Path, secure: tuple[str, ...]) -> tuple[_Node, ...]:
    free = iter(free_ports((2 + len(secure)) * brokers))
    return tuple(
        _Node(
            number,
            next(free) if port is None else port + number - 1,
            next(free),
            {protocol: next(free) for protocol in secure},
            directory / f"broker-{number}",
        )
        for number in range(1, brokers + 1)
    )


def _refuse_taken_ports(nodes: tuple[_Node, ...]) -> None:
    for node in nodes:
        try:
            socket.create_server(("127.0.0.1", node.port)).close()
        except OSError as error:
            raise ServerUnavailableError(f"port {node.port} on 127.0.0.1 cannot be used: {error.strerror}") from None


def _tail(node: _Node) -> str:
    lines = [line for log in (node.output, node.log) if log.exists() for line in log.read_text().splitlines()]
    return "\n".join(lines[-LOG_TAIL_LINES:])


def main() -> int:
    """Runs a cluster in the foreground until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m tests.servers.kafka", description="a real Kafka on loopback")
    parser.add_argument("--port", type=int, default=9092, help="of the first broker (default 9092)")
    parser.add_argument("--brokers", type=int, default=1, choices=(1, 3), help="default 1")
    options = parser.parse_args()
    cluster = KafkaCluster(options.brokers, options.port)
    hint = f"; TOPIC_REPLICATION={options.brokers} makes topics with a copy on each" if options.brokers > 1 else ""
    return run_until_stopped(
        cluster,
        lambda running: f"Kafka listens on {running.bootstrap}{hint} (Ctrl-C stops)",
        f"Kafka stopped; its logs are in {cluster.directory}",
    )


if __name__ == "__main__":
    sys.exit(main())
