"""`fraudstream dead-letters`: shows what could not be scored, why, and where it came from."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fraudstream.cli.output import json_option, print_table, say, write_json
from fraudstream.errors import SettingsError
from fraudstream.settings import Settings, load_settings

if TYPE_CHECKING:
    from fraudstream.dead_letter import DeadLetter


@click.group("dead-letters")
def dead_letters() -> None:
    """Shows messages that could not be scored."""


@dead_letters.command("list")
@click.option("--reason", help="Only those with this reason, such as malformed_json.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="Show the newest so many.")
@json_option
def list_(reason: str | None, limit: int, json_file: Path | None) -> None:
    """Lists dead letters: reason, origin and what was expected."""
    settings = load_settings()
    if settings.kafka_servers is None:
        raise SettingsError(
            "KAFKA_SERVERS: expected HOST:PORT of the broker that keeps the dead letters, it is not set"
        )
    letters = [one for one in asyncio.run(_read(settings, settings.kafka_servers)) if reason in (None, one.reason)]
    shown = letters[-limit:]
    print_table(("reason", "origin", "detail"), [(one.reason, _origin(one), one.detail) for one in shown])
    counts = dict(Counter(one.reason for one in letters).most_common())
    told = ", ".join(f"{name} {count}" for name, count in counts.items())
    say(f"{len(letters)} dead letters" + (f": {told}" if told else ""))
    write_json(
        json_file,
        {
            "dead_letters": len(letters),
            "reasons": counts,
            "shown": [{"reason": one.reason, "origin": _origin(one), "detail": one.detail} for one in shown],
        },
    )


async def _read(settings: Settings, bootstrap: str) -> list[DeadLetter]:
    from fraudstream.adapters.dead_letter_reader import read_dead_letters

    return [letter async for letter in read_dead_letters(settings, bootstrap)]


def _origin(letter: DeadLetter) -> str:
    return f"{letter.topic}/{letter.partition}@{letter.offset}"
