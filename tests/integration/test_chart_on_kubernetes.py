"""The chart on a real API server under the restricted Pod Security Standard: what it installs, keeps and undoes."""

from __future__ import annotations

import json
import re
import shutil
from importlib import metadata
from pathlib import Path

import pytest

from tests.chart import CHART, SECRET_KEYS
from tests.servers.kubernetes.cluster import CommandError, KubernetesCluster
from tests.servers.kubernetes.stages import UNREADY_IMAGE

pytestmark = pytest.mark.slow

RELEASE = "fraudstream"
WORKER = "statefulset/fraudstream-worker"
POD_API = ("get", "list", "watch", "create", "delete")


@pytest.fixture
def with_secrets(kubernetes: KubernetesCluster, own_namespace: str) -> str:
    """A namespace that holds what the chart asks for."""
    literals = [f"--from-literal={key}=x" for key in SECRET_KEYS]
    kubernetes.kubectl("create", "secret", "generic", "fraudstream-secrets", "--namespace", own_namespace, *literals)
    return own_namespace


@pytest.fixture
def release(kubernetes: KubernetesCluster, with_secrets: str) -> str:
    """The namespace of a release that runs, with the defaults."""
    upgrade(kubernetes, with_secrets, "--install")
    return with_secrets


def upgrade(kubernetes: KubernetesCluster, namespace: str, *more: str, chart: Path = CHART) -> None:
    release = (RELEASE, str(chart), "--namespace", namespace)
    kubernetes.helm("upgrade", *release, "--atomic", "--timeout", "60s", *more)


def workers(kubernetes: KubernetesCluster, namespace: str) -> dict[str, tuple[str, str]]:
    """Each worker's image and identity; only those that are ready."""
    pods = kubernetes.get("pods", "--namespace", namespace, "--selector", "app.kubernetes.io/component=worker")
    return {
        pod["metadata"]["name"]: (pod["spec"]["containers"][0]["image"], pod["metadata"]["uid"])
        for pod in pods
        if {"type": "Ready", "status": "True"}.items()
        <= next((one for one in pod["status"]["conditions"] if one["type"] == "Ready"), {}).items()
    }


def volumes(kubernetes: KubernetesCluster, namespace: str) -> dict[str, str]:
    claims = kubernetes.get("persistentvolumeclaims", "--namespace", namespace)
    return {claim["metadata"]["name"]: claim["spec"]["volumeName"] for claim in claims}


def test_a_restricted_namespace_takes_all_of_it(kubernetes: KubernetesCluster, release: str) -> None:
    pods = kubernetes.get("pods", "--namespace", release, "--selector", "app=anomaly-detector")
    by_component: dict[str, int] = {}
    for pod in pods:
        component = pod["metadata"]["labels"]["app.kubernetes.io/component"]
        by_component[component] = by_component.get(component, 0) + 1
        assert "kube-api-access" not in json.dumps(pod["spec"]["volumes"]), component
    assert by_component == {"worker": 2, "api": 2, "audit": 1, "topics": 1, "audit-migrate": 1}
    assert volumes(kubernetes, release).keys() == {"data-fraudstream-worker-0", "data-fraudstream-worker-1"}


def test_no_account_may_do_anything(kubernetes: KubernetesCluster, release: str) -> None:
    accounts = {one["metadata"]["name"] for one in kubernetes.get("serviceaccounts", "--namespace", release)}
    assert accounts == {"default", "fraudstream-worker", "fraudstream-api", "fraudstream-audit"}
    for account in accounts:
        who = f"--as=system:serviceaccount:{release}:{account}"
        for verb in POD_API:
            for what in ("pods", "secrets", "configmaps"):
                with pytest.raises(CommandError):  # "no" ends with 1
                    kubernetes.kubectl("auth", "can-i", verb, what, "--namespace", release, who)


def test_what_the_setup_jobs_needed_is_gone_when_they_are_done(kubernetes: KubernetesCluster, release: str) -> None:
    policies = {one["metadata"]["name"] for one in kubernetes.get("networkpolicies", "--namespace", release)}
    assert policies == {f"fraudstream-{name}" for name in ("default-deny", "worker", "api", "audit", "test")}


def test_an_upgrade_keeps_volumes_and_one_that_is_not_healthy_is_undone(
    kubernetes: KubernetesCluster, release: str
) -> None:
    before = volumes(kubernetes, release)
    upgrade(kubernetes, release, "--set", "image.tag=0.2.0", "--set", "settings.CONTAMINATION=0.05")
    assert {image for image, _ in workers(kubernetes, release).values()} == {"fraudstream:0.2.0"}
    assert volumes(kubernetes, release) == before
    broken = f"image.tag=0.3.0-{UNREADY_IMAGE},setup.topics=false,setup.auditMigrate=false"
    with pytest.raises(CommandError, match="rolled back due to atomic being set"):
        upgrade(kubernetes, release, "--set", broken, "--timeout", "30s")
    found = workers(kubernetes, release)
    assert {image for image, _ in found.values()} == {"fraudstream:0.2.0"}
    assert len(found) == 2
    assert volumes(kubernetes, release) == before


def test_an_upgrade_from_an_earlier_version_of_the_chart_keeps_volumes(
    kubernetes: KubernetesCluster, with_secrets: str, tmp_path: Path
) -> None:
    # What names the version must not be in what Kubernetes lets nobody change: selectors, claim templates.
    earlier = shutil.copytree(CHART, tmp_path / CHART.name)
    about = (earlier / "Chart.yaml").read_text()
    (earlier / "Chart.yaml").write_text(re.sub(r"(?m)^(version|appVersion): .*$", r'\1: "0.0.9"', about))
    upgrade(kubernetes, with_secrets, "--install", chart=earlier)
    before = volumes(kubernetes, with_secrets)
    assert {image for image, _ in workers(kubernetes, with_secrets).values()} == {"fraudstream:0.0.9"}
    upgrade(kubernetes, with_secrets)
    found = workers(kubernetes, with_secrets)
    assert {image for image, _ in found.values()} == {f"fraudstream:{metadata.version('fraudstream')}"}
    assert len(found) == 2
    assert volumes(kubernetes, with_secrets) == before


def test_a_canary_of_the_workers_is_one_pod(kubernetes: KubernetesCluster, release: str) -> None:
    before = workers(kubernetes, release)
    upgrade(kubernetes, release, "--set", "canary.workload=worker,canary.tag=0.2.0")
    after = workers(kubernetes, release)
    assert after["fraudstream-worker-0"] == before["fraudstream-worker-0"]
    assert after["fraudstream-worker-1"][0] == "fraudstream:0.2.0"
    upgrade(kubernetes, release, "--set", "image.tag=0.2.0")
    assert {image for image, _ in workers(kubernetes, release).values()} == {"fraudstream:0.2.0"}


def test_the_autoscaler_finds_what_it_scales_and_keeps_its_bounds(kubernetes: KubernetesCluster, release: str) -> None:
    where = ("horizontalpodautoscaler/fraudstream-api", "--namespace", release)
    able = "--for=condition=AbleToScale"
    kubernetes.kubectl("wait", able, *where, "--timeout=30s")
    scaler = kubernetes.get(*where)
    reasons = {one["type"]: one["reason"] for one in scaler["status"]["conditions"]}
    # It reads and writes the Deployment's scale; only figures are missing, because no metrics API runs here.
    assert reasons["AbleToScale"] == "SucceededGetScale"
    assert reasons["ScalingActive"] == "FailedGetResourceMetric"
    target = scaler["spec"]["scaleTargetRef"]
    assert kubernetes.get(f"{target['kind'].lower()}/{target['name']}", "--namespace", release)["spec"]["replicas"] == 2
    assert {one["resource"]["name"] for one in scaler["spec"]["metrics"]} == {"cpu", "memory"}


def test_more_workers_than_partitions_are_refused_and_nothing_changes(
    kubernetes: KubernetesCluster, release: str
) -> None:
    before = workers(kubernetes, release)
    with pytest.raises(CommandError, match=r"worker\.replicas"):
        upgrade(kubernetes, release, "--set", "worker.replicas=5,kafka.topicPartitions=4")
    assert workers(kubernetes, release) == before


def test_one_worker_may_be_evicted_at_a_time(kubernetes: KubernetesCluster, release: str) -> None:
    def evict(pod: str) -> None:
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": release}}
        path = f"/api/v1/namespaces/{release}/pods/{pod}/eviction"
        kubernetes.kubectl("create", f"--raw={path}", "--filename=-", stdin=json.dumps(body))

    evict("fraudstream-worker-0")
    with pytest.raises(CommandError, match="disruption budget"):
        evict("fraudstream-worker-1")


def test_workers_get_other_disks_as_the_page_says(kubernetes: KubernetesCluster, release: str) -> None:
    before = workers(kubernetes, release)
    larger = ("--set", "worker.storage.size=20Gi")
    with pytest.raises(CommandError, match="Forbidden"):
        upgrade(kubernetes, release, *larger)
    kubernetes.kubectl("delete", WORKER, "--namespace", release, "--cascade=orphan")
    upgrade(kubernetes, release, *larger)
    assert workers(kubernetes, release) == before
    template = kubernetes.get(WORKER, "--namespace", release)["spec"]["volumeClaimTemplates"][0]
    assert template["spec"]["resources"]["requests"]["storage"] == "20Gi"
