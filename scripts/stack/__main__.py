"""Runs docker/compose.yaml without containers until Ctrl-C: `python -m scripts.stack`. `make stack` calls it.

Kafka, Redis, PostgreSQL and Prometheus are this machine's own programs; settings, commands, order of start and restart
policies are those of the compose file. Memory and processor limits are not applied, and Grafana is left out.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import shutil
import signal
import sys
import threading
from pathlib import Path
from typing import TextIO

from scripts.deploy_local import COMPOSE, ENV, ROOT, passwords
from scripts.stack.compose import ComposeError, Places, read_services
from scripts.stack.native import missing_programs, runs_natively
from scripts.stack.supervise import POLL_S, Part, Stack
from tests.servers.jars import ServerUnavailableError

FOLDER = ROOT / ".cache" / "stack"


def main(arguments: list[str]) -> int:
    """Runs until it is told to stop; returns 0, or 1 where a part cannot run."""
    options = _options(arguments)
    told_to_stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: told_to_stop.set())
    try:
        declared = read_services(COMPOSE, os.environ | passwords(ENV))
        places = Places(declared, options.folder / "volumes", options.free_ports)
        services = [service for service in declared.values() if runs_natively(service)]
        missing = missing_programs(services)
        if missing:
            raise ServerUnavailableError("\n".join(missing))
        for service in declared.values():
            if not runs_natively(service):
                print(f"{service.name:<13} left out   there is no program for {service.image} outside a container")
        options.folder.mkdir(parents=True, exist_ok=True)
        with (options.folder / "lock").open("w") as lock:
            _hold(lock)
            for left in ("parts", "volumes") if options.fresh else ():
                shutil.rmtree(options.folder / left, ignore_errors=True)
            return _run(Stack(services, places, options.folder / "parts", _say), options, told_to_stop)
    except (ComposeError, ServerUnavailableError) as error:
        print(f"stack: {error}", file=sys.stderr)
        return 1


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m scripts.stack", description="the whole system without containers")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="logs and data; default .cache/stack, kept")
    parser.add_argument("--fresh", action="store_true", help="remove what an earlier run left in the folder")
    parser.add_argument("--free-ports", action="store_true", help="take free ports in place of the compose file's")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the state of each part in this file")
    options = parser.parse_args(arguments)
    options.folder = options.folder.absolute()
    return options


def _hold(lock: TextIO) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise ServerUnavailableError(
            f"another stack runs on {Path(lock.name).parent}; stop it, or name another --folder"
        ) from None


def _run(stack: Stack, options: argparse.Namespace, told_to_stop: threading.Event) -> int:
    was_up, seen = False, None
    try:
        while not told_to_stop.wait(POLL_S):
            stack.step()
            if stack.failed:
                return 1
            now = [(part.state, part.pid) for part in stack.parts.values()]
            if options.json and now != seen:
                stack.write_json(options.json)
                seen = now
            if stack.is_up and not was_up:
                print(f"all parts are up; logs: {options.folder / 'parts'} (Ctrl-C stops)", flush=True)
            was_up = stack.is_up
        return 0
    finally:
        print("stopping", flush=True)
        stack.stop()


def _say(part: Part, why: str) -> None:
    """One line, whenever a part's state changes."""
    address = part.places.address(part.service.name)
    print(f"{part.service.name:<13} {part.state:<10} {address:<15} {why}".rstrip(), flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
