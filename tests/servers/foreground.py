"""Servers of tests in a terminal."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TypeVar

from tests.servers.jars import ServerUnavailableError

Server = TypeVar("Server")


def run_until_stopped(
    server: AbstractContextManager[Server], started: Callable[[Server], str], stopped: str = ""
) -> int:
    """Runs a server until SIGINT or SIGTERM, says when it is up and when it is down, and gives the exit code."""
    # Both signals raise KeyboardInterrupt, so that a server that is still starting is stopped too. SIGINT is named
    # because a shell starts its background jobs with SIGINT ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        with server as running:
            print(started(running), flush=True)
            while True:
                signal.pause()
    except ServerUnavailableError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        if stopped:
            print(stopped)
    return 0
