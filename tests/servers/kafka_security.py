"""TLS and SCRAM listeners for brokers of tests: an authority and a certificate for one run, made by openssl."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.servers.jars import ServerUnavailableError

PROTOCOLS = ("SSL", "SASL_SSL")
USER = "scorer"
PASSWORD = "loopback-only-7Gq"

VALID_DAYS = "2"
CA_EXTENSIONS = ("basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign")
SERVER_EXTENSIONS = ("basicConstraints=critical,CA:FALSE", "subjectAltName=IP:127.0.0.1,DNS:localhost")

PROPERTIES = """\
ssl.keystore.type=PEM
ssl.keystore.location={key_store}
sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
"""

FORMAT_OPTIONS = ("--add-scram", f"SCRAM-SHA-512=[name={USER},password={PASSWORD}]")
"""With which Kafka's storage tool makes USER known to a new cluster."""


def listeners(ports: Mapping[str, int]) -> str:
    """To be added to a broker's `listeners`."""
    return "".join(f",{protocol}://127.0.0.1:{port}" for protocol, port in ports.items())


def make_certificates(directory: Path) -> Path:
    """Makes ca.pem, which clients must trust, and a broker's key and certificate in one file, which it returns.

    Raises:
        ServerUnavailableError: openssl is missing, or refuses.
    """
    directory.mkdir(parents=True, exist_ok=True)
    _certify(directory / "ca", "an authority of tests", CA_EXTENSIONS)
    authority = ("-CA", str(directory / "ca.pem"), "-CAkey", str(directory / "ca.key"))
    _certify(directory / "broker", "127.0.0.1", SERVER_EXTENSIONS, *authority)
    key_store = directory / "keystore.pem"
    key_store.write_text((directory / "broker.key").read_text() + (directory / "broker.pem").read_text())
    return key_store


def _certify(path: Path, name: str, extensions: tuple[str, ...], *authority: str) -> None:
    if shutil.which("openssl") is None:
        raise ServerUnavailableError("openssl is missing (Debian: openssl)")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", VALID_DAYS, "-subj", f"/CN={name}"]
    command += ["-keyout", str(path.with_suffix(".key")), "-out", str(path.with_suffix(".pem")), *authority]
    for extension in extensions:
        command += ["-addext", extension]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode != 0:
        raise ServerUnavailableError(f"openssl makes no certificate: {made.stderr.strip()}")
