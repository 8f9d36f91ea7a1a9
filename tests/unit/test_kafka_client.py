"""How settings become the arguments of a Kafka client: what is protected stays protected."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from fraudstream.adapters.kafka_client import kafka_arguments, servers_that_answer, tls_context
from fraudstream.errors import BrokerError, SettingsError
from fraudstream.settings import Settings


def with_broker(settings: Settings, protocol: str, **more: Any) -> Settings:
    return settings.model_copy(
        update={"kafka_servers": "kafka:9092", "kafka_security_protocol": protocol}
        | {"kafka_sasl_username": "scorer", "kafka_sasl_password": SecretStr("secret")}
        | more
    )


def test_the_embedded_broker_is_spoken_to_in_plaintext_whatever_is_set_for_a_real_one(own_settings: Settings) -> None:
    settings = with_broker(own_settings, "SASL_SSL", kafka_servers=None)
    assert kafka_arguments(settings) == {"security_protocol": "PLAINTEXT"}
    assert tls_context(settings) is None


def test_credentials_are_given_only_where_the_protocol_asks_for_them(own_settings: Settings) -> None:
    assert kafka_arguments(with_broker(own_settings, "PLAINTEXT")) == {"security_protocol": "PLAINTEXT"}
    assert "sasl_plain_password" not in kafka_arguments(with_broker(own_settings, "SSL"))
    assert kafka_arguments(with_broker(own_settings, "SASL_PLAINTEXT")) == {
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "scorer",
        "sasl_plain_password": "secret",
    }


@pytest.mark.parametrize("protocol", ["SSL", "SASL_SSL"])
def test_tls_verifies_certificates_and_host_names(own_settings: Settings, protocol: str) -> None:
    context = kafka_arguments(with_broker(own_settings, protocol))["ssl_context"]
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED


@pytest.mark.parametrize("content", [None, "this is no certificate"])
def test_a_ca_bundle_that_cannot_be_read_is_named_with_its_setting(
    own_settings: Settings, tmp_path: Path, content: str | None
) -> None:
    bundle = tmp_path / "ca.pem"
    if content is not None:
        bundle.write_text(content)
    with pytest.raises(SettingsError, match=rf"KAFKA_SSL_CAFILE={bundle}: expected a readable file"):
        kafka_arguments(with_broker(own_settings, "SSL", kafka_ssl_cafile=bundle))


async def test_only_servers_that_take_a_connection_are_asked_further() -> None:
    with socket.create_server(("127.0.0.1", 0)) as alive:
        address = f"127.0.0.1:{alive.getsockname()[1]}"
        assert await servers_that_answer(f"{closed_address()}, {address}") == [address]


async def test_when_no_server_answers_all_of_them_are_named_with_the_reason() -> None:
    servers = f"{closed_address()},{closed_address()}"
    with pytest.raises(BrokerError, match=f"expected a Kafka broker at {servers}, got: Connection refused; "):
        await servers_that_answer(servers)


def closed_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"
