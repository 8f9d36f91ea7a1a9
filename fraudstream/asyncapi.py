"""The topics as an AsyncAPI 3 document, made from settings, topic declarations and wire types; no client and no file.

Operations are told from fraudstream's side: it receives transactions and sends everything else.
"""

from __future__ import annotations

from typing import Any

from fraudstream import __version__
from fraudstream.settings import Settings
from fraudstream.topics import TopicSpec, declared_topics
from fraudstream.transaction import MAX_ID_CHARS
from fraudstream.wire_examples import (
    alert_example,
    dead_letter_example,
    label_example,
    transaction_example,
    verdict_example,
)
from fraudstream.wire_schemas import Schema, components

ASYNCAPI_VERSION = "3.0.0"
KAFKA_BINDING = "0.5.0"
JSON = "application/json"

PARTITIONING = (
    "A message goes to partition (murmur2(key) & 0x7fffffff) mod the number of partitions, as Kafka's Java clients "
    "choose it. Every producer must choose so, or one user's payments are spread over partitions: librdkafka and what "
    "is built on it (confluent-kafka) need partitioner=murmur2_random, because their own default is another; the Java "
    "clients, the console tools and aiokafka do it by default."
)
SAME_PARTITION = "The partition of the same number as that of the transaction, so the order of a user's payments holds."

DELIVERY = {
    "read_committed": "Each message exactly once, about a checkpoint (CHECKPOINT_INTERVAL_S) after it was sent.",
    "read_uncommitted": "Within milliseconds; after a crash some come again, identical byte for byte.",
    "ordering": "Messages come in the order of the transactions of the same partition.",
}
"""What a reader of what fraudstream sends may rely on, by its isolation.level."""

EVOLUTION = (
    "Readers must ignore fields and headers that they do not know: new ones may come at any time. Fields, reason codes "
    "and headers keep their names and meanings."
)


def asyncapi_document(settings: Settings) -> dict[str, Any]:
    """The whole document, ready to be written as JSON.

    Args:
        settings: names, sizes and the broker of the topics; without KAFKA_SERVERS the document names no server.

    Raises:
        SettingsError: Kafka does not take a topic's name.
    """
    document: dict[str, Any] = {
        "asyncapi": ASYNCAPI_VERSION,
        "info": {
            "title": "fraudstream",
            "version": __version__,
            "description": f"Every card transaction gets one verdict. {EVOLUTION}",
            "license": {"name": "MIT"},
        },
        "defaultContentType": JSON,
        "channels": _channels(settings),
        "operations": _operations(settings),
        "components": {"messages": _messages(settings), "schemas": components("#/components/schemas/{name}")},
    }
    servers, schemes = _servers(settings)
    if servers:
        document["servers"] = servers
    if schemes:
        document["components"]["securitySchemes"] = schemes
    return document


def _channels(settings: Settings) -> dict[str, Any]:
    transactions, verdicts, alerts, dead_letters, labels, *_own = declared_topics(settings)
    flagged = "Every verdict" if settings.alert_on_all else "The verdicts that are flagged"
    return {
        "transactions": _channel(
            transactions,
            "transaction",
            "What is to be judged; yours to produce.",
            {"x-partitioning": PARTITIONING},
        ),
        "verdicts": _channel(
            verdicts,
            "verdict",
            "One verdict for every transaction that could be read, with what it was made from in its headers.",
            {"x-partitioning": SAME_PARTITION, "x-delivery": DELIVERY},
        ),
        "alerts": _channel(
            alerts,
            "alert",
            f"{flagged}, the same bytes as in `{verdicts.name}`.",
            {"x-partitioning": SAME_PARTITION, "x-delivery": DELIVERY},
        ),
        "deadLetters": _channel(
            dead_letters,
            "deadLetter",
            "What could not be read, byte for byte as it came; why and where it came from stand in its headers.",
            {"x-partitioning": SAME_PARTITION, "x-delivery": DELIVERY},
        ),
        "labels": _channel(
            labels,
            "label",
            "What a transaction turned out to be; yours to produce, if you know. The audit sink counts it beside the "
            "verdict; no verdict depends on it.",
            {"x-partitioning": PARTITIONING},
        ),
    }


def _channel(topic: TopicSpec, message: str, description: str, extensions: dict[str, Any]) -> dict[str, Any]:
    config: dict[str, Any] = {name: int(text) if text.isdecimal() else text for name, text in topic.config.items()}
    config["cleanup.policy"] = [topic.config["cleanup.policy"]]
    return {
        "address": topic.name,
        "description": description,
        "messages": {message: {"$ref": f"#/components/messages/{message}"}},
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "partitions": topic.partitions,
                "replicas": topic.replication,
                "topicConfiguration": config,
                "bindingVersion": KAFKA_BINDING,
            }
        },
        **extensions,
    }


def _operations(settings: Settings) -> dict[str, Any]:
    flows = {
        "receiveTransactions": ("receive", "transactions", "transaction", {"bindings": _group(settings.app_id)}),
        "sendVerdicts": ("send", "verdicts", "verdict", {}),
        "sendAlerts": ("send", "alerts", "alert", {}),
        "sendDeadLetters": ("send", "deadLetters", "deadLetter", {}),
        "receiveLabels": ("receive", "labels", "label", {"bindings": _group(settings.audit_consumer_group)}),
    }
    return {
        name: {
            "action": action,
            "channel": {"$ref": f"#/channels/{channel}"},
            "messages": [{"$ref": f"#/channels/{channel}/messages/{message}"}],
            **more,
        }
        for name, (action, channel, message, more) in flows.items()
    }


def _group(group_id: str) -> dict[str, Any]:
    return {"kafka": {"groupId": {"type": "string", "const": group_id}, "bindingVersion": KAFKA_BINDING}}


def _messages(settings: Settings) -> dict[str, Any]:
    user_key: Schema = {
        "description": "The user_id in UTF-8.",
        "type": "string",
        "minLength": 1,
        "maxLength": MAX_ID_CHARS,
    }
    bytes_or_null: Schema = {"type": ["string", "null"], "format": "binary"}
    verdict: Schema = {"$ref": "#/components/schemas/Verdict"}
    flagged: Schema = {"type": "object", "properties": {"flagged": {"const": True}}}
    return {
        "transaction": _message("A card transaction", JSON, user_key, {"$ref": "#/components/schemas/Transaction"})
        | {"examples": [transaction_example()]},
        "verdict": _message("A verdict", JSON, user_key, verdict)
        | {"headers": {"$ref": "#/components/schemas/VerdictHeaders"}, "examples": [verdict_example()]},
        "alert": _message(
            "A verdict that is sent as an alert",
            JSON,
            user_key,
            verdict if settings.alert_on_all else {"allOf": [verdict, flagged]},
        )
        | {"examples": [alert_example()]},
        "label": _message("What a transaction turned out to be", JSON, user_key, {"$ref": "#/components/schemas/Label"})
        | {"examples": [label_example()]},
        "deadLetter": _message(
            "A message that could not be read",
            "application/octet-stream",
            {"description": "As it came.", **bytes_or_null},
            {"description": "The message as it came; null where it had no value.", **bytes_or_null},
        )
        | {
            "headers": {"$ref": "#/components/schemas/DeadLetterHeaders"},
            "examples": [dead_letter_example(settings.transactions_topic)],
        },
    }


def _message(title: str, content_type: str, key: Schema, payload: Schema) -> dict[str, Any]:
    return {
        "title": title,
        "contentType": content_type,
        "payload": payload,
        "bindings": {"kafka": {"key": key, "bindingVersion": KAFKA_BINDING}},
    }


def _servers(settings: Settings) -> tuple[dict[str, Any], dict[str, Any]]:
    """The brokers and how one proves to them who one is; never a name or a password."""
    protocol = settings.kafka_security_protocol
    schemes: dict[str, Any] = {}
    if protocol.startswith("SASL"):
        kinds = {"PLAIN": "plain", "SCRAM-SHA-256": "scramSha256", "SCRAM-SHA-512": "scramSha512"}
        schemes["sasl"] = {"type": kinds[settings.kafka_sasl_mechanism]}
    hosts = [host.strip() for host in (settings.kafka_servers or "").split(",") if host.strip()]
    servers = {
        f"broker-{number}": {
            "host": host,
            "protocol": "kafka-secure" if protocol.endswith("SSL") else "kafka",
            **({"security": [{"$ref": "#/components/securitySchemes/sasl"}]} if schemes else {}),
        }
        for number, host in enumerate(hosts, 1)
    }
    return servers, schemes
