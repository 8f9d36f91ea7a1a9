"""What the Helm chart promises, read off what helm renders: who may do what, what is refused, and that it all fits."""

from __future__ import annotations

import configparser
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import SecretStr

from fraudstream.settings import Settings, load_settings
from tests.chart import (
    CHART,
    KEDA,
    NAMESPACE,
    PROMETHEUS_OPERATOR,
    Manifest,
    RefusedError,
    Rendered,
    environment,
    helm_path,
    render,
)
from tests.checkout import ROOT
from tests.conftest import missing

pytestmark = pytest.mark.kubernetes

SECRET_KEYS = {
    "kafka-sasl-password",
    "redis-password",
    "worker-key",
    "api-key-hashes",
    "postgres-url-reader",
    "postgres-url-writer",
    "postgres-url-owner",
}
SECURED: Manifest = {
    "kafka": {"securityProtocol": "SASL_SSL", "sasl": {"username": "fraud"}, "caFrom": {"name": "kafka-ca"}},
    "redis": {"tls": True, "hasPassword": True, "caFrom": {"kind": "ConfigMap", "name": "redis-ca"}},
    "postgres": {"caFrom": {"name": "postgres-ca"}},
}
FROM_VALUES: Manifest = SECURED | {
    "secrets": {"source": "values", "values": {key: f"sentinel-{key}" for key in SECRET_KEYS}}
}
VARIANTS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "small": {"file": "values-small.yaml"},
    "production": {"file": "values-production.yaml", "apis": (KEDA, *PROMETHEUS_OPERATOR)},
    "everything secured": {"values": SECURED},
    "secrets from values": {"values": FROM_VALUES},
    "canary of the workers": {"values": {"canary": {"workload": "worker", "tag": "0.2.0"}}},
    "canary of the API": {"values": {"canary": {"workload": "api", "tag": "0.2.0"}}},
    "an API that does not record": {"values": {"api": {"recording": False}}},
    "a registry of models": {"values": {"model": {"registry": {"existingClaim": "models"}}}},
    "settings": {"values": {"settings": {"PROFILE_TTL_S": 3024000, "CONTAMINATION": 0.05, "ALERT_ON_ALL": True}}},
}


@pytest.fixture(scope="module", autouse=True)
def helm() -> None:
    if helm_path() is None:
        missing("helm is neither in .tools/bin (`make tools`) nor on the PATH")


@pytest.fixture(scope="module", params=VARIANTS)
def rendered(request: pytest.FixtureRequest, helm: None) -> Rendered:
    return render(**VARIANTS[request.param])


def schema() -> Manifest:
    found: Manifest = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    return found


# Names and labels


def test_every_workload_carries_the_labels_that_people_select_by(rendered: Rendered) -> None:
    wanted = {f"app.kubernetes.io/{name}" for name in ("name", "instance", "component", "part-of")}
    pods = rendered.pods()
    assert pods
    for holder in [*rendered.of_kind("StatefulSet", "Deployment", "Job").values(), *pods.values()]:
        labels = holder["metadata"]["labels"]
        assert labels["app"] == "anomaly-detector"
        assert wanted <= labels.keys()


def test_everything_is_in_the_namespace_of_the_release(rendered: Rendered) -> None:
    assert {one["metadata"]["namespace"] for one in rendered.objects} == {NAMESPACE}


def test_the_application_version_is_the_library_s() -> None:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"] == parser["metadata"]["version"]


def test_no_registry_is_assumed_and_a_digest_wins() -> None:
    assert {one["image"] for *_, one in render().containers()} == {"fraudstream:0.1.0"}
    digest = "sha256:" + "a" * 64
    image = {"registry": "registry.example:5000", "repository": "team/fraud", "tag": "1.0.0", "digest": digest}
    assert {one["image"] for *_, one in render({"image": image}).containers()} == {
        f"registry.example:5000/team/fraud@{digest}"
    }


# What pods may do


def test_every_pod_fits_the_restricted_pod_security_standard(rendered: Rendered) -> None:
    for name, spec, container in rendered.containers():
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["runAsUser"] >= 10_000, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys(), name
        assert not [volume for volume in spec["volumes"] if "hostPath" in volume], name
        places = {mount["mountPath"]: mount.get("readOnly", False) for mount in container["volumeMounts"]}
        writable = {place for place, read_only in places.items() if not read_only}
        assert writable <= {"/tmp", "/var/lib/fraudstream"}, name  # noqa: S108  where the chart mounts it


def test_every_container_asks_for_what_it_needs_and_is_bounded(rendered: Rendered) -> None:
    for name, _, container in rendered.containers():
        for side in ("requests", "limits"):
            assert {"cpu", "memory"} <= container["resources"][side].keys(), name


def test_no_pod_can_ask_the_kubernetes_api(rendered: Rendered) -> None:
    accounts = rendered.of_kind("ServiceAccount")
    assert not rendered.of_kind("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding")
    assert all(account["automountServiceAccountToken"] is False for account in accounts.values())
    for name, pod in rendered.pods().items():
        assert pod["spec"]["automountServiceAccountToken"] is False, name
        assert pod["spec"]["serviceAccountName"] in accounts, name
    holders = rendered.of_kind("StatefulSet", "Deployment", "Job")
    by_account = [
        holder["spec"]["template"]["spec"]["serviceAccountName"]
        for name, holder in holders.items()
        if not name.endswith("-canary")
    ]
    assert len(by_account) == len(set(by_account)), "one account for each workload"


# Settings


def test_every_variable_is_a_setting(rendered: Rendered) -> None:
    secret = {name for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)}
    known = {name.upper() for name in Settings.model_fields} | {f"{name.upper()}_FILE" for name in secret}
    for name, _, container in rendered.containers():
        assert environment(container).keys() - known <= {"POD_NAME"}, name


def test_the_settings_that_values_may_name_are_those_the_chart_does_not_set() -> None:
    free = schema()["properties"]["settings"]["properties"].keys()
    secured = [render(SECURED), render({"auth": {"mode": "anonymous"}})]
    secured += [render({"model": {"dir": "/model"}}), render({"model": {"registry": {"existingClaim": "models"}}})]
    secured.append(render({"redis": {"username": "fraud"}}))
    of_chart = {
        name if name.lower() in Settings.model_fields else name.removesuffix("_FILE")
        for one in secured
        for *_, container in one.containers()
        for name in environment(container)
    } - {"POD_NAME"}
    plain_keys = {"API_KEYS"}  # only hashes of keys belong into a cluster
    assert free == {name.upper() for name in Settings.model_fields} - of_chart - plain_keys
    assert not free & of_chart


def test_every_process_takes_its_settings(
    rendered: Rendered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain_environment: None
) -> None:
    place = tmp_path / "etc"
    for name, spec, container in rendered.containers():
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        for mount in container["volumeMounts"]:
            for file in _files(volumes.get(mount["name"], {})):
                path = place / mount["mountPath"].removeprefix("/etc/fraudstream/") / file
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text("postgresql://db/fraud", encoding="utf-8")
        with monkeypatch.context() as patch:
            for variable, value in environment(container).items():
                patch.setenv(variable, value.replace("/etc/fraudstream", str(place)))
            settings = load_settings()
        for field in (settings.kafka_ssl_cafile, settings.redis_ssl_cafile, settings.api_key_hashes_file):
            assert field is None or field.is_file(), name
        if "audit-migrate" not in name:
            assert settings.app_id == "fraudstream", name
        if settings.web_host not in ("127.0.0.1",) and "audit" not in name and not settings.allow_anonymous:
            assert isinstance(settings.worker_key, SecretStr) or "worker" not in name


def _files(volume: Manifest) -> Iterator[str]:
    for source in ("secret", "configMap"):
        yield from (item["path"] for item in volume.get(source, {}).get("items", ()))


def test_numbers_are_written_as_the_library_reads_them() -> None:
    settings = {"PROFILE_TTL_S": 3024000, "CONTAMINATION": 0.05, "ALERT_ON_ALL": True}
    worker = render({"settings": settings}).get("StatefulSet", "fraudstream-worker")
    found = environment(worker["spec"]["template"]["spec"]["containers"][0])
    assert {name: found[name] for name in settings} == {
        "PROFILE_TTL_S": "3024000",
        "CONTAMINATION": "0.05",
        "ALERT_ON_ALL": "true",
    }


def test_each_worker_is_reached_at_a_name_of_its_own() -> None:
    found = render()
    worker = found.get("StatefulSet", "fraudstream-worker")
    service = found.get("Service", worker["spec"]["serviceName"])
    variables = environment(worker["spec"]["template"]["spec"]["containers"][0])
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["publishNotReadyAddresses"] is True
    assert service["spec"]["selector"] == worker["spec"]["selector"]["matchLabels"]
    assert variables["WORKER_URL"] == f"http://fraudstream-worker-0.{service['metadata']['name']}.{NAMESPACE}.svc:8000"
    assert variables["KAFKA_GROUP_INSTANCE_ID"] == "fraudstream-worker-0"
    assert variables["STANDBY_REPLICAS"] == "1"


# Secrets


def test_a_secret_stands_in_secrets_only() -> None:
    for one in render(FROM_VALUES, apis=(KEDA, *PROMETHEUS_OPERATOR)).objects:
        assert ("sentinel-" in json.dumps(one)) == (one["kind"] == "Secret"), one["metadata"]["name"]


def test_each_workload_sees_its_own_secrets_only() -> None:
    found = render(SECURED)
    seen = {
        name: {
            item["key"]
            for volume in spec["volumes"]
            if volume.get("secret", {}).get("secretName") == "fraudstream-secrets"
            for item in volume["secret"]["items"]
        }
        for name, spec, _ in found.containers()
    }
    kafka, keys = {"kafka-sasl-password"}, {"api-key-hashes"}
    assert seen == {
        "fraudstream-worker": kafka | keys | {"redis-password", "worker-key", "postgres-url-reader"},
        "fraudstream-api": kafka | keys | {"redis-password"},
        "fraudstream-audit": kafka | {"postgres-url-writer"},
        "fraudstream-topics": kafka,
        "fraudstream-audit-migrate": {"postgres-url-owner"},
        "fraudstream-test-worker": kafka | keys | {"redis-password", "worker-key"},
        "fraudstream-test-audit": kafka | {"postgres-url-writer"},
    }
    for name, _, container in found.containers():
        assert not [one for one in container["env"] if "secretKeyRef" in one.get("valueFrom", {})], name


@pytest.mark.parametrize("source", ["values", "external"])
def test_the_owner_of_the_trail_is_known_to_the_setup_jobs_only(source: str) -> None:
    secrets = {"source": source, "external": {"storeRef": {"name": "vault"}}}
    values = FROM_VALUES | {
        "secrets": secrets | ({"values": FROM_VALUES["secrets"]["values"]} if source == "values" else {})
    }
    found = render(values, apis=("external-secrets.io/v1/ExternalSecret",)).of_kind("Secret", "ExternalSecret")
    assert found.keys() == {"fraudstream-secrets", "fraudstream-setup"}
    assert "postgres-url-owner" not in json.dumps(found["fraudstream-secrets"])
    assert "postgres-url-owner" in json.dumps(found["fraudstream-setup"])


def test_a_changed_secret_restarts_who_reads_it_and_a_changed_key_nobody() -> None:
    def templates(**changed: str) -> dict[str, str]:
        secrets = {"source": "values", "values": FROM_VALUES["secrets"]["values"] | changed}
        found = render(FROM_VALUES | {"secrets": secrets}).of_kind("StatefulSet", "Deployment")
        return {name: json.dumps(one["spec"]["template"]) for name, one in found.items()}

    before = templates()
    after = templates(**{"redis-password": "other"})
    assert {name for name, one in after.items() if one != before[name]} == {"fraudstream-worker", "fraudstream-api"}
    assert templates(**{"api-key-hashes": "other"}) == before


# What is refused


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
        assert "additionalProperties" in node, path
        for name, child in node.get("properties", {}).items():
            where = f"{path}.{name}".lstrip(".")
            if name not in free_form and path not in {"settings", "secrets.values"}:
                assert name in shown, f"values.yaml does not show {where}"
            walk(child, shown.get(name, {}) if isinstance(shown, dict) else {}, where)

    walk(whole, defaults, "")


# Scaling, upgrades and stops


def test_one_workload_has_one_scaler() -> None:
    def scalers(by: str, *apis: str) -> set[tuple[str, str]]:
        found = render({"worker": {"autoscaling": {"by": by}}}, apis=apis)
        return {
            (one["kind"], one["spec"]["scaleTargetRef"]["name"])
            for one in found.of_kind("HorizontalPodAutoscaler", "ScaledObject").values()
        } | {
            ("replicas", name)
            for name, one in found.of_kind("StatefulSet", "Deployment").items()
            if "replicas" in one["spec"]
        }

    api = ("HorizontalPodAutoscaler", "fraudstream-api")
    audit = ("replicas", "fraudstream-audit")
    assert scalers("none", KEDA) == {api, audit, ("replicas", "fraudstream-worker")}
    # Objects by name: the two autoscalers' names differ, but `of_kind` would hide one of the same name.
    assert scalers("cpu", KEDA) == {api, audit, ("HorizontalPodAutoscaler", "fraudstream-worker")}
    assert scalers("lag", KEDA) == {api, audit, ("ScaledObject", "fraudstream-worker")}
    assert scalers("lag") == {api, audit, ("replicas", "fraudstream-worker")}


def test_keda_reads_the_lag_as_the_worker_s_group_has_it() -> None:
    found = render(SECURED | {"worker": {"autoscaling": {"by": "lag"}}}, apis=(KEDA,))
    trigger = found.get("ScaledObject", "fraudstream-worker")["spec"]["triggers"][0]["metadata"]
    assert trigger == {
        "bootstrapServers": "kafka:9092",
        "consumerGroup": "fraudstream",
        "topic": "transactions",
        "lagThreshold": "50000",
        "offsetResetPolicy": "earliest",
        "allowIdleConsumers": "false",
        "sasl": "scram_sha512",
        "tls": "enable",
    }
    secrets = found.get("TriggerAuthentication", "fraudstream-worker")["spec"]["secretTargetRef"]
    assert {(one["parameter"], one["name"]) for one in secrets} == {
        ("password", "fraudstream-secrets"),
        ("ca", "kafka-ca"),
    }


def test_alive_and_ready_are_asked_apart(rendered: Rendered) -> None:
    for name, holder in rendered.of_kind("StatefulSet", "Deployment").items():
        container = holder["spec"]["template"]["spec"]["containers"][0]
        paths = {probe: container[probe]["httpGet"]["path"] for probe in container if probe.endswith("Probe")}
        assert paths == {
            "startupProbe": "/health/live",
            "livenessProbe": "/health/live",
            "readinessProbe": "/health/ready",
        }, name
        assert "lifecycle" not in container, "a preStop would need a shell"


def test_a_stop_lasts_longer_than_the_draining(rendered: Rendered) -> None:
    for name, spec, container in rendered.containers():
        drain_s = float(environment(container).get("DRAIN_S", 0))
        if name in rendered.of_kind("StatefulSet", "Deployment"):
            assert spec["terminationGracePeriodSeconds"] >= drain_s + 20, name


def test_what_kubernetes_does_not_let_change_stays_over_versions(tmp_path: Path) -> None:
    newer = tmp_path / "fraudstream"
    shutil.copytree(CHART, newer)
    chart = (newer / "Chart.yaml").read_text().replace("0.1.0", "9.9.9")
    (newer / "Chart.yaml").write_text(chart)

    def fixed(found: Rendered) -> Manifest:
        spec = found.get("StatefulSet", "fraudstream-worker")["spec"]
        return {name: spec[name] for name in ("serviceName", "podManagementPolicy", "selector", "volumeClaimTemplates")}

    before = fixed(render())
    assert fixed(render(chart=newer)) == before
    assert fixed(render({"image": {"tag": "2"}, "worker": {"podLabels": {"team": "fraud"}, "replicas": 3}})) == before
    # Released: a change here strands the volumes of whoever upgrades.
    assert before["serviceName"] == "fraudstream-worker-peers"
    assert before["podManagementPolicy"] == "Parallel"
    assert before["selector"]["matchLabels"] == {
        "app.kubernetes.io/name": "fraudstream",
        "app.kubernetes.io/instance": "fraudstream",
        "app.kubernetes.io/component": "worker",
    }
    claim = before["volumeClaimTemplates"][0]
    assert claim["metadata"]["name"] == "data"
    assert claim["spec"] == {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Gi"}}}


def test_a_canary_of_the_workers_is_the_last_pod() -> None:
    found = render({"canary": {"workload": "worker", "tag": "0.2.0"}, "worker": {"replicas": 3}})
    worker = found.get("StatefulSet", "fraudstream-worker")["spec"]
    assert worker["updateStrategy"]["rollingUpdate"]["partition"] == 2
    images = {name: container["image"] for name, _, container in found.containers()}
    assert {name for name, image in images.items() if image == "fraudstream:0.2.0"} == {"fraudstream-worker"}


def test_a_canary_of_the_api_is_one_pod_behind_the_same_service() -> None:
    found = render({"canary": {"workload": "api", "tag": "0.2.0"}})
    stable, canary = found.get("Deployment", "fraudstream-api"), found.get("Deployment", "fraudstream-api-canary")
    selector = found.get("Service", "fraudstream-api")["spec"]["selector"].items()
    assert canary["spec"]["replicas"] == 1
    assert canary["spec"]["template"]["spec"]["containers"][0]["image"] == "fraudstream:0.2.0"
    assert stable["spec"]["template"]["spec"]["containers"][0]["image"] == "fraudstream:0.1.0"
    for one in (stable, canary):
        assert selector <= one["spec"]["template"]["metadata"]["labels"].items()
    assert stable["spec"]["selector"] != canary["spec"]["selector"]


def test_setup_jobs_find_all_they_need_before_anything_else_is_there() -> None:
    found = render(FROM_VALUES)
    hooks = {
        (one["kind"], one["metadata"]["name"]): one["metadata"]["annotations"]
        for one in found.objects
        if "pre-install" in one["metadata"].get("annotations", {}).get("helm.sh/hook", "")
    }
    jobs = {"fraudstream-topics", "fraudstream-audit-migrate"}
    assert hooks.keys() == {
        *(("Job", name) for name in jobs),
        *(("ServiceAccount", name) for name in jobs),
        *(("NetworkPolicy", name) for name in jobs),
        ("Secret", "fraudstream-setup"),
    }
    assert all(annotations["helm.sh/hook"] == "pre-install,pre-upgrade" for annotations in hooks.values())
    weights = {one: int(annotations["helm.sh/hook-weight"]) for one, annotations in hooks.items()}
    assert max(weight for (kind, _), weight in weights.items() if kind != "Job") < min(
        weight for (kind, _), weight in weights.items() if kind == "Job"
    )
    for name in jobs:
        secrets = [
            volume["secret"]["secretName"]
            for volume in found.get("Job", name)["spec"]["template"]["spec"]["volumes"]
            if volume["name"] == "secrets"
        ]
        assert secrets == ["fraudstream-setup"]


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

