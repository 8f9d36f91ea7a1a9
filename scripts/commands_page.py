"""docs/commands.md: what `--help` says of every command, put together from the commands themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from fraudstream.cli.main import main

WIDTH = 100

HEAD = """\
# The commands

What `--help` says, for all of them; made by `make docs`. Settings come from environment variables
([settings.md](settings.md)). Exit 0: success, 1: a check failed or somebody did not answer, 2: wrong use or settings.
A worker and the audit sink also end with 70 (a fault that did not pass: start it again), 75 (another worker has the
partitions: start it again) and 78 (settings, topics or model cannot be used: mend what the last line names).
"""


def commands_page() -> str:
    """The page, with one section a command."""
    return "\n".join([HEAD, *(_section(context) for context in _contexts(_context(main, "fraudstream", None)))])


def _contexts(context: click.Context) -> Iterator[click.Context]:
    group = context.command
    if not isinstance(group, click.Group):
        return
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is not None:
            own = _context(command, name, context)
            yield own
            yield from _contexts(own)


def _context(command: click.Command, name: str, parent: click.Context | None) -> click.Context:
    widths: dict[str, Any] = {"terminal_width": WIDTH, "max_content_width": WIDTH}
    return click.Context(command, parent, info_name=name, **{**command.context_settings, **widths})


def _section(context: click.Context) -> str:
    level = "#" * len(context.command_path.split())
    return f"{level} {context.command_path}\n\n```text\n{context.get_help().strip()}\n```\n"
