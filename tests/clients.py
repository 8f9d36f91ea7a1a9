"""Runs the example clients of docs/examples/clients as their readers do: as programs, told where by the environment."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from fraudstream.settings import Settings
from tests.worker import CHECKOUT, environment

DIRECTORY = CHECKOUT / "docs" / "examples" / "clients"
RUNS_AT_MOST_S = 120.0


def run_client(
    name: str, *arguments: str, settings: Settings, lines: bytes = b"", tools: Path | None = None
) -> list[str]:
    """Runs a client to its end; returns the lines that it printed.

    Args:
        name: of its file.
        settings: where the broker is and what the topics are called.
        lines: what it gets on stdin.
        tools: directory of Kafka's console tools, where it uses them.
    """
    found = environment(settings)
    if tools is not None:
        found |= {"PATH": f"{tools}{os.pathsep}{found['PATH']}"}
    program = [sys.executable] if name.endswith(".py") else []
    ended = subprocess.run(
        [*program, str(DIRECTORY / name), *arguments],
        env=found,
        input=lines,
        capture_output=True,
        timeout=RUNS_AT_MOST_S,
        check=False,
    )
    said = ended.stderr.decode(errors="replace")
    assert ended.returncode == 0, f"{name} ended with {ended.returncode}:\n{said}"
    return ended.stdout.decode().splitlines()
