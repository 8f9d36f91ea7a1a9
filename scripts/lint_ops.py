"""Checks the Helm chart without a cluster: `make lint-ops`. The first thing wrong is told, and the exit code is 1.

Every values file and every variant is linted (helm lint --strict), rendered for three versions of Kubernetes, held
against their schemas (kubernetes-validate) and judged by checkov. What checkov is to skip says why, in the object.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CHART = ROOT / "k8s" / "fraudstream"
KUBERNETES_VERSIONS = ("1.29", "1.32", "1.34")
"""The oldest that Chart.yaml takes, one in the middle, the newest that the pinned kubernetes-validate knows."""

OPERATORS = {
    "monitoring.coreos.com/v1": ("PrometheusRule", "ServiceMonitor"),
    "keda.sh/v1alpha1": ("ScaledObject", "TriggerAuthentication"),
    "external-secrets.io/v1": ("ExternalSecret",),
}
"""Kinds that only operators know: rendered as on a cluster that has them, and without a schema to be held against."""

SECRETS = ("worker-key", "api-key-hashes", "postgres-url-reader", "postgres-url-writer", "postgres-url-owner")
VARIANTS = {
    "values.yaml": "",
    "values-small.yaml": "",
    "values-production.yaml": "",
    "canary of the workers": "canary.workload=worker,canary.tag=0.2.0",
    "canary of the API": "canary.workload=api,canary.tag=0.2.0",
    "scaled by CPU": "worker.autoscaling.by=cpu",
    "secrets from values": ",".join(("secrets.source=values", *(f"secrets.values.{key}=x" for key in SECRETS))),
    "external secrets": "secrets.source=external,secrets.external.storeRef.name=vault",
    "a registry of models": "model.registry.existingClaim=models",
}
"""What is set in each; a name that is a file's is that file."""

WITHOUT_SCHEMA = re.compile(r"Couldn't find schema for kind (\S+) with api version (\S+)")


class LintError(Exception):
    """What is wrong, in the words of the tool that found it."""


def main() -> int:
    """Runs every check; returns the exit code."""
    try:
        with tempfile.TemporaryDirectory() as directory:
            check(Path(directory))
    except LintError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"the chart is well: {len(VARIANTS)} sets of values, Kubernetes {', '.join(KUBERNETES_VERSIONS)}, checkov")
    return 0


def check(directory: Path) -> None:
    """Lints the values files, renders and validates every variant into a directory.

    Raises:
        LintError: a tool is missing or has found something.
    """
    newest = []
    for number, name in enumerate(VARIANTS):
        if name.endswith(".yaml"):
            run("helm", "lint", "--strict", "--quiet", str(CHART), "--values", str(CHART / name))
        for version in KUBERNETES_VERSIONS:
            path = directory / f"{number}-{version}.yaml"
            path.write_text(render(name, version), encoding="utf-8")
            validate(path, version, name)
        newest += ["--file", str(directory / f"{number}-{KUBERNETES_VERSIONS[-1]}.yaml")]
    run("checkov", "--framework", "kubernetes", "--quiet", "--compact", "--skip-download", *newest)


def render(name: str, version: str) -> str:
    """The objects of one variant, hooks included, as a cluster of this version with every operator gets them."""
    chosen = ("--values", str(CHART / name)) if name.endswith(".yaml") else ("--set", VARIANTS[name])
    apis = [
        f"--api-versions={api}{kind}" for api, kinds in OPERATORS.items() for kind in ("", *map("/".__add__, kinds))
    ]
    release = ("fraudstream", str(CHART), "--namespace", "fraud-detection")
    return run("helm", "template", *release, "--kube-version", f"{version}.0", *apis, *chosen)


def validate(path: Path, version: str, name: str) -> None:
    """Holds the objects of a file against the schemas of a version.

    Raises:
        LintError: an object does not fit, or is of a kind that neither Kubernetes nor an operator has.
    """
    said = run("kubernetes-validate", "--strict", "--kubernetes-version", version, str(path))
    for kind, api in WITHOUT_SCHEMA.findall(said):
        if kind not in OPERATORS.get(api, ()):
            raise LintError(f"{name}: expected kinds of Kubernetes {version}, got {kind} of {api}")


def run(program: str, *arguments: str) -> str:
    """What a tool says, on both of its outputs.

    Raises:
        LintError: it is not there, or ended with another code than 0.
    """
    path = shutil.which(program, path=os.pathsep.join((str(ROOT / ".tools" / "bin"), os.environ.get("PATH", ""))))
    if path is None:
        raise LintError(f"expected {program} in .tools/bin or on the PATH, found none: `make tools` installs it")
    ended = subprocess.run([path, *arguments], capture_output=True, text=True, check=False)
    if ended.returncode:
        command = " ".join((program, *arguments)).replace(str(ROOT), ".")
        raise LintError(f"{command}\n{ended.stdout}{ended.stderr}\n{program} ended with {ended.returncode}")
    return ended.stdout + ended.stderr


if __name__ == "__main__":
    sys.exit(main())
