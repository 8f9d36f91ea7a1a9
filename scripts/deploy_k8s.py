"""Installs or upgrades k8s/fraudstream in the cluster that kubectl points to. `make deploy-k8s` calls it.

An upgrade that does not become healthy is undone by helm. Only the standard library is imported.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CHART = ROOT / "k8s" / "fraudstream"
NAMESPACE = "fraud-detection"
RELEASE = "fraudstream"
TIMEOUT = "10m"
WAIT_FOR_CLUSTER = "10s"


class DeployError(Exception):
    """What is missing or failed and what to do about it."""


def main(arguments: list[str]) -> int:
    """Deploys; returns the exit code: 0, or 1 where something is missing or helm failed."""
    options, more = _parser().parse_known_args(arguments)
    try:
        values = [Path(name) for name in options.values if name]
        check(values)
        deploy(options, values, more)
    except DeployError as error:
        print(f"deploy-k8s: {error}", file=sys.stderr)
        return 1
    print(f"`kubectl get pods --namespace {options.namespace}` shows the pods")
    return 0


def check(values: list[Path]) -> None:
    """Returns where helm, kubectl, chart, values and a cluster are there.

    Raises:
        DeployError: says what is missing.
    """
    for program, how in (
        ("kubectl", "install it in the version of your cluster, and name the cluster in KUBECONFIG"),
        ("helm", "install helm 3"),
    ):
        if shutil.which(program) is None:
            raise DeployError(f"`{program}` is missing: {how}")
    if not (CHART / "Chart.yaml").exists():
        raise DeployError(f"expected the chart in {CHART.relative_to(ROOT)}, found no Chart.yaml there")
    for path in values:
        if not path.is_file():
            raise DeployError(f"VALUES={path}: expected a file with values of the chart, found none")
    asked = subprocess.run(
        ["kubectl", "version", f"--request-timeout={WAIT_FOR_CLUSTER}"], capture_output=True, text=True, check=False
    )
    if asked.returncode != 0:
        said = (asked.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise DeployError(
            f"no cluster answers ({said}); `kubectl config get-contexts` lists the clusters that kubectl knows"
        )


def deploy(options: argparse.Namespace, values: list[Path], more: list[str]) -> None:
    """Runs helm, its output shown as it comes.

    Raises:
        DeployError: helm failed; what it changed is undone.
    """
    command = ["helm", "upgrade", "--install", options.release, str(CHART), "--namespace", options.namespace]
    command += ["--create-namespace", "--atomic", "--timeout", options.timeout]
    command += [word for path in values for word in ("--values", str(path))]
    if subprocess.run([*command, *more], check=False).returncode != 0:
        raise DeployError(
            "helm failed and took back what it had changed, the lines above say why; "
            f"`helm history {options.release} --namespace {options.namespace}` shows it"
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="deploy_k8s.py", description="the chart, by helm; more options go to helm")
    parser.add_argument("--values", action="append", default=[], help="a file with values of the chart")
    parser.add_argument("--namespace", default=NAMESPACE)
    parser.add_argument("--release", default=RELEASE)
    parser.add_argument("--timeout", default=TIMEOUT, help=f"until pods must be ready (default {TIMEOUT})")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
