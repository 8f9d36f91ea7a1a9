"""What the tests of charts and deployments may rely on: the control plane is real, its pods do as they are told."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.servers.kubernetes.cluster import ZONES, CommandError, KubernetesCluster
from tests.servers.kubernetes.stages import READY_ANNOTATION, UNREADY_IMAGE

IMAGE = "registry.example/fraudstream:1.0.0"
PATIENCE_S = 30.0
ZONE = "topology.kubernetes.io/zone"
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
CHART = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: {{ .Release.Name }}}
spec:
  replicas: 2
  selector: {matchLabels: {app: {{ .Release.Name }}}}
  template:
    metadata: {labels: {app: {{ .Release.Name }}}}
    spec:
      containers: [{name: main, image: {{ .Values.image | quote }}, securityContext: {{ .Values.context | toJson }}}]
"""


def pod(image: str = IMAGE, **more: Any) -> dict[str, Any]:
    """The spec of a pod that a restricted namespace takes."""
    return {"containers": [{"name": "main", "image": image, "securityContext": RESTRICTED} | more]}


def deployment(name: str, image: str = IMAGE, replicas: int = 4, **more: Any) -> dict[str, Any]:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": pod(image, **more)}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template},
    }


def until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s, f"not within {PATIENCE_S:.0f} s"
        time.sleep(0.1)


def test_a_restricted_namespace_refuses_a_pod_that_is_not(kubernetes: KubernetesCluster, own_namespace: str) -> None:
    careless = {"containers": [{"name": "main", "image": IMAGE}]}
    manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "one"}, "spec": careless}
    with pytest.raises(CommandError, match=r'violates PodSecurity "restricted:latest": allowPrivilegeEscalation'):
        kubernetes.apply(manifest, namespace=own_namespace)
    kubernetes.apply(manifest | {"spec": pod()}, namespace=own_namespace)


def test_pods_become_ready_in_both_zones(kubernetes: KubernetesCluster, own_namespace: str) -> None:
    spread = deployment("worker")
    spread["spec"]["template"]["spec"]["topologySpreadConstraints"] = [
        {
            "maxSkew": 1,
            "topologyKey": "topology.kubernetes.io/zone",
            "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": {"app": "worker"}},
        }
    ]
    kubernetes.apply(spread, namespace=own_namespace)
    kubernetes.kubectl("rollout", "status", "deployment/worker", f"--namespace={own_namespace}", "--timeout=30s")
    zones = {node["metadata"]["name"]: node["metadata"]["labels"][ZONE] for node in kubernetes.get("nodes")}
    pods = kubernetes.get("pods", f"--namespace={own_namespace}")
    assert sorted(zones[each["spec"]["nodeName"]] for each in pods) == sorted(ZONES * 2)


def test_a_deployment_whose_pods_fail_never_gets_ready(kubernetes: KubernetesCluster, own_namespace: str) -> None:
    kubernetes.apply(deployment("worker", f"{IMAGE}-{UNREADY_IMAGE}"), namespace=own_namespace)
    running = ("pods", f"--namespace={own_namespace}", "--field-selector=status.phase=Running")
    until(lambda: len(kubernetes.get(*running)) == 4)
    with pytest.raises(CommandError, match="timed out"):
        kubernetes.kubectl("rollout", "status", "deployment/worker", f"--namespace={own_namespace}", "--timeout=4s")
    assert "readyReplicas" not in kubernetes.get("deployment", "worker", f"--namespace={own_namespace}")["status"]


def test_a_running_pod_loses_and_regains_its_readiness(kubernetes: KubernetesCluster, own_namespace: str) -> None:
    here = f"--namespace={own_namespace}"
    kubernetes.apply(deployment("worker"), namespace=own_namespace)
    kubernetes.kubectl("rollout", "status", "deployment/worker", here, "--timeout=30s")
    name = kubernetes.get("pods", here)[0]["metadata"]["name"]
    kubernetes.kubectl("annotate", "pod", name, here, f"{READY_ANNOTATION}=false")
    until(lambda: kubernetes.get("deployment", "worker", here)["status"].get("readyReplicas") == 3)
    kubernetes.kubectl("annotate", "pod", name, here, f"{READY_ANNOTATION}-")
    until(lambda: kubernetes.get("deployment", "worker", here)["status"].get("readyReplicas") == 4)


@pytest.mark.parametrize(("image", "ends"), [(IMAGE, "Complete"), (f"{IMAGE}-{UNREADY_IMAGE}", "Failed")])
def test_a_job_completes_unless_its_pod_fails(
    kubernetes: KubernetesCluster, own_namespace: str, image: str, ends: str
) -> None:
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "once"},
        "spec": {"backoffLimit": 0, "template": {"spec": pod(image) | {"restartPolicy": "Never"}}},
    }
    kubernetes.apply(job, namespace=own_namespace)
    kubernetes.kubectl("wait", f"--for=condition={ends}", "job/once", f"--namespace={own_namespace}", "--timeout=30s")


def test_a_stateful_set_gets_its_volumes(kubernetes: KubernetesCluster, own_namespace: str) -> None:
    labels = {"app": "worker"}
    mounts = [{"name": "data", "mountPath": "/data"}]
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    manifest = deployment("worker", replicas=2, volumeMounts=mounts) | {"kind": "StatefulSet"}
    manifest["spec"] |= {
        "serviceName": "worker",
        "volumeClaimTemplates": [{"metadata": {"name": "data", "labels": labels}, "spec": claim}],
    }
    kubernetes.apply(manifest, namespace=own_namespace)
    kubernetes.kubectl("rollout", "status", "statefulset/worker", f"--namespace={own_namespace}", "--timeout=30s")
    claims = kubernetes.get("persistentvolumeclaims", f"--namespace={own_namespace}")
    assert [each["status"]["phase"] for each in claims] == ["Bound", "Bound"]


def test_an_account_may_do_what_its_role_says_and_no_more(kubernetes: KubernetesCluster, own_namespace: str) -> None:
    here = f"--namespace={own_namespace}"
    kubernetes.kubectl("create", "serviceaccount", "deployer", here)
    kubernetes.kubectl("create", "role", "deployer", "--verb=patch", "--resource=deployments", here)
    account = f"{own_namespace}:deployer"
    kubernetes.kubectl("create", "rolebinding", "deployer", "--role=deployer", f"--serviceaccount={account}", here)
    someone = f"--as=system:serviceaccount:{account}"
    assert kubernetes.kubectl("auth", "can-i", "patch", "deployments", here, someone) == "yes\n"
    with pytest.raises(CommandError):  # `no` is exit 1
        kubernetes.kubectl("auth", "can-i", "get", "secrets", here, someone)


def test_without_metrics_an_autoscaler_keeps_the_replicas_within_its_bounds(
    kubernetes: KubernetesCluster, own_namespace: str
) -> None:
    here = f"--namespace={own_namespace}"
    kubernetes.apply(deployment("worker", resources={"requests": {"cpu": "1"}}, replicas=2), namespace=own_namespace)
    kubernetes.kubectl("autoscale", "deployment/worker", "--min=3", "--max=6", "--cpu=50%", here)

    def replicas() -> int:
        return int(kubernetes.get("deployment", "worker", here)["spec"]["replicas"])

    until(lambda: replicas() == 3)
    condition = "jsonpath={.status.conditions[?(@.type=='ScalingActive')].reason}"
    until(
        lambda: kubernetes.kubectl("get", "hpa", "worker", here, f"--output={condition}") == "FailedGetResourceMetric"
    )
    assert replicas() == 3


def test_a_broken_upgrade_rolls_itself_back(kubernetes: KubernetesCluster, own_namespace: str, tmp_path: Path) -> None:
    chart = tmp_path / "chart"
    (chart / "templates").mkdir(parents=True)
    (chart / "Chart.yaml").write_text("{apiVersion: v2, name: trial, version: 1.0.0, kubeVersion: '>=1.30'}")
    (chart / "values.yaml").write_text(json.dumps({"image": IMAGE, "context": RESTRICTED}))
    (chart / "templates" / "worker.yaml").write_text(CHART)
    here = f"--namespace={own_namespace}"
    kubernetes.helm("install", "trial", str(chart), here, "--wait", "--timeout=30s")
    broken = f"--set=image={IMAGE}-{UNREADY_IMAGE}"
    with pytest.raises(CommandError, match="rolled back due to atomic being set"):
        kubernetes.helm("upgrade", "trial", str(chart), here, broken, "--atomic", "--timeout=5s")
    history = json.loads(kubernetes.helm("history", "trial", here, "--output=json"))
    assert [each["status"] for each in history] == ["superseded", "failed", "deployed"]
    assert history[-1]["description"] == "Rollback to 1"
    status = kubernetes.get("deployment", "trial", here)
    assert status["spec"]["template"]["spec"]["containers"][0]["image"] == IMAGE
    assert status["status"]["readyReplicas"] == 2
