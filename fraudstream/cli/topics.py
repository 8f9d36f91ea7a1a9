"""`fraudstream topics`: declares every topic on a broker, says what is wrong with those there, or describes them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import click

from fraudstream.cli.output import json_option, say, write_json, write_text
from fraudstream.errors import DataFileError, SettingsError
from fraudstream.settings import Settings, load_settings


@click.group()
def topics() -> None:
    """Creates, checks or describes the Kafka topics that the settings name."""


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


@topics.command()
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Write asyncapi.json and schemas/*.json there instead.",
)
def describe(out: Path | None) -> None:
    """Shows the topics as an AsyncAPI document, with these settings' names and sizes; asks no broker."""
    from fraudstream.asyncapi import asyncapi_document
    from fraudstream.wire_schemas import json_schemas

    document = asyncapi_document(load_settings())
    if out is None:
        say(_as_json(document).rstrip())
        return
    files = {"asyncapi.json": document, **{f"schemas/{stem}.json": one for stem, one in json_schemas().items()}}
    _make_directory(out / "schemas")
    for name, content in files.items():
        write_text(out / name, _as_json(content))
        say(f"wrote {out / name}")


def _as_json(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _make_directory(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataFileError(
            f"{path}: expected a directory that can be made, got {error.strerror}; name another with --out"
        ) from None


def _broker() -> tuple[Settings, str]:
    settings = load_settings()
    if settings.kafka_servers is None:
        raise SettingsError(
            "KAFKA_SERVERS: expected HOST:PORT of a Kafka broker, it is not set; "
            "the embedded broker makes its topics itself, there is nothing to do for it"
        )
    return settings, settings.kafka_servers
