"""Runs docker/compose.yaml by Docker: `python3 scripts/deploy_local.py up` (or `down`). `make deploy-local` calls it.

It makes docker/.env with passwords of this machine's own, once; nothing has a password that others could know. It may
import the standard library only.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COMPOSE = ROOT / "docker" / "compose.yaml"
ENV = ROOT / "docker" / ".env"
PASSWORDS = ("POSTGRES_PASSWORD", "GRAFANA_PASSWORD")
WITHOUT_CONTAINERS = "`make stack` runs the same on this machine without containers"

UP = """\
predict     curl -X POST http://127.0.0.1:8000/predict -H 'Content-Type: application/json' -d '{{"transaction_id":"t1",\
"user_id":"u1","amount":45.67,"merchant":"Starbucks"}}'
console     http://127.0.0.1:8010/
Kafka       127.0.0.1:9092
Prometheus  http://127.0.0.1:9090
Grafana     http://127.0.0.1:3000  (admin, {grafana})
`make check-deployment` checks it, `make deploy-local-down` stops it and keeps its data."""


class DeployError(Exception):
    """What is missing or failed and what to do about it."""


def main(arguments: list[str]) -> int:
    """Starts or stops; returns the exit code."""
    parser = argparse.ArgumentParser(prog="deploy_local.py", description="docker/compose.yaml by Docker")
    parser.add_argument("action", choices=("up", "down"))
    options, more = parser.parse_known_args(arguments)
    try:
        docker_compose_answers()
        variables = passwords(ENV)
        if options.action == "down":
            compose("down", *more)
            return 0
        compose("up", "--build", "--detach", "--wait", *more)
    except DeployError as error:
        print(f"deploy-local: {error}", file=sys.stderr)
        return 1
    print(UP.format(grafana=variables["GRAFANA_PASSWORD"]))
    return 0


def docker_compose_answers() -> None:
    """Returns where Docker can be used here.

    Raises:
        DeployError: says what is missing.
    """
    if shutil.which("docker") is None:
        raise DeployError(
            "`docker` is missing: install Docker Engine with its compose plugin (Debian: docker.io and "
            f"docker-compose-plugin or docker-compose); {WITHOUT_CONTAINERS}"
        )
    for command, wrong in (
        (("docker", "compose", "version"), "Docker's compose plugin is missing: install docker-compose-plugin"),
        (("docker", "info"), "the Docker daemon does not answer: start it, or ask for the right to use it"),
    ):
        asked = subprocess.run(command, capture_output=True, text=True, check=False)
        if asked.returncode != 0:
            said = (asked.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise DeployError(f"{wrong} (`{' '.join(command)}`: {said}); {WITHOUT_CONTAINERS}")


def passwords(path: Path) -> dict[str, str]:
    """The passwords that `path` holds; those that are missing are made and kept there, for its owner alone."""
    held = dict(
        line.split("=", 1)
        for line in (path.read_text(encoding="utf-8").splitlines() if path.exists() else ())
        if "=" in line and not line.startswith("#")
    )
    missing = {name: secrets.token_hex(16) for name in PASSWORDS if not held.get(name)}
    if missing:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "a", encoding="utf-8") as file:
            file.writelines(f"{name}={value}\n" for name, value in missing.items())
    return held | missing


def compose(*arguments: str) -> None:
    """Runs `docker compose` on the file, its output shown as it comes.

    Raises:
        DeployError: it failed.
    """
    command = ["docker", "compose", "--file", str(COMPOSE), *arguments]
    if subprocess.run(command, check=False).returncode != 0:
        raise DeployError(
            f"`docker compose {arguments[0]}` failed, the lines above say why; "
            f"logs: docker compose --file {COMPOSE.relative_to(ROOT)} logs SERVICE"
        )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
