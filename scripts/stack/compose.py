"""Reads a compose file: what each service is, and where it is when all of them are processes on loopback.

Only what docker/compose.yaml uses is understood; anything else in its place is an error, not a guess.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.servers.ports import free_port

LOOPBACK = "127.0.0.1"
DEFAULT_GRACE_S = 10.0
COMPLETED = "service_completed_successfully"
HEALTHY = "service_healthy"

_VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")
_ADDRESS = re.compile(r"(?P<host>(?:[a-z][a-z0-9-]*|(?:\d+\.){3}\d+)|(?<=//)):(?P<port>\d+)\b")
_OWN_ADDRESS = frozenset({"", "0.0.0.0", LOOPBACK, "localhost"})  # noqa: S104  replaced, not listened at


class ComposeError(ValueError):
    """The compose file cannot be run here; says what was expected and what to do."""


@dataclass(frozen=True, slots=True)
class Service:
    """One service of the file.

    Attributes:
        ports: container port -> port of this machine.
        volumes: path in the container -> name of a volume, or a path of this machine (absolute).
        needs: service -> condition under which this one may start.
        restart: no, always, unless-stopped or on-failure[:TIMES].
    """

    name: str
    image: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    ports: Mapping[int, int]
    volumes: Mapping[str, str]
    needs: Mapping[str, str]
    restart: str
    grace_s: float


def read_services(path: Path, variables: Mapping[str, str]) -> dict[str, Service]:
    """The services that start without a profile, those that others need first.

    Args:
        variables: what `${NAME}` stands for.

    Raises:
        ComposeError: the file needs a variable that is not there.
    """
    declared = yaml.safe_load(_filled_in(path.read_text(encoding="utf-8"), variables))["services"]
    services = {name: _service(name, parts, path.parent) for name, parts in declared.items() if "profiles" not in parts}
    ordered: dict[str, Service] = {}
    while len(ordered) < len(services):
        ready = [one for one in services.values() if one.name not in ordered and ordered.keys() >= one.needs.keys()]
        if not ready:
            raise ComposeError(f"{path}: expected depends_on without a circle")
        ordered |= {one.name: one for one in ready}
    return ordered


def _filled_in(text: str, variables: Mapping[str, str]) -> str:
    def value(found: re.Match[str]) -> str:
        name, kind, rest = found.groups()
        if variables.get(name):
            return variables[name]
        if kind == "?":
            raise ComposeError(f"{name}: {rest}")
        return rest or ""

    return _VARIABLE.sub(value, text)


def _service(name: str, parts: Mapping[str, Any], folder: Path) -> Service:
    return Service(
        name=name,
        image=parts["image"],
        command=tuple(map(str, parts.get("command", ()))),
        environment={key: str(value) for key, value in parts.get("environment", {}).items()},
        ports=dict(_published(port) for port in parts.get("ports", ())),
        volumes=dict(_mounted(volume, folder) for volume in parts.get("volumes", ())),
        needs={other: how["condition"] for other, how in parts.get("depends_on", {}).items()},
        restart=parts.get("restart", "no"),
        grace_s=float(str(parts.get("stop_grace_period", DEFAULT_GRACE_S)).removesuffix("s")),
    )


def _published(port: str) -> tuple[int, int]:
    address, published, inside = port.split(":")
    if address != LOOPBACK:
        raise ComposeError(f"{port}: expected a port of {LOOPBACK}")
    return int(inside), int(published)


def _mounted(volume: str, folder: Path) -> tuple[str, str]:
    source, inside = volume.removesuffix(":ro").split(":")
    return inside, str((folder / source).resolve()) if source.startswith(".") else source


@dataclass
class Places:
    """Where things are when no container holds them: ports on loopback, volumes in a folder.

    Attributes:
        volumes: the folder of all named volumes.
        free_ports: take free ports in place of the file's, so that several stacks run on one machine.
    """

    services: Mapping[str, Service]
    volumes: Path
    free_ports: bool = False
    _taken: dict[tuple[str, int], int] = field(default_factory=dict)

    def port(self, service: str, inside: int) -> int:
        """The port on this machine: the published one, else the container's own number."""
        at = (service, inside)
        if at not in self._taken:
            self._taken[at] = free_port() if self.free_ports else self.services[service].ports.get(inside, inside)
        return self._taken[at]

    def address(self, service: str) -> str:
        """HOST:PORT of a service: what it publishes, else what others were told; empty where it has none."""
        told = (inside for name, inside in self._taken if name == service)
        inside = next(iter(self.services[service].ports), next(told, None))
        return "" if inside is None else f"{LOOPBACK}:{self.port(service, inside)}"

    def path(self, service: Service, text: str) -> str:
        """Text with paths in the container's volumes replaced by those of this machine."""
        for inside, source in service.volumes.items():
            here = source if source.startswith("/") else str(self.volumes / source)
            text = here.join(re.split(rf"(?<![\w./-]){re.escape(inside)}(?![\w.-])", text))
        return text

    def here(self, service: Service, text: str) -> str:
        """Text of the service (a setting, an argument, a line of configuration) as it must read on this machine."""

        def moved(found: re.Match[str]) -> str:
            host, port = found["host"], int(found["port"])
            if host in self.services:
                return f"{LOOPBACK}:{self.port(host, port)}"
            return f"{LOOPBACK}:{self.port(service.name, port)}" if host in _OWN_ADDRESS else found[0]

        return self.path(service, _ADDRESS.sub(moved, text))

    def environment(self, service: Service) -> dict[str, str]:
        """The service's own variables as they must be on this machine."""
        return {name: self._setting(service, name, value) for name, value in service.environment.items()}

    def _setting(self, service: Service, name: str, value: str) -> str:
        if name.endswith("_PORT"):
            return str(self.port(service.name, int(value)))
        return LOOPBACK if value in _OWN_ADDRESS and value else self.here(service, value)
