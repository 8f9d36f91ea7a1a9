"""The JSON Schemas: valid themselves, every field described, and true of what the pipeline and dead letters emit."""

from __future__ import annotations

import json
from dataclasses import dataclass

import msgspec
import pytest
from jsonschema_rs import ValidationError, meta

from fraudstream.agents.producers import DEAD_LETTER_VALUE_BYTES, dead_letter_message
from fraudstream.dead_letter import REASONS, DeadLetter
from fraudstream.detector import load_detector
from fraudstream.pipeline import process
from fraudstream.settings import load_settings
from fraudstream.transaction import Transaction
from fraudstream.verdict import MemberScores, Reason, Verdict
from fraudstream.wire_schemas import components, json_schemas
from tests.mutations import messages
from tests.wire import assert_dead_letter, assert_verdict, validator

TEMPLATE = "#/components/schemas/{name}"
NOW_MS = 1_790_000_000_000


@dataclass(frozen=True)
class Record:
    """A message as a client hands it over."""

    key: bytes | None
    value: bytes | None
    offset: int
    topic: str = "transactions"
    partition: int = 3
    timestamp: int = NOW_MS


@pytest.mark.parametrize("stem", json_schemas())
def test_each_schema_is_one_and_stands_alone(stem: str) -> None:
    schema = json_schemas()[stem]
    meta.validate(schema)
    assert schema["$id"] == f"urn:fraudstream:schema:{stem}"
    assert "components" not in json.dumps(schema)
    validator(stem)  # a reference that leads nowhere raises here


def test_a_component_reads_the_same_in_the_dialect_of_asyncapi() -> None:
    for schema in components(TEMPLATE).values():
        meta.validate({"$schema": "http://json-schema.org/draft-07/schema#", **schema})
        for part in schema["properties"].values():
            assert "$ref" not in part or part.keys() == {"$ref"}, "draft 7 reads nothing beside a $ref"


@pytest.mark.parametrize("kind", [Transaction, Verdict, Reason, MemberScores])
def test_every_field_of_every_type_is_described(kind: type[msgspec.Struct]) -> None:
    schema = components(TEMPLATE)[kind.__name__]
    assert set(schema["properties"]) == set(kind.__struct_fields__)
    for name, part in schema["properties"].items():
        assert part.get("description", "").endswith("."), f"{kind.__name__}.{name} has no description"
    assert "Attributes" not in schema["description"]


def test_what_the_pipeline_emits_is_what_the_schemas_say(plain_environment: None) -> None:
    sent = list(messages(600, seed=5))
    records = [Record(one.key, one.value, offset) for offset, one in enumerate(sent)]
    outcome = process(load_detector(load_settings()), records, lambda _partition, _key: b"")
    assert len(outcome.verdicts) == len(outcome.dead_letters) == 600
    flagged = 0
    for emitted in outcome.verdicts:
        flagged += assert_verdict(emitted.key, emitted.value, dict(emitted.headers))["flagged"]
    assert flagged > 20
    for letter in outcome.dead_letters:
        key, _, headers = dead_letter_message(letter)
        assert key == letter.key
        assert_dead_letter(dict(headers))


def test_a_dead_letter_that_was_cut_is_documented_too() -> None:
    letter = DeadLetter("transactions", 0, 0, None, b"x" * (DEAD_LETTER_VALUE_BYTES + 1), "malformed_json", "too long")
    _, value, headers = dead_letter_message(letter)
    assert len(value or b"") == DEAD_LETTER_VALUE_BYTES
    assert_dead_letter(dict(headers))
    documented = json_schemas()["dead-letter-headers"]["properties"]
    assert [name for name, _ in headers] == list(documented)
    assert set(documented["reason"]["enum"]) == set(REASONS)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"reason": b"bad"}, "bad"),
        ({"source_offset": b"-1"}, "-1"),
        ({"source_partition": b""}, "source_partition"),
        ({"unheard_of": b"1"}, "unheard_of"),
    ],
)
def test_the_judge_of_dead_letters_sees_what_is_wrong(wrong: dict[str, bytes], named: str) -> None:
    right = dict(DeadLetter("t", 0, 0, None, b"", "bad_length", "d").headers())
    assert_dead_letter(right)
    with pytest.raises(ValidationError, match=named):
        assert_dead_letter(right | wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"anomaly_score": 1.1},
        {"anomaly_type": None},
        {"processing_time_ms": 1.5},
        {"source_offset": None},
        {"timestamp": "2026-01-01T00:00:00+01:00"},
        {"members": {"forest": 0.5}},
        {"reasons": [{"code": "unusual_amount"}]},
        {"late": None},
        {"unheard_of": 1},
    ],
)
def test_the_judge_of_verdicts_sees_what_is_wrong(plain_environment: None, wrong: dict[str, object]) -> None:
    record = Record(b"u", b'{"transaction_id":"t","user_id":"u","amount":1,"merchant":"m"}', 0)
    (emitted,) = process(load_detector(load_settings()), [record], lambda _partition, _key: b"").verdicts
    verdict = assert_verdict(emitted.key, emitted.value, dict(emitted.headers))
    with pytest.raises(ValidationError):
        assert_verdict(emitted.key, json.dumps(verdict | wrong).encode(), dict(emitted.headers))
