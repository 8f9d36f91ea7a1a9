"""The AsyncAPI document: valid by AsyncAPI's own schema, whole, true to the settings, and without secrets."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema_rs import Draft7Validator

from fraudstream.asyncapi import asyncapi_document
from fraudstream.settings import Settings, load_settings
from fraudstream.topics import declared_topics

SPECIFICATION = Path(__file__).resolve().parents[1] / "vendored" / "asyncapi" / "3.0.0.json"
DEFAULTS = Settings.model_construct()


@pytest.fixture(scope="module")
def specification() -> Draft7Validator:
    """The judge of AsyncAPI 3.0.0 documents."""
    return Draft7Validator(json.loads(SPECIFICATION.read_text(encoding="utf-8")))


@pytest.fixture
def secured(plain_environment: None) -> Settings:
    """Settings of a cluster with three brokers, TLS and passwords."""
    return load_settings(
        kafka_servers="b1:9093, b2:9093,b3:9093",
        kafka_security_protocol="SASL_SSL",
        kafka_sasl_mechanism="SCRAM-SHA-256",
        kafka_sasl_username="worker-name",
        kafka_sasl_password="hunter2",
        app_id="cards",
        transactions_topic="cards.in",
        verdicts_topic="cards.judged",
        alerts_topic="cards.alerts",
        dead_letters_topic="cards.bad",
        topic_partitions=12,
        topic_replication=3,
    )


def test_the_document_is_valid_asyncapi(specification: Draft7Validator, secured: Settings) -> None:
    for settings in (DEFAULTS, secured, secured.model_copy(update={"alert_on_all": True})):
        document = asyncapi_document(settings)
        assert [f"{error.instance_path}: {error.message}" for error in specification.iter_errors(document)] == []
        assert json.loads(json.dumps(document)) == document


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("operations", "sendVerdicts", "action"), "publish"),
        (("channels", "alerts", "bindings", "kafka", "partitions"), 0),
        (("channels", "alerts", "bindings", "kafka", "topicConfiguration", "cleanup.policy"), "delete"),
        (("components", "schemas", "Verdict", "properties", "flagged", "type"), "bool"),
        (("info", "version"), None),
    ],
)
def test_the_specification_sees_what_is_wrong(
    specification: Draft7Validator, path: tuple[str, ...], value: object
) -> None:
    document = copy.deepcopy(asyncapi_document(DEFAULTS))
    *way, last = path
    place: Any = document
    for step in way:
        place = place[step]
    assert last in place
    place[last] = value
    assert not specification.is_valid(document)


def test_every_reference_leads_somewhere(secured: Settings) -> None:
    document = asyncapi_document(secured)
    found = list(references(document))
    assert len(found) > 20
    for reference in found:
        place: Any = document
        for step in reference.removeprefix("#/").split("/"):
            assert step in place, reference
            place = place[step]


def test_the_topics_are_those_that_the_worker_declares(secured: Settings) -> None:
    document = asyncapi_document(secured)
    described = {one["address"]: one["bindings"]["kafka"] for one in document["channels"].values()}
    declared = {topic.name: topic for topic in declared_topics(secured)}
    assert set(described) == {*secured.topic_names, secured.labels_topic}
    for name, bindings in described.items():
        topic = declared[name]
        assert (bindings["topic"], bindings["partitions"], bindings["replicas"]) == (name, 12, 3)
        config = bindings["topicConfiguration"]
        assert {key: str(value) for key, value in config.items() if key != "cleanup.policy"} == {
            key: value for key, value in topic.config.items() if key != "cleanup.policy"
        }
        assert config["cleanup.policy"] == [topic.config["cleanup.policy"]]
    group = document["operations"]["receiveTransactions"]["bindings"]["kafka"]["groupId"]
    assert group["const"] == "cards"


def test_servers_say_how_one_logs_in_and_nothing_secret(secured: Settings) -> None:
    document = asyncapi_document(secured)
    assert {one["host"] for one in document["servers"].values()} == {"b1:9093", "b2:9093", "b3:9093"}
    assert {one["protocol"] for one in document["servers"].values()} == {"kafka-secure"}
    assert document["components"]["securitySchemes"] == {"sasl": {"type": "scramSha256"}}
    text = json.dumps(document)
    assert "hunter2" not in text
    assert "worker-name" not in text
    assert "servers" not in asyncapi_document(DEFAULTS)


def test_an_alert_is_flagged_unless_every_verdict_is_sent(secured: Settings) -> None:
    judge = Draft7Validator(alert_schema(secured))
    everything = Draft7Validator(alert_schema(secured.model_copy(update={"alert_on_all": True})))
    document = asyncapi_document(secured)
    verdict = document["components"]["messages"]["verdict"]["examples"][0]["payload"]
    assert verdict["flagged"] is False
    assert not judge.is_valid(verdict)
    assert judge.is_valid(verdict | {"flagged": True})
    assert everything.is_valid(verdict)


def test_every_example_is_what_its_message_says() -> None:
    document = asyncapi_document(DEFAULTS)
    examples = 0
    for message in document["components"]["messages"].values():
        for example in message.get("examples", ()):
            examples += 1
            for part in ("payload", "headers"):
                if part in example:
                    schema = {**message[part], "components": document["components"]}
                    Draft7Validator(_inlined(schema, document)).validate(example[part])
    assert examples == len(document["components"]["messages"]) == 5
    alert = document["components"]["messages"]["alert"]["examples"][0]["payload"]
    assert alert["anomaly_type"] == alert["reasons"][0]["code"]
    assert sum(reason["contribution"] for reason in alert["reasons"]) == pytest.approx(alert["anomaly_score"], abs=1e-6)


def alert_schema(settings: Settings) -> dict[str, Any]:
    document = asyncapi_document(settings)
    return dict(_inlined(document["components"]["messages"]["alert"]["payload"], document))


def _inlined(schema: Any, document: dict[str, Any]) -> Any:
    """The schema with what it refers to in the place of the references."""
    if isinstance(schema, list):
        return [_inlined(part, document) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inlined(document["components"]["schemas"][schema["$ref"].rpartition("/")[2]], document)
    return {name: _inlined(part, document) for name, part in schema.items() if name != "components"}


def references(part: object) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for inside in part.values():
            yield from references(inside)
    elif isinstance(part, list):
        for inside in part:
            yield from references(inside)
