"""Who reaches whom, and what of the chart is for Prometheus and Grafana."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.chart import CHART, PROMETHEUS_OPERATOR, SECRET_KEYS, Manifest, Rendered, render

pytestmark = [pytest.mark.kubernetes, pytest.mark.usefixtures("helm")]

# The network

DNS, KAFKA, REDIS, POSTGRES, WORKER = {53}, {9092}, {6379}, {5432}, {"http"}
CALLERS = {"podSelector": {"matchLabels": {"role": "till"}}}
REACHES = {
    "worker": DNS | KAFKA | REDIS | POSTGRES | WORKER,
    "api": DNS | KAFKA | REDIS,
    "audit": DNS | KAFKA | POSTGRES,
    "test": DNS | KAFKA | REDIS | POSTGRES,
    "topics": DNS | KAFKA,
    "audit-migrate": DNS | POSTGRES,
}
IS_REACHED_BY = {"worker": {"till", "monitoring", "worker"}, "api": {"till", "monitoring"}, "audit": {"monitoring"}}


def test_each_pod_reaches_and_is_reached_by_what_the_table_says() -> None:
    found = render({"networkPolicy": {"callers": [CALLERS]}}).of_kind("NetworkPolicy")
    assert found.keys() == {f"fraudstream-{name}" for name in (*REACHES, "default-deny")}
    for component, ports in REACHES.items():
        policy = found[f"fraudstream-{component}"]["spec"]
        assert policy["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == component
        assert policy["policyTypes"] == ["Ingress", "Egress"]
        assert {port["port"] for rule in policy["egress"] for port in rule["ports"]} == ports, component
        peers = [peer for rule in policy["ingress"] for peer in rule["from"]]
        assert {_peer(peer) for peer in peers} == IS_REACHED_BY.get(component, set()), component
        assert all(rule["ports"] == [{"protocol": "TCP", "port": "http"}] for rule in policy["ingress"]), component
        dns = next(rule for rule in policy["egress"] if rule["ports"][0]["port"] == 53)
        assert dns["to"], "names are resolved at the cluster's DNS only"


def _peer(peer: Manifest) -> str:
    labels = {**peer.get("podSelector", {}), **peer.get("namespaceSelector", {})}["matchLabels"]
    return str(labels.get("role") or labels.get("kubernetes.io/metadata.name") or labels["app.kubernetes.io/component"])


def test_nobody_gets_in_where_nobody_is_named() -> None:
    found = render({"networkPolicy": {"callers": [], "prometheus": []}}).of_kind("NetworkPolicy")
    peers = {
        name: [peer for rule in one["spec"].get("ingress", []) for peer in rule["from"]] for name, one in found.items()
    }
    assert [_peer(peer) for peer in peers.pop("fraudstream-worker")] == ["worker"]
    assert not any(peers.values())


def test_every_pod_is_shut_by_default(rendered: Rendered) -> None:
    closed = rendered.get("NetworkPolicy", "fraudstream-default-deny")["spec"]
    assert closed["policyTypes"] == ["Ingress", "Egress"]
    assert not {"ingress", "egress"} & closed.keys()
    policies = [one["spec"]["podSelector"]["matchLabels"].items() for one in rendered.of_kind("NetworkPolicy").values()]
    for name, pod in rendered.pods().items():
        labels = pod["metadata"]["labels"].items()
        assert closed["podSelector"]["matchLabels"].items() <= labels, name
        assert sum(selector <= labels for selector in policies) == 2, f"{name}: shut, and opened once"


def test_policies_follow_the_ports_and_addresses_of_values() -> None:
    values = {
        "kafka": {"servers": ["a.example:9093", "b.example:9094"]},
        "redis": {"port": 6380},
        "postgres": {"port": 6432},
        "networkPolicy": {"kafka": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]},
    }
    egress = render(values).get("NetworkPolicy", "fraudstream-worker")["spec"]["egress"]
    by_port = {port["port"]: rule.get("to") for rule in egress for port in rule["ports"]}
    assert by_port.keys() == {53, 9093, 9094, 6380, 6432, "http"}
    assert by_port[9093] == by_port[9094] == [{"ipBlock": {"cidr": "10.0.0.0/8"}}]


# Monitoring


def test_operators_objects_come_only_where_the_operator_is() -> None:
    kinds = {one["kind"] for one in render(file="values-production.yaml").objects}
    assert not kinds & {"ServiceMonitor", "PrometheusRule", "ScaledObject", "TriggerAuthentication", "ExternalSecret"}


def test_each_process_is_scraped_once() -> None:
    found = render(apis=PROMETHEUS_OPERATOR)
    selector = found.of_kind("ServiceMonitor")["fraudstream"]["spec"]["selector"]
    components = selector["matchExpressions"][0]["values"]
    chosen = {
        name: one["spec"]["selector"]["app.kubernetes.io/component"]
        for name, one in found.of_kind("Service").items()
        if one["metadata"]["labels"]["app.kubernetes.io/component"] in components
    }
    assert sorted(chosen.values()) == ["api", "audit", "worker"]


def test_dashboards_and_rules_are_the_files_beside_the_chart(tmp_path: Path) -> None:
    chart = tmp_path / "fraudstream"
    shutil.copytree(CHART, chart, ignore=shutil.ignore_patterns("dashboards", "rules"))
    assert not render(chart=chart, apis=PROMETHEUS_OPERATOR).of_kind("ConfigMap", "PrometheusRule")
    dashboard = {"title": "Stream", "panels": [{"legendFormat": "{{instance}}"}]}
    groups = {
        "groups": [{"name": "stream", "rules": [{"alert": "Stuck", "annotations": {"summary": "{{ $labels.x }}"}}]}]
    }
    for folder, name, content in (("dashboards", "stream.json", dashboard), ("rules", "fraudstream.rules.yml", groups)):
        (chart / folder).mkdir()
        (chart / folder / name).write_text(json.dumps(content, indent=2), encoding="utf-8")
    found = render(chart=chart, apis=PROMETHEUS_OPERATOR)
    config = found.get("ConfigMap", "fraudstream-dashboard-stream")
    assert config["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert json.loads(config["data"]["stream.json"]) == dashboard
    assert found.get("PrometheusRule", "fraudstream-rules-fraudstream")["spec"] == groups


def test_the_readme_names_every_policy_and_secret() -> None:
    readme = (CHART.parent / "README.md").read_text(encoding="utf-8")
    assert not {key for key in SECRET_KEYS if f"`{key}`" not in readme}
    assert not {name for name in REACHES if f"| {name} |" not in readme}
