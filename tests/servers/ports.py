"""Ports for servers of tests."""

from __future__ import annotations

import os
import random
import socket

FIRST, LAST = 10_000, 30_000
"""Below the ports that Linux gives to outgoing connections: one of those could take a port before its server does, or
while it is down."""


def free_ports(count: int) -> list[int]:
    """Ports on loopback that nobody uses now, all different, and not those that a test process beside this one gets."""
    found: set[int] = set()
    while len(found) < count:
        port = _NUMBERS.randrange(FIRST + _OWN_PART, LAST, _PARTS)
        if _is_free(port):
            found.add(port)
    return list(found)


def free_port() -> int:
    """One such port."""
    return free_ports(1)[0]


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


# Test processes that run side by side (pytest-xdist names them gw0, gw1, ...) never look at the same port.
_PARTS = max(int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")), 1)
_OWN_PART = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_NUMBERS = random.Random()
