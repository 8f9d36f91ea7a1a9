"""Over TLS, and TLS with a password, all works as in plain text; whoever may not come in is told so in a line."""

from __future__ import annotations

import asyncio
import gc
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from pydantic import SecretStr

from fraudstream.cli.main import main
from fraudstream.settings import Settings
from tests.command_line import assert_one_line
from tests.servers.kafka import KafkaCluster
from tests.servers.kafka_security import PASSWORD, PROTOCOLS, USER
from tests.worker import Worker, environment

WRONG = "wrong-Zw4uT8"
EXIT_SETTINGS = 78
ENDS_WITHIN_S = 60.0
ANSWERED_WITHIN_S = 60.0

pytestmark = [
    pytest.mark.slow,
    # A refused client says goodbye over TLS, and the command ends before the broker has answered that.
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]


def over(kafka: KafkaCluster, settings: Settings, protocol: str, **changed: object) -> Settings:
    """Settings for a secure port, with the right password and authority unless changed."""
    secure = {
        "kafka_servers": kafka.secure_bootstrap(protocol),
        "kafka_security_protocol": protocol,
        "kafka_ssl_cafile": kafka.ca_file,
        "kafka_sasl_username": USER,
        "kafka_sasl_password": SecretStr(PASSWORD),
    }
    return settings.model_copy(update={**secure, **changed})


async def run(settings: Settings, *arguments: str) -> Result:
    async with asyncio.timeout(ANSWERED_WITHIN_S):
        result = await asyncio.to_thread(CliRunner().invoke, main, arguments, env=environment(settings))
    gc.collect()  # what it left is found here, not in the next test
    return result


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_commands_and_worker_do_their_work(
    kafka: KafkaCluster, own_settings: Settings, tmp_path: Path, protocol: str
) -> None:
    settings = over(kafka, own_settings, protocol)
    for action in ("create", "check"):
        done = await run(settings, "topics", action)
        assert done.exit_code == 0, done.output
    with Worker(settings, tmp_path) as worker:
        await worker.ready()
        load_file, doctor_file = tmp_path / "load.json", tmp_path / "doctor.json"
        loaded = await run(settings, "load", "--rate", "100", "--seconds", "2", "--json", str(load_file))
        assert loaded.exit_code == 0, loaded.output
        found = json.loads(load_file.read_text())
        assert (found["missed"], found["received"]) == (0, found["sent"]), found
        await run(worker.settings, "doctor", "--json", str(doctor_file))
        checks = {check["name"]: check["status"] for check in json.loads(doctor_file.read_text())["checks"]}
        assert {name: checks[name] for name in ("kafka", "topics", "workers")} == dict.fromkeys(
            ("kafka", "topics", "workers"), "ok"
        )
        assert worker.stop() == 0, worker.tail()
    said = worker.log_text() + loaded.output + doctor_file.read_text()
    assert "Traceback" not in said
    assert PASSWORD not in said


@pytest.mark.parametrize(
    ("protocol", "changed", "words"),
    [
        ("SASL_SSL", {"kafka_sasl_password": SecretStr(WRONG)}, ("SaslAuthenticationFailed", "KAFKA_SASL_PASSWORD")),
        ("SASL_SSL", {"kafka_sasl_mechanism": "PLAIN"}, ("UnsupportedSaslMechanism", "check KAFKA_SASL_MECHANISM")),
        ("SASL_SSL", {"kafka_security_protocol": "SSL"}, ("check KAFKA_SERVERS and KAFKA_SECURITY_PROTOCOL",)),
        ("SSL", {"kafka_ssl_cafile": None}, ("CERTIFICATE_VERIFY_FAILED", "check KAFKA_SSL_CAFILE")),
        ("SSL", {"kafka_security_protocol": "PLAINTEXT"}, ("check KAFKA_SERVERS and KAFKA_SECURITY_PROTOCOL",)),
    ],
)
async def test_who_may_not_come_in_is_told_why_in_one_line(
    kafka: KafkaCluster, own_settings: Settings, protocol: str, changed: dict[str, object], words: tuple[str, ...]
) -> None:
    refused = await run(over(kafka, own_settings, protocol, **changed), "topics", "check")
    assert_one_line(refused, 1, "expected a Kafka broker at", *words)
    assert PASSWORD not in refused.output
    assert WRONG not in refused.output


def test_a_worker_with_a_wrong_password_ends_at_once(
    kafka: KafkaCluster, own_settings: Settings, tmp_path: Path
) -> None:
    settings = over(kafka, own_settings, "SASL_SSL", kafka_sasl_password=SecretStr(WRONG))
    with Worker(settings, tmp_path) as worker:
        assert worker.wait(ENDS_WITHIN_S) == EXIT_SETTINGS, worker.tail()
    log = worker.log_text()
    assert "SaslAuthenticationFailed" in log
    assert "check KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD" in log
    assert "Traceback" not in log
    assert WRONG not in log
