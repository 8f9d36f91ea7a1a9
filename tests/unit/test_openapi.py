"""The OpenAPI document says of each type what its docstring says, and of a transaction what the topics' schemas say."""

from __future__ import annotations

from fraudstream.web.openapi import document
from fraudstream.wire_schemas import components

SCHEMAS = document(has_keys=True)["components"]["schemas"]


def test_what_travels_on_topics_and_over_http_has_one_schema() -> None:
    wire = components("#/components/schemas/{name}")
    for name in ("Transaction", "Reason", "MemberScores"):
        assert SCHEMAS[name] == wire[name]


def test_every_type_and_every_field_is_described_in_words() -> None:
    for name, schema in SCHEMAS.items():
        assert "\n" not in schema["description"], name
        assert "Attributes:" not in schema["description"], name
        for field, part in schema["properties"].items():
            assert part.get("description", "").endswith("."), f"{name}.{field}"
