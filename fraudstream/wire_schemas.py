"""JSON Schemas of what travels on the topics and over HTTP, made from its types; no field may be described here again.

What a type cannot say is added: rules between fields, what the stream narrows, and headers, which have no type.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from fraudstream.dead_letter import CUT_HEADER, REASONS
from fraudstream.evidence import FEATURES_HEADER, TRANSACTION_HEADER
from fraudstream.features.catalogue import CATALOGUE
from fraudstream.label import Label
from fraudstream.transaction import Transaction
from fraudstream.verdict import MemberScores, Reason, Verdict

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_TYPES = (Transaction, Verdict, Reason, MemberScores, Label)
_FILES = {
    "transaction": "Transaction",
    "verdict": "Verdict",
    "label": "Label",
    "verdict-headers": "VerdictHeaders",
    "dead-letter-headers": "DeadLetterHeaders",
}
_ATTRIBUTE = re.compile(r"^ {4}(\w+(?:, \w+)*): ")
_UTC_TIME: Schema = {"type": "string", "format": "date-time", "pattern": "Z$"}


def components(ref_template: str) -> dict[str, Schema]:
    """The schema of each wire type and of the headers, by name; in terms that draft 7 and 2020-12 read alike.

    Args:
        ref_template: how one refers to another, such as `#/components/schemas/{name}`.
    """
    found = described(_TYPES, ref_template)
    _narrow_to_the_stream(found["Verdict"])
    return found | {"VerdictHeaders": _verdict_headers(), "DeadLetterHeaders": _dead_letter_headers()}


def described(types: Sequence[type[msgspec.Struct]], ref_template: str) -> dict[str, Schema]:
    """The schema of each type by name, with what its docstring says and what no type can say.

    Args:
        types: they and all that they hold.
        ref_template: as for `components`.
    """
    _, found = msgspec.json.schema_components(types, ref_template=ref_template)
    for kind in types:
        for ancestor in reversed(kind.__mro__):
            if issubclass(ancestor, msgspec.Struct) and ancestor is not msgspec.Struct:
                _describe(found[kind.__name__], ancestor)
    if Transaction in types:
        _both_or_neither(found["Transaction"], "latitude", "longitude")
    return found


def json_schemas() -> dict[str, Schema]:
    """Schemas that stand alone, by file name without its ending: what each topic's payload or headers must be."""
    known = components("#/$defs/{name}")
    return {
        stem: {"$schema": DIALECT, "$id": f"urn:fraudstream:schema:{stem}", **known[name], **_definitions(known, name)}
        for stem, name in _FILES.items()
    }


def referred(schema: object) -> Iterable[str]:
    """The names that a schema refers to, each as often as it does."""
    if isinstance(schema, dict):
        if "$ref" in schema:
            yield schema["$ref"].rpartition("/")[2]
        for part in schema.values():
            yield from referred(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from referred(part)


def _definitions(known: dict[str, Schema], name: str) -> Schema:
    needed = sorted(set(referred(known[name])))
    return {"$defs": {each: known[each] for each in needed}} if needed else {}


def _describe(schema: Schema, kind: type[msgspec.Struct]) -> None:
    """Takes the descriptions of a type and its fields out of its docstring."""
    summary, _, attributes = inspect.getdoc(kind).partition("\n\nAttributes:\n")  # type: ignore[union-attr]
    schema["description"] = " ".join(summary.split())
    names = ""
    said: dict[str, str] = {}
    for line in attributes.splitlines():
        begun = _ATTRIBUTE.match(line)
        names = begun[1] if begun else names
        said[names] = line[begun.end() :] if begun else f"{said[names]} {line.strip()}"
    for names, text in said.items():
        for field in names.split(", "):
            own = schema["properties"][field]
            inside = {"allOf": [own]} if "$ref" in own else own  # draft 7 reads nothing beside a $ref
            schema["properties"][field] = {"description": text[0].upper() + text[1:], **inside}


def _both_or_neither(schema: Schema, *names: str) -> None:
    """Where one is given, so are the others; null is the same as absent."""

    def given(some: Iterable[str]) -> Schema:
        return {"required": [*some], "properties": {name: {"type": "number"} for name in some}}

    schema["allOf"] = [
        {"if": given([name]), "then": given([other for other in names if other != name])} for name in names
    ]


def _narrow_to_the_stream(verdict: Schema) -> None:
    """A verdict in the stream says less than the type allows for /predict."""
    narrowed: dict[str, Callable[[], Schema]] = {
        "event_time": _UTC_TIME.copy,
        "timestamp": _UTC_TIME.copy,
        "processing_time_ms": lambda: {"type": "null"},
        "source_partition": lambda: {"type": "integer", "minimum": 0},
        "source_offset": lambda: {"type": "integer", "minimum": 0},
    }
    for name, schema in narrowed.items():
        description = verdict["properties"][name]["description"]
        verdict["properties"][name] = {"description": description, **schema()}


def _verdict_headers() -> Schema:
    return {
        "title": "VerdictHeaders",
        "description": "What a verdict was made from.",
        "type": "object",
        "properties": {
            TRANSACTION_HEADER: {
                "description": "The transaction's JSON, byte for byte as it came; of one over 16 KiB, what was read.",
                "type": "string",
                "contentMediaType": "application/json",
            },
            FEATURES_HEADER: {
                "description": f"Bytes: {len(CATALOGUE)} features as the models saw them, each a little-endian "
                "float32, in the order of the catalogue of the verdict's model_version.",
                "type": "string",
                "format": "binary",
            },
        },
        "required": [TRANSACTION_HEADER, FEATURES_HEADER],
    }


def _dead_letter_headers() -> Schema:
    number: Schema = {"type": "string", "pattern": "^[0-9]+$"}
    return {
        "title": "DeadLetterHeaders",
        "description": "Where a refused message came from and why it was refused; each header is UTF-8 text.",
        "type": "object",
        "properties": {
            "source_topic": {"description": "Topic that the message was read from.", "type": "string"},
            "source_partition": {"description": "Its partition there, in decimal digits.", **number},
            "source_offset": {"description": "Its offset there, in decimal digits.", **number},
            "reason": {
                "description": "Stable code. "
                + "; ".join(f"{name}: {one.means}" for name, one in REASONS.items())
                + ".",
                "enum": [*REASONS],
            },
            "detail": {"description": "The field, what was expected and what came.", "type": "string"},
            CUT_HEADER: {
                "description": "Only where the message was too large for the topic and was cut: its size in bytes. "
                "The source offset leads to the whole of it.",
                **number,
            },
        },
        "required": ["source_topic", "source_partition", "source_offset", "reason", "detail"],
    }
