"""`fraudstream topics`: declares every topic on a broker, or says what is wrong with those that are there."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from fraudstream.cli.output import json_option, say, write_json
from fraudstream.errors import SettingsError
from fraudstream.settings import Settings, load_settings


@click.group()
def topics() -> None:
    """Creates or checks the Kafka topics that the settings name."""


@topics.command()
@json_option
def create(json_file: Path | None) -> None:
    """Creates the topics that are missing, with partitions, replication and cleanup policy; changes none."""
    from fraudstream.adapters.kafka_topics import create_topics

    settings, bootstrap = _broker()
    outcomes = asyncio.run(create_topics(settings, bootstrap))
    for outcome in outcomes:
        say(str(outcome))
    write_json(json_file, {"topics": [{"topic": one.topic, "created": one.created} for one in outcomes]})


@topics.command()
@json_option
@click.pass_context
def check(context: click.Context, json_file: Path | None) -> None:
    """Says what is wrong with the topics; exits with 1 if anything is."""
    from fraudstream.adapters.kafka_topics import check_topics
    from fraudstream.topics import declared_topics

    settings, bootstrap = _broker()
    problems = asyncio.run(check_topics(settings, bootstrap))
    for problem in problems:
        say(str(problem))
    names = [spec.name for spec in declared_topics(settings)]
    if not problems:
        say(f"all {len(names)} topics are as they should be: {', '.join(names)}")
    write_json(
        json_file,
        {"topics": names, "problems": [{"topic": one.topic, "wrong": one.wrong, "mend": one.mend} for one in problems]},
    )
    context.exit(1 if problems else 0)


def _broker() -> tuple[Settings, str]:
    settings = load_settings()
    if settings.kafka_servers is None:
        raise SettingsError(
            "KAFKA_SERVERS: expected HOST:PORT of a Kafka broker, it is not set; "
            "the embedded broker makes its topics itself, there is nothing to do for it"
        )
    return settings, settings.kafka_servers
