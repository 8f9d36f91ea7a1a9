"""`fraudstream worker`: Faust's own worker on our app, with safe defaults; this process becomes it."""

from __future__ import annotations

import os
import sys

import click

from fraudstream.settings import load_settings

APP = "fraudstream.agents.app"
LOG_OPTIONS = ("-l", "--loglevel")


@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": ["--help"]})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def worker(arguments: tuple[str, ...]) -> None:
    """Scores the stream until it is stopped.

    What it does is set by environment variables (see `fraudstream doctor`). ARGUMENTS go to `faust worker` as they
    are, such as `-l debug` or `--logfile FILE`.
    """
    load_settings()  # a wrong setting is told before seconds of imports
    sys.stdout.flush()
    sys.stderr.flush()
    command = faust_command(arguments)
    os.execv(command[0], command)  # noqa: S606  signals and the exit code are then Faust's own


def faust_command(arguments: tuple[str, ...]) -> list[str]:
    """The command line of a worker."""
    has_level = any(argument.startswith(LOG_OPTIONS) for argument in arguments)
    level = [] if has_level else ["-l", "info"]
    return [sys.executable, "-m", "faust", "-A", APP, "worker", *level, *arguments]
