"""`fraudstream api`: answers over HTTP in a process without Faust, from the profiles that workers leave in Redis."""

from __future__ import annotations

import logging
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
    `fraudstream doctor`).
    """
    settings = load_settings()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    if settings.redis_host is None:
        click.echo("fraudstream: no REDIS_HOST: nobody's profile is known here, for trying out", err=True)
    if processes == ALONE:
        serve(settings)
        return
    # Before torch is loaded: its threads do not survive a fork, so each child is a process of its own from the start.
    command = [sys.executable, "-m", "fraudstream.cli.main", "api"]
    children = [subprocess.Popen(command) for _ in range(processes)]

    def pass_on(number: int, _frame: FrameType | None) -> None:
        for child in children:
            child.send_signal(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, pass_on)
    raise SystemExit(max(child.wait() for child in children))


def serve(settings: Settings) -> None:
    """One process, until it is told to stop."""
    import uvloop

    from fraudstream.agents.api_process import ApiProcess, listen

    process = ApiProcess(settings)
    with listen(settings) as listener:
        uvloop.run(process.run(listener))
