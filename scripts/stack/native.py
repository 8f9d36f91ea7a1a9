"""How each kind of image is run as a process of this machine: what is prepared, what is started, when it is ready."""

from __future__ import annotations

import http.client
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from scripts.stack.compose import LOOPBACK, Places, Service
from tests.servers.jars import ServerUnavailableError, kafka_jars
from tests.servers.kafka import LOG4J
from tests.servers.postgres import program, server_user

PROBE_TIMEOUT_S = 1.0
PREPARE_TIMEOUT_S = 60.0
NOT_KAFKA_SETTINGS = frozenset({"KAFKA_HEAP_OPTS"})
DEBIAN_PACKAGES = {"redis-server": "redis-server", "prometheus": "prometheus"}


@dataclass(frozen=True, slots=True)
class Launch:
    """A process to start.

    Attributes:
        environment: beside this process's own.
        user: whose it is; None: this process's.
        is_ready: asks it once.
    """

    command: list[str]
    is_ready: Callable[[], bool]
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None


def runs_natively(service: Service) -> bool:
    """Whether there is a way to run it without its image."""
    return _kind(service) in _KINDS


def missing_programs(services: Iterable[Service]) -> list[str]:
    """What this machine lacks to run the services, one line each with the package that has it; fetches Kafka's jars."""
    problems = []
    for kind in {_kind(service) for service in services}:
        try:
            _NEEDED[kind]()
        except ServerUnavailableError as error:
            problems.append(str(error))
    return sorted(problems)


def prepare(service: Service, places: Places, folder: Path) -> Launch:
    """Makes what the service needs before it starts, and says how it is started.

    Args:
        folder: for its configuration and its log; volumes are where `places` says.

    Raises:
        ServerUnavailableError: this machine lacks a program, or a first step fails; says what to do.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for source in service.volumes.values():
        if not source.startswith("/"):
            (places.volumes / source).mkdir(parents=True, exist_ok=True)
    for inside in service.ports:
        _refuse_taken_port(service, places.port(service.name, inside))
    return _KINDS[_kind(service)](service, places, folder)


def _kind(service: Service) -> str:
    return service.image.partition(":")[0]


def _fraudstream(service: Service, places: Places, _folder: Path) -> Launch:
    command = [places.here(service, part) for part in service.command]
    command[0] = str(Path(sys.executable).with_name(command[0]))
    return Launch(command, _answers_at(places.address(service.name), "/health"), places.environment(service))


def _redis(service: Service, places: Places, folder: Path) -> Launch:
    port = places.port(service.name, 6379)
    command = [_program("redis-server"), *service.command[1:]]

    def is_ready() -> bool:
        try:
            with socket.create_connection((LOOPBACK, port), PROBE_TIMEOUT_S) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(5) == b"+PONG"
        except OSError:
            return False

    return Launch([*command, "--port", str(port), "--bind", LOOPBACK, "--dir", str(folder)], is_ready)


def _postgres(service: Service, places: Places, folder: Path) -> Launch:
    (source,) = service.volumes.values()
    data, port, user = places.volumes / source, places.port(service.name, 5432), server_user()
    name, database = service.environment["POSTGRES_USER"], service.environment["POSTGRES_DB"]
    if not (data / "PG_VERSION").exists():
        password = folder / "password"
        password.write_text(service.environment["POSTGRES_PASSWORD"])
        password.chmod(0o600)
        if user is not None:
            shutil.chown(data, user)
            shutil.chown(password, user)
        words = f"-U {name} -A scram-sha-256 --pwfile {password} -E UTF8 --locale C --no-instructions".split()
        _run([str(program("initdb")), "-D", str(data), *words], user, data)
        password.unlink()
        single = [str(program("postgres")), "--single", "-D", str(data), "postgres"]
        if database != "postgres":
            _run(single, user, data, f'CREATE DATABASE "{database}"\n')
    options = (f"port={port}", f"listen_addresses={LOOPBACK}", "unix_socket_directories=")
    command = [str(program("postgres")), "-D", str(data), *(f"-c{option}" for option in options)]
    ask = [str(program("pg_isready")), "-q", "-h", LOOPBACK, "-p", str(port), "-U", name, "-d", database]
    return Launch(command, lambda: subprocess.run(ask, check=False).returncode == 0, user=user)


def _kafka(service: Service, places: Places, folder: Path) -> Launch:
    jars = kafka_jars()
    environment = places.environment(service)
    data = Path(environment["KAFKA_LOG_DIRS"])
    settings = {
        name.removeprefix("KAFKA_").lower().replace("_", "."): value
        for name, value in environment.items()
        if name.startswith("KAFKA_") and name not in NOT_KAFKA_SETTINGS
    }
    properties = folder / "server.properties"
    properties.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    log4j = folder / "log4j2.properties"
    log4j.write_text(LOG4J.format(path=folder / "server.log", level="WARN"))
    heap = environment.get("KAFKA_HEAP_OPTS", "").split()
    java = ["java", *heap, f"-Dlog4j2.configurationFile={log4j}", "-cp", f"{jars}/*"]
    if not (data / "meta.properties").exists():
        cluster = f"--cluster-id={environment['CLUSTER_ID']}"
        _run([*java, "kafka.tools.StorageTool", "format", cluster, "-c", str(properties)], None, folder)
    client = AdminClient({"bootstrap.servers": places.address(service.name), "log_level": 0})

    def is_ready() -> bool:
        try:
            return bool(client.list_topics(timeout=PROBE_TIMEOUT_S).brokers)
        except KafkaException:
            return False

    return Launch([*java, "kafka.Kafka", str(properties)], is_ready)


def _prometheus(service: Service, places: Places, folder: Path) -> Launch:
    inside = "/etc/prometheus/prometheus.yml"
    written = folder / "prometheus.yml"
    written.write_text(places.here(service, Path(service.volumes[inside]).read_text(encoding="utf-8")))
    command = [places.here(service, part.replace(inside, str(written))) for part in service.command]
    ready = _answers_at(places.address(service.name), "/-/ready")
    return Launch([_program("prometheus"), *command], ready)


_KINDS: dict[str, Callable[[Service, Places, Path], Launch]] = {
    "apache/kafka": _kafka,
    "fraudstream": _fraudstream,
    "postgres": _postgres,
    "prom/prometheus": _prometheus,
    "redis": _redis,
}


_NEEDED: dict[str, Callable[[], object]] = {
    "apache/kafka": kafka_jars,
    "fraudstream": lambda: None,
    "postgres": lambda: (program("initdb"), server_user()),
    "prom/prometheus": lambda: _program("prometheus"),
    "redis": lambda: _program("redis-server"),
}


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise ServerUnavailableError(f"`{name}` is missing: apt-get install {DEBIAN_PACKAGES[name]}")
    return found


def _run(command: list[str], user: str | None, folder: Path, text: str = "") -> None:
    done = subprocess.run(
        command,
        input=text,
        capture_output=True,
        text=True,
        user=user,
        cwd=folder,
        timeout=PREPARE_TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        raise ServerUnavailableError(f"{Path(command[0]).name} failed:\n{done.stdout}{done.stderr}")


def _refuse_taken_port(service: Service, port: int) -> None:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((LOOPBACK, port))
        except OSError as error:
            raise ServerUnavailableError(
                f"port {port} of {LOOPBACK}, which {service.name} needs: {error.strerror}; "
                "stop what listens there, or take free ports (--free-ports)"
            ) from None


def _answers_at(address: str, path: str) -> Callable[[], bool]:
    def is_ready() -> bool:
        connection = http.client.HTTPConnection(address, timeout=PROBE_TIMEOUT_S)
        try:
            connection.request("GET", path)
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    return is_ready
