"""docs/topics.md, put together from the AsyncAPI document; what it says of a topic or a field stands elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fraudstream.asyncapi import DELIVERY, EVOLUTION, PARTITIONING
from fraudstream.dead_letter import REASONS, REPLAYED_HEADER

HEAD = """\
# The topics

Everything that goes in or comes out, for whoever writes a producer or a consumer. For machines the same stands in
[asyncapi.json](asyncapi.json) (AsyncAPI 3) and as JSON Schemas (2020-12) beside it, in `schemas/`. All of it is made
from the code by `make docs`, with the default settings; `fraudstream topics describe --out DIR` writes it with yours.
"""

BEYOND = """\
## What a JSON Schema cannot say

[transaction.json](schemas/transaction.json) accepts what the worker can read, with these exceptions. The worker also
refuses

- a message whose key is not the `user_id`;
- a JSON key that comes twice, also inside unknown fields;
- bytes that are not UTF-8, and escapes of half a surrogate pair;
- a day that its month does not have, a time in 1999 that is not yet 2000 in UTC, and a time more than a day after the
  broker's;
- unknown fields that are nested more than some hundred levels deep.

It reads, but does not promise to go on reading, times with a blank in place of the T and offsets without a colon, which
are not RFC 3339.
"""

REPLAY = f"""\
`fraudstream dead-letters list` counts them by reason, `show` shows one whole, and `replay` puts them back after a fix:
the original bytes with their key and their time, to the partition that the key chooses, with the header
`{REPLAYED_HEADER}` (TOPIC/PARTITION@OFFSET of the letter). Each letter goes back once, also where the command is run
again or killed half-way: the message and a marker, on the topic APP_ID-replayed, are written in one Kafka transaction,
a run reads the markers before it sends, and it fences whichever run was before it. What is there by then counts for a
`read_committed` reader; workers are such readers. Letters stay in the topic as they were, and `list` goes on
showing them; one that is refused again becomes another letter.

`replay` refuses, and says so: what came from another topic than `transactions` and `labels` (verdicts are there exactly
once, so they are never written again); what was cut and whose original is no longer at its origin; what is older than
its topic keeps messages; what is larger than its topic takes. The headers that the original had are not kept.
"""

CLIENTS = """\
## Clients to start from

Each runs as it is, takes KAFKA_SERVERS and the topic names from the environment, and is run by the tests against a
real broker and a real worker.

| | produces | reads |
|---|---|---|
| Python, [confluent-kafka](https://docs.confluent.io/kafka-clients/python/current/overview.html) | \
[produce_confluent.py](examples/clients/produce_confluent.py) | \
[consume_confluent.py](examples/clients/consume_confluent.py) |
| Python, [aiokafka](https://aiokafka.readthedocs.io/) | \
[produce_aiokafka.py](examples/clients/produce_aiokafka.py) | \
[consume_aiokafka.py](examples/clients/consume_aiokafka.py) |
| Kafka's console tools | [produce.sh](examples/clients/produce.sh) | \
[alerts.sh](examples/clients/alerts.sh), [dead_letters.sh](examples/clients/dead_letters.sh) |
"""

YOURS = ("transactions", "labels")
"""Channels that fraudstream only reads."""
_DAY_MS = 86_400_000
_BARE = {"null": "null", "boolean": "true or false", "integer": "whole number", "number": "number", "array": "list"}


def topics_page(document: dict[str, Any]) -> str:
    """The page of an AsyncAPI document of ours."""
    messages, schemas = document["components"]["messages"], document["components"]["schemas"]
    parts = [HEAD, *_overview(document["channels"]), *_rules()]
    for channel in document["channels"].values():
        (message,) = (messages[name] for name in channel["messages"])
        parts.append(f"## {channel['address']}\n\n{channel['description']}\n")
        payload = message["payload"].get("$ref", "")
        if payload:
            parts += [schemas[_last(payload)]["description"] + "\n", _table("field", schemas[_last(payload)], schemas)]
        if "headers" in message:
            headers = schemas[_last(message["headers"]["$ref"])]
            parts += [headers["description"] + "\n", _table("header", headers, schemas)]
        if channel is document["channels"]["deadLetters"]:
            parts += [_reasons(), REPLAY]
    for name in ("Reason", "MemberScores"):
        parts += [f"## {name}\n\n{schemas[name]['description']}\n", _table("field", schemas[name], schemas)]
    return "\n".join([*parts, BEYOND, CLIENTS])


def _overview(channels: dict[str, Any]) -> Iterator[str]:
    keys = {"deadLetters": "as it came"}
    values = {"transactions": "JSON", "deadLetters": "the original bytes", "labels": "JSON label"}
    rows = [
        f"| `{channel['address']}` | {keys.get(name, '`user_id`')} | {values.get(name, 'JSON verdict')} "
        f"| {channel['bindings']['kafka']['topicConfiguration']['retention.ms'] // _DAY_MS} days "
        f"| {'your systems' if name in YOURS else 'the worker'} |"
        for name, channel in channels.items()
    ]
    yield "\n".join(["| topic | key | value | kept for | written by |", "|---|---|---|---|---|", *rows]) + "\n"
    yield (
        "All have the same number of partitions (TOPIC_PARTITIONS) and of copies (TOPIC_REPLICATION). The changelog of "
        "the profiles and APP_ID-replayed, which keeps what was replayed, are fraudstream's own: nobody else should "
        "read or write them.\n"
    )


def _rules() -> Iterator[str]:
    yield f"## Partitions\n\n{PARTITIONING}\n"
    levels = {name: text for name, text in DELIVERY.items() if name != "ordering"}
    rows = "\n".join(f"| `{name}` | {text} |" for name, text in levels.items())
    yield (
        "## What a reader may rely on\n\n"
        f"| isolation.level | |\n|---|---|\n{rows}\n\n"
        f"{DELIVERY['ordering']} `read_committed` is the default of librdkafka, `read_uncommitted` that of the Java "
        "clients and of aiokafka. A verdict's identity is its `transaction_id`. [guarantees.md](guarantees.md) says "
        "what tries to break this.\n"
    )
    yield f"## How messages change\n\n{EVOLUTION}\n"


def _reasons() -> str:
    rows = "\n".join(f"| `{code}` | {one.means} | {one.do} |" for code, one in REASONS.items())
    return f"| reason | means | what to do |\n|---|---|---|\n{rows}\n"


def _table(what: str, schema: dict[str, Any], schemas: dict[str, Any]) -> str:
    rows = [
        f"| `{name}` | {_kind(part, schemas)}{'' if name in schema['required'] else '; optional'} "
        f"| {part.get('description', '')} |"
        for name, part in schema["properties"].items()
    ]
    return "\n".join([f"| {what} | | |", "|---|---|---|", *rows]) + "\n"


def _kind(part: dict[str, Any], schemas: dict[str, Any]) -> str:
    """A schema in a few words; what only machines want to know is left to the schema itself."""
    for inside in part.get("allOf", ()):
        return _kind(inside, schemas)
    if "$ref" in part:
        return f"[{_last(part['$ref'])}](#{_last(part['$ref']).lower()})"
    if "enum" in part:
        return ", ".join(f"`{value}`" for value in part["enum"])
    if "anyOf" in part and "type" not in part:
        return " or ".join(dict.fromkeys(_kind(each, schemas) for each in part["anyOf"]))
    if part["type"] == "array":
        return f"list of {_kind(part['items'], schemas)}"
    if part["type"] == "string":
        return _text(part)
    if part["type"] == "integer" and "anyOf" in part:
        return "number"  # epoch times: their whole and their broken numbers have the same limits
    return _BARE[part["type"]] + _limits(part)


def _text(part: dict[str, Any]) -> str:
    if part.get("format") == "date-time":
        return "RFC 3339 time"
    if "maxLength" in part:
        least, most = part["minLength"], part["maxLength"]
        return f"text of {most} characters" if least == most else f"text of {least} to {most} characters"
    return "bytes" if part.get("format") == "binary" else "text"


def _limits(part: dict[str, Any]) -> str:
    least, most = part.get("minimum"), part.get("maximum")
    if most is None:
        return "" if least is None else f" from {least}"
    return f" from {least} to {most:,}"


def _last(reference: str) -> str:
    return reference.rpartition("/")[2]
