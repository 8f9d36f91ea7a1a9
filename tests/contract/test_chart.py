"""What the Helm chart promises: labels, rights, probes, scaling and upgrades, read off what helm renders."""

from __future__ import annotations

import configparser
import shutil
from pathlib import Path

import pytest
import yaml

from tests.chart import CHART, FROM_VALUES, KEDA, NAMESPACE, SECURED, Manifest, Rendered, environment, render
from tests.checkout import ROOT

pytestmark = [pytest.mark.kubernetes, pytest.mark.usefixtures("helm")]

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
