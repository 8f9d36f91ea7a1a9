"""docker/: the compose file is what it says, and what is missing on a machine is told in a line."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from fraudstream.settings import Settings
from scripts.deploy_local import PASSWORDS, passwords
from scripts.stack.compose import ComposeError, Places, read_services
from scripts.stack.native import runs_natively
from tests.checkout import ROOT

DOCKER = ROOT / "docker"
COMPOSE = DOCKER / "compose.yaml"
FILES = (COMPOSE, DOCKER / "compose.three-brokers.yaml")
VARIABLES = dict.fromkeys(PASSWORDS, "secret")
IMAGE = re.compile(r"[a-z]+(/[a-z]+)?:v?\d+(\.\d+)+(-[a-z]+)?|fraudstream(-load)?:local")
CONTAINER_PATHS_OF_IMAGES = ("/prometheus",)


class Tagged(yaml.SafeLoader):
    """Reads compose's `!override` as the value behind it."""


def overriding(loader: yaml.SafeLoader, node: yaml.SequenceNode) -> list[Any]:
    found: list[Any] = loader.construct_sequence(node, deep=True)
    return found


Tagged.add_constructor("!override", overriding)


def parsed(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), Tagged)  # noqa: S506  a safe loader
    return found


def services(path: Path = COMPOSE) -> dict[str, Any]:
    found: dict[str, Any] = parsed(path)["services"]
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_compose_files_fit_the_schema_of_the_compose_specification(path: Path) -> None:
    schema = json.loads((ROOT / "tests/vendored/compose/compose-spec.json").read_text(encoding="utf-8"))
    validator = jsonschema_rs.validator_for(schema)
    assert [str(error) for error in validator.iter_errors(parsed(path))] == []
    assert not validator.is_valid({"services": {"worker": {"port": []}}})


def test_each_variable_of_our_own_services_is_a_setting() -> None:
    names = {name.upper() for name in Settings.model_fields}
    own = {name: parts for name, parts in services().items() if parts["image"].startswith("fraudstream")}
    assert {"worker", "audit", "api", "topics", "audit-tables", "load"} == set(own)
    for name, parts in own.items():
        assert set(parts["environment"]) <= names, name


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_each_port_is_published_on_loopback_and_each_once(path: Path) -> None:
    ports = [port for parts in services(path).values() for port in parts.get("ports", ())]
    assert ports
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []
    assert len({port.split(":")[1] for port in ports}) == len(ports)


def test_each_file_that_is_mounted_exists() -> None:
    sources = [volume.split(":")[0] for parts in services().values() for volume in parts.get("volumes", ())]
    paths = [DOCKER / source for source in sources if source.startswith(".")]
    assert len(paths) >= 4
    assert [path for path in paths if not path.exists()] == []
    assert {source for source in sources if not source.startswith(".")} == set(parsed(COMPOSE)["volumes"])


def test_each_image_has_a_short_name_and_an_exact_version() -> None:
    images = [parts["image"] for parts in services().values()]
    assert [image for image in images if not IMAGE.fullmatch(image)] == []


def test_each_service_is_hardened_limited_and_without_a_password_of_everybodys() -> None:
    for name, parts in services().items():
        assert parts["cap_drop"] == ["ALL"], name
        assert parts["security_opt"] == ["no-new-privileges:true"], name
        assert parts["read_only"] if name != "kafka" else "read_only" not in parts, name
        assert {"cpus", "memory", "pids"} == set(parts["deploy"]["resources"]["limits"]), name
        secrets = {key: value for key, value in parts.get("environment", {}).items() if "PASSWORD" in key}
        assert all(value.startswith("${") and ":?" in value for value in secrets.values()), name
        assert parts.get("user", "1") != "root"


def test_no_password_no_stack() -> None:
    with pytest.raises(ComposeError, match="make deploy-local"):
        read_services(COMPOSE, {})


def test_passwords_are_made_once_for_their_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    made = passwords(path)
    assert set(made) == set(PASSWORDS)
    assert len(set(made.values())) == len(PASSWORDS)
    assert path.stat().st_mode & 0o777 == 0o600
    assert passwords(path) == made
    assert passwords(tmp_path / "other") != made


def test_the_stack_runs_every_service_but_grafana_on_loopback_from_the_same_settings(tmp_path: Path) -> None:
    found = read_services(COMPOSE, VARIABLES)
    assert [service.name for service in found.values() if not runs_natively(service)] == ["grafana"]
    places = Places(found, tmp_path)
    worker = places.environment(found["worker"])
    assert worker.keys() == found["worker"].environment.keys()
    assert worker["KAFKA_SERVERS"] == "127.0.0.1:19092"
    assert worker["POSTGRES_URL"] == "postgresql://fraudstream:secret@127.0.0.1:5432/fraudstream"
    assert (worker["WEB_HOST"], worker["WEB_PORT"]) == ("127.0.0.1", "8010")
    assert worker["DATA_DIR"] == str(tmp_path / "worker-data")
    assert places.environment(found["kafka"])["KAFKA_LISTENERS"] == (
        "INTERNAL://127.0.0.1:19092,CONTROLLER://127.0.0.1:19093,HOST://127.0.0.1:9092"
    )
    assert places.here(found["prometheus"], "--storage.tsdb.path=/prometheus") == (
        f"--storage.tsdb.path={tmp_path / 'prometheus-data'}"
    )


def test_free_ports_are_one_for_each_address(tmp_path: Path) -> None:
    found = read_services(COMPOSE, VARIABLES)
    places = Places(found, tmp_path, free_ports=True)
    told = places.environment(found["api"])["KAFKA_SERVERS"]
    assert told == places.environment(found["audit"])["KAFKA_SERVERS"] != "127.0.0.1:19092"
    assert f"INTERNAL://{told}" in places.environment(found["kafka"])["KAFKA_LISTENERS"]


@pytest.mark.parametrize(
    ("script", "arguments", "present", "said"),
    [
        ("deploy_local.py", ["up"], {}, "`docker` is missing: install Docker Engine"),
        ("deploy_local.py", ["up"], {"docker": "exit 1"}, "Docker's compose plugin is missing"),
        (
            "deploy_local.py",
            ["up"],
            {"docker": 'test "$1" = compose || { echo no daemon >&2; exit 1; }'},
            "the Docker daemon does not answer: start it, or ask for the right to use it (`docker info`: no daemon)",
        ),
        ("deploy_k8s.py", [], {}, "`kubectl` is missing"),
        ("deploy_k8s.py", [], {"kubectl": "exit 0"}, "`helm` is missing: install helm 3"),
    ],
)
def test_what_is_missing_is_told_in_a_line(
    tmp_path: Path, script: str, arguments: list[str], present: dict[str, str], said: str
) -> None:
    for name, text in present.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / script), *arguments],
        env={**os.environ, "PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    if script == "deploy_local.py":
        assert "`make stack` runs the same on this machine without containers" in done.stderr


def test_the_stack_names_the_package_of_a_missing_program(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "scripts.stack", "--folder", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    for package in ("redis-server", "prometheus", "openjdk-17-jre-headless"):
        assert package in done.stderr
    assert "Traceback" not in done.stderr
