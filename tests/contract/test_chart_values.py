"""Values that the chart refuses, and in which words."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml

from tests.chart import CHART, Manifest, RefusedError, render, schema

pytestmark = [pytest.mark.kubernetes, pytest.mark.usefixtures("helm")]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"worker": {"replicas": 5}}, "worker.replicas: expected at most kafka.topicPartitions (4), got 5"),
        (
            {"worker": {"autoscaling": {"by": "cpu", "maxReplicas": 5}}},
            "worker.autoscaling.maxReplicas: expected at most kafka.topicPartitions (4), got 5",
        ),
        (
            {"worker": {"autoscaling": {"by": "lag", "maxReplicas": 9}}},
            "expected at most kafka.topicPartitions (4), got 9",
        ),
        ({"worker": {"replicas": 1}}, "worker.standbyReplicas: expected fewer than there are workers"),
        (
            {"worker": {"drainS": 50}},
            "worker.terminationGracePeriodSeconds: expected at least drainS + 20 (70), got 60",
        ),
        ({"redis": {"host": ""}}, "api.enabled: expected redis.host"),
        ({"kafka": {"securityProtocol": "SASL_SSL"}}, "kafka.sasl.username: expected a name"),
        ({"model": {"dir": "/m", "registry": {"existingClaim": "m"}}}, "expected one of them, got both"),
        ({"canary": {"workload": "api"}}, "canary.tag: expected the image's tag or canary.digest"),
        ({"secrets": {"source": "values"}}, 'expected a value with secrets.source "values", got none'),
        ({"secrets": {"source": "external"}}, "expected the External Secrets operator"),
        ({"secrets": {"values": {"worker-key": "x"}}}, "expected none with secrets.source existing"),
    ],
)
def test_values_that_do_not_go_together_are_refused_in_words(values: Manifest, said: str) -> None:
    with pytest.raises(RefusedError, match=re.escape(said)):
        render(values)


@pytest.mark.parametrize(
    "values",
    [
        {"wroker": {}},
        {"worker": {"replica": 1}},
        {"worker": {"replicas": "2"}},
        {"worker": {"replicas": 0}},
        {"worker": {"autoscaling": {"by": "memory"}}},
        {"worker": {"storage": {"whenDeleted": "Keep"}}},
        {"kafka": {"servers": ["kafka"]}},
        {"kafka": {"topicPartitions": 0}},
        {"kafka": {"securityProtocol": "TLS"}},
        {"settings": {"CONTAMINATON": 0.1}},
        {"settings": {"WEB_PORT": 9000}},
        {"image": {"digest": "latest"}},
        {"secrets": {"values": {"kafka-password": "x"}}},
        {"networkPolicy": {"callers": [{}]}},
        {"api": {"resources": {"limits": {"memory": "two gigabytes"}, "requests": {}}}},
        {"redis": {"host": "redis://user:password@redis"}},
        {"podSecurity": {"runAsUser": 0}},
    ],
    ids=json.dumps,
)
def test_a_typo_is_refused(values: Manifest) -> None:
    with pytest.raises(RefusedError, match="don't meet the specifications of the schema"):
        render(values)


def test_the_schema_leaves_nothing_open_and_values_show_all_of_it() -> None:
    whole = schema()
    defaults = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    free_form = {"global", "affinity"}

    def walk(node: Manifest, shown: Any, path: str) -> None:
        node = whole["definitions"][node["$ref"].rpartition("/")[2]] if "$ref" in node else node
        if node.get("type") != "object" or path.rpartition(".")[2] in free_form:
            return
        assert node.get("additionalProperties", True) is not True, path
        for name, child in node.get("properties", {}).items():
            where = f"{path}.{name}".lstrip(".")
            if name not in free_form and path not in {"settings", "secrets.values"}:
                assert name in shown, f"values.yaml does not show {where}"
            walk(child, shown.get(name, {}) if isinstance(shown, dict) else {}, where)

    walk(whole, defaults, "")
