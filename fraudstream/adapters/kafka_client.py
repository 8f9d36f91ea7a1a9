"""What every Kafka client needs: Settings as aiokafka's keyword arguments, and a clear word when nobody answers."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError

from fraudstream.adapters import kafka_connections, kafka_records
from fraudstream.errors import BrokerError, SettingsError
from fraudstream.settings import Settings

TCP_TIMEOUT_S = 2.0
ANSWER_TIMEOUT_S = 5.0
MAX_PORT = 65_535

_CHECK = "KAFKA_SERVERS and KAFKA_SECURITY_PROTOCOL, and that the broker runs"
_CHECKS = {
    "SaslAuthenticationFailed": "KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD",
    "UnsupportedSaslMechanism": "KAFKA_SASL_MECHANISM",
    "CERTIFICATE_VERIFY_FAILED": "KAFKA_SSL_CAFILE and the names in the broker's certificate",
}
"""What to look at, by the client's word for what went wrong."""
_CONNECTION = re.compile(r":? <AIOKafkaConnection [^>]*>")

kafka_connections.install()
kafka_records.install()


def kafka_arguments(settings: Settings) -> dict[str, Any]:
    """Security arguments that every aiokafka producer, consumer and admin client takes (not the bootstrap servers).

    Without KAFKA_SERVERS the embedded broker serves, which speaks PLAINTEXT and nothing else.

    Raises:
        SettingsError: the CA bundle cannot be read.
    """
    if settings.kafka_servers is None:
        return {"security_protocol": "PLAINTEXT"}
    arguments: dict[str, Any] = {"security_protocol": settings.kafka_security_protocol}
    context = tls_context(settings)
    if context is not None:
        arguments["ssl_context"] = context
    if settings.kafka_security_protocol.startswith("SASL"):
        password = settings.kafka_sasl_password
        arguments |= {
            "sasl_mechanism": settings.kafka_sasl_mechanism,
            "sasl_plain_username": settings.kafka_sasl_username,
            "sasl_plain_password": password.get_secret_value() if password else None,
        }
    return arguments


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """The TLS context (certificates and host names are verified), or None where the protocol has no TLS.

    Raises:
        SettingsError: the CA bundle cannot be read.
    """
    if settings.kafka_servers is None or not settings.kafka_security_protocol.endswith("SSL"):
        return None
    try:
        return ssl.create_default_context(cafile=settings.kafka_ssl_cafile)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(
            f"KAFKA_SSL_CAFILE={settings.kafka_ssl_cafile}: expected a readable file of CA certificates in PEM, "
            f"got {error.strerror or error}"
        ) from None


async def servers_that_answer(bootstrap: str) -> list[str]:
    """Those of the bootstrap servers that take a connection: aiokafka would wait long for each one that is dead.

    Raises:
        SettingsError: the address is not HOST:PORT[,HOST:PORT].
        BrokerError: no server takes a connection.
    """
    servers = {server.strip(): _host_and_port(server.strip()) for server in bootstrap.split(",")}
    failures = await asyncio.gather(*(_failure_to_connect(host, port) for host, port in servers.values()))
    answering = [server for server, failure in zip(servers, failures, strict=True) if failure is None]
    if not answering:
        raise BrokerError(unreachable(bootstrap, ", ".join(dict.fromkeys(map(str, failures)))))
    return answering


async def broker_answers(settings: Settings, bootstrap: str) -> bool:
    """Whether any of the servers really answers; one that only takes connections does not."""
    with collected_log():
        client = AIOKafkaClient(bootstrap_servers=bootstrap, client_id="fraudstream-probe", **kafka_arguments(settings))
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                await client.bootstrap()
        except (KafkaError, OSError, TimeoutError):
            return False
        finally:
            await client.close()
    return True


@contextmanager
def collected_log() -> Iterator[list[str]]:
    """Keeps what aiokafka logs instead of printing it: it logs the reason of a failure and raises without it."""
    collector, logger = _Collector(), logging.getLogger("aiokafka")
    _collectors.append(collector)
    logger.addHandler(collector)
    logger.propagate = False
    try:
        yield collector.said
    finally:
        logger.removeHandler(collector)
        _collectors.remove(collector)
        logger.propagate = not _collectors  # others may be collecting, and may end later


def is_collected() -> bool:
    """Whether somebody wants to hear all that aiokafka logs."""
    return bool(_collectors)


def unreachable(bootstrap: str, said: str) -> str:
    """The sentence that every command says about a broker it cannot talk to."""
    check = next((check for word, check in _CHECKS.items() if word in said), _CHECK)
    return f"expected a Kafka broker at {bootstrap}, got: {_CONNECTION.sub('', said)}; check {check}"


class _Collector(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if text.endswith(": ") and isinstance(record.args, tuple):
            text += type(record.args[-1]).__name__  # a connection cut in the handshake has no text, only a kind
        self.said.append(text)


_collectors: list[_Collector] = []


def _host_and_port(server: str) -> tuple[str, int]:
    host, _, port = server.rpartition(":")
    if not host or not port.isdecimal() or int(port) > MAX_PORT:
        raise SettingsError(f"KAFKA_SERVERS: expected HOST:PORT[,HOST:PORT], got {server!r}")
    return host.strip("[]"), int(port)


async def _failure_to_connect(host: str, port: int) -> str | None:
    """Why no connection stands, in the system's words; None if one does."""
    try:
        async with asyncio.timeout(TCP_TIMEOUT_S):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return f"no answer within {TCP_TIMEOUT_S:.0f} s"
    except OSError as error:
        # asyncio calls every reason "Connect call failed"; errors of name look-up have a negative number.
        return os.strerror(error.errno) if error.errno is not None and error.errno > 0 else error.strerror or str(error)
    writer.close()
    return None
