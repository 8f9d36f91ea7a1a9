"""`fraudstream api`: answers over HTTP in a process without Faust, from the profiles that workers leave in Redis."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from types import FrameType

import click

from fraudstream.settings import Settings, load_settings

ALONE = 1


@click.command()
@click.option("--processes", type=click.IntRange(ALONE, 64), default=ALONE, help="How many share the port (default 1).")
def api(processes: int) -> None:
    """Answers over HTTP until it is stopped: the worker's routes, without a worker.

    Profiles come from Redis, where workers leave copies at each checkpoint, so a backlog in the stream slows no answer.
    While Redis is down, answers go on from this process' own copies. What it does is set by environment variables (see
    `fraudstream doctor`). Of several processes one that ends by itself ends them all, with exit code 1.
    """
    settings = load_settings()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    if settings.redis_host is None:
        click.echo("fraudstream: no REDIS_HOST: nobody's profile is known here, for trying out", err=True)
    if processes == ALONE:
        serve(settings)
        return
    raise SystemExit(supervise(processes))


def supervise(processes: int) -> int:
    """Runs so many processes until they are told to stop; one that ends unasked ends them all.

    Fewer would answer more slowly and nobody would know; whoever started them starts all anew.

    Returns:
        The exit code: 0 where all ended when they were told to and in order, else 1.
    """
    # Before torch is loaded: its threads do not survive a fork, so each child is a process of its own from the start.
    command = [sys.executable, "-m", "fraudstream.cli.main", "api"]
    children = {child.pid: child for child in (subprocess.Popen(command) for _ in range(processes))}
    stopping = False

    def stop(number: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True
        for child in children.values():
            child.send_signal(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    exit_code = 0
    while children:
        pid, status = os.wait()
        # It was reaped here, so Popen would ask for it in vain.
        ended_with = children.pop(pid).returncode = os.waitstatus_to_exitcode(status)
        if not stopping:
            click.echo(f"fraudstream: process {pid} ended by itself ({ended_with}): the others are stopped", err=True)
            exit_code = 1
            stop(signal.SIGTERM, None)
        elif ended_with not in (0, -signal.SIGINT, -signal.SIGTERM):  # told to stop while it still started
            exit_code = 1
    return exit_code


def serve(settings: Settings) -> None:
    """One process, until it is told to stop."""
    import uvloop

    from fraudstream.agents.api_process import ApiProcess, listen

    process = ApiProcess(settings)
    with listen(settings) as listener:
        uvloop.run(process.run(listener))
