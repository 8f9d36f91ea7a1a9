"""The Helm chart as helm renders it, for tests: objects by kind and name, or what helm said when it refused."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.checkout import ROOT

CHART = ROOT / "k8s" / "fraudstream"
NAMESPACE = "fraud-detection"
KUBERNETES_VERSION = "1.33.0"
KEDA = "keda.sh/v1alpha1"
PROMETHEUS_OPERATOR = ("monitoring.coreos.com/v1/ServiceMonitor", "monitoring.coreos.com/v1/PrometheusRule")
SECRET_KEYS = {
    "kafka-sasl-password",
    "redis-password",
    "worker-key",
    "api-key-hashes",
    "postgres-url-reader",
    "postgres-url-writer",
    "postgres-url-owner",
}
"""What the Secret of a release may have to hold."""

Manifest = dict[str, Any]

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
"""What `render` is given, by name: the ways in which the chart is used."""


class RefusedError(Exception):
    """helm rendered nothing; the text is what it said."""


def helm_path() -> str | None:
    """The helm of .tools/bin, else of the PATH, None where there is none."""
    return shutil.which("helm", path=os.pathsep.join((str(ROOT / ".tools" / "bin"), os.environ.get("PATH", ""))))


class Rendered:
    """What one rendering consists of, hooks included."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.objects: list[Manifest] = [one for one in yaml.safe_load_all(text) if one]

    def of_kind(self, *kinds: str) -> dict[str, Manifest]:
        """Objects of some kinds by name."""
        return {one["metadata"]["name"]: one for one in self.objects if one["kind"] in kinds}

    def get(self, kind: str, name: str) -> Manifest:
        """The one object of a kind with this name."""
        return self.of_kind(kind)[name]

    def pods(self) -> dict[str, Manifest]:
        """Every pod or pod template, with its metadata, by the name of what holds it."""
        found = self.of_kind("Pod")
        holders = self.of_kind("StatefulSet", "Deployment", "Job")
        return found | {name: holder["spec"]["template"] for name, holder in holders.items()}

    def containers(self) -> Iterator[tuple[str, Manifest, Manifest]]:
        """Name of the pod's holder, the pod's spec, and the container, for each."""
        for name, pod in self.pods().items():
            for container in pod["spec"]["containers"]:
                yield name, pod["spec"], container


def render(
    values: Manifest | None = None, *, file: str | None = None, apis: Sequence[str] = (), chart: Path = CHART
) -> Rendered:
    """Renders the chart as release "fraudstream".

    Args:
        values: on top of the defaults, and of `file`, a values file in the chart's folder.
        apis: what the cluster has beside Kubernetes' own.

    Raises:
        RefusedError: helm renders nothing.
    """
    command = [str(helm_path()), "template", "fraudstream", str(chart), "--namespace", NAMESPACE]
    command += ["--kube-version", KUBERNETES_VERSION, *(f"--api-versions={api}" for api in apis)]
    command += ["--values", str(chart / file)] if file else []
    ended = subprocess.run(
        [*command, "--values", "-"], input=json.dumps(values or {}), capture_output=True, text=True, check=False
    )
    if ended.returncode:
        raise RefusedError(ended.stderr)
    return Rendered(ended.stdout)


def environment(container: Manifest) -> dict[str, str]:
    """Variables of a container; what Kubernetes fills in has the value of the first worker."""
    found = {one["name"]: one.get("value", "fraudstream-worker-0") for one in container["env"]}
    return {name: value.replace("$(POD_NAME)", found.get("POD_NAME", "")) for name, value in found.items()}


def schema() -> Manifest:
    """What values may be."""
    found: Manifest = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    return found
