"""scripts/deploy.py on a real control plane: the version serves, or the old one serves again and it is said why."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, start_http_server

from tests.chart import SECRET_KEYS
from tests.checkout import ROOT
from tests.conftest import missing
from tests.servers.jars import ServerUnavailableError
from tests.servers.kubernetes.cluster import KubernetesCluster
from tests.servers.kubernetes.stages import READY_ANNOTATION, UNREADY_IMAGE
from tests.servers.prometheus import Prometheus

SCRIPT = ROOT / "scripts" / "deploy.py"
OLD, NEW = "0.1.0", "0.2.0"
QUICK = ("--canary-s", "1", "--watch-s", "2", "--interval-s", "0.3", "--deadline-s", "40", "--rollback-s", "60")
GOES_BACK_WITHIN_S = 60.0
ENDED_WITHIN_S = 20.0

pytestmark = [pytest.mark.slow]


class Health(BaseHTTPRequestHandler):
    """GET /health/ready of a deployment, as long as `fails` says nothing else."""

    fails: Callable[[], bool]

    def do_GET(self) -> None:
        status = 503 if self.fails() else 200
        self.send_response(status)
        self.end_headers()
        self.wfile.write(b'{"ready": false, "reasons": ["no model"]}' if status == 503 else b'{"ready": true}')

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the name is of the class above
        """Nothing: pytest's output is for failures."""


@pytest.fixture
def endpoint() -> Iterator[str]:
    """A real HTTP endpoint that is healthy until `Health.fails` is set otherwise."""
    Health.fails = staticmethod(lambda: False)
    with ThreadingHTTPServer(("127.0.0.1", 0), Health) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def namespace(kubernetes: KubernetesCluster, own_namespace: str) -> str:
    """A restricted namespace with the secrets that the chart asks for, and the old version in it."""
    literals = [f"--from-literal={key}=x" for key in SECRET_KEYS]
    kubernetes.kubectl("create", "secret", "generic", "fraudstream-secrets", "--namespace", own_namespace, *literals)
    done = run(kubernetes, own_namespace, OLD)
    assert done.returncode == 0, done.stdout + done.stderr
    return own_namespace


def command(namespace: str, version: str, *options: str) -> list[str]:
    """The script without any installed package: it must need none."""
    return [
        *(sys.executable, "-I", "-S", str(SCRIPT), "--namespace", namespace, "--version", version, "--no-smoke"),
        *QUICK,
        *options,
    ]


def run(kubernetes: KubernetesCluster, namespace: str, version: str, *options: str) -> subprocess.CompletedProcess[str]:
    """The script, to its end."""
    return subprocess.run(
        command(namespace, version, *options),
        env=kubernetes.environment,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def until_line(process: subprocess.Popen[str], text: str) -> str:
    """What it says up to the first line with the text."""
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if text in line:
            return said
    pytest.fail(f"expected {text!r}:\n{said}")


def images(kubernetes: KubernetesCluster, namespace: str) -> set[str]:
    """Of all pods of workers and API that are there."""
    pods = kubernetes.get("pods", "--namespace", namespace, "--selector", "app=anomaly-detector")
    return {
        pod["spec"]["containers"][0]["image"]
        for pod in pods
        if pod["metadata"]["labels"]["app.kubernetes.io/component"] in {"worker", "api"}
        and "deletionTimestamp" not in pod["metadata"]
    }


def assert_only(kubernetes: KubernetesCluster, namespace: str, version: str) -> None:
    """Pods of a Deployment's last revision may be ending still when helm is satisfied."""
    deadline = time.monotonic() + ENDED_WITHIN_S
    while (found := images(kubernetes, namespace)) != {f"fraudstream:{version}"}:
        assert time.monotonic() < deadline, found
        time.sleep(0.2)


def serving(kubernetes: KubernetesCluster, namespace: str) -> tuple[str, str]:
    """Status and description of the newest revision."""
    history = json.loads(kubernetes.helm("history", "fraudstream", "--namespace", namespace, "--output", "json"))
    return history[-1]["status"], history[-1]["description"]


@pytest.mark.parametrize("canary", ["worker", "api"])
def test_a_good_version_goes_first_to_one_pod_then_everywhere(
    kubernetes: KubernetesCluster, namespace: str, endpoint: str, tmp_path: Path, canary: str
) -> None:
    seen: set[frozenset[str]] = set()

    def look() -> bool:
        seen.add(frozenset(images(kubernetes, namespace)))
        return False

    Health.fails = staticmethod(look)
    told = tmp_path / "told.json"
    done = run(kubernetes, namespace, NEW, "--canary", canary, "--endpoint", endpoint, "--json", str(told))
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(told.read_text())
    assert report["outcome"] == "deployed"
    assert (report["revision_before"], report["revision_after"]) == (1, 3)
    assert [step["ok"] for step in report["steps"]] == [True] * 5
    assert frozenset({f"fraudstream:{OLD}", f"fraudstream:{NEW}"}) in seen  # side by side, while it was watched
    assert_only(kubernetes, namespace, NEW)


def test_pods_that_never_get_ready_are_undone(kubernetes: KubernetesCluster, namespace: str) -> None:
    done = run(kubernetes, namespace, f"{NEW}-{UNREADY_IMAGE}", "--deadline-s", "10", "--set", "setup.topics=false",
               "--set", "setup.auditMigrate=false")  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    assert "rolled_back" in done.stdout
    assert_only(kubernetes, namespace, OLD)
    assert serving(kubernetes, namespace) == ("deployed", "Rollback to 1")


def test_an_endpoint_that_starts_failing_is_undone_within_the_deadline_and_says_why(
    kubernetes: KubernetesCluster, namespace: str, endpoint: str, tmp_path: Path
) -> None:
    failing_since: list[float] = []

    def fails() -> bool:
        if f"fraudstream:{NEW}" in images(kubernetes, namespace):
            failing_since.append(time.monotonic())
            return True
        return False

    Health.fails = staticmethod(fails)
    told = tmp_path / "told.json"
    done = run(kubernetes, namespace, NEW, "--canary", "worker", "--endpoint", endpoint, "--json", str(told))
    took_s = time.monotonic() - failing_since[0]
    assert done.returncode == 1, done.stdout + done.stderr
    report = json.loads(told.read_text())
    assert report["outcome"] == "rolled_back"
    assert "/health/ready: expected 200, got 503" in report["reason"]
    assert "no model" in report["reason"]
    assert [(step["name"], step["ok"]) for step in report["steps"]][-2:] == [
        ("watch the canary", False),
        ("go back", True),
    ]
    assert took_s < GOES_BACK_WITHIN_S
    assert_only(kubernetes, namespace, OLD)
    assert serving(kubernetes, namespace) == ("deployed", "Rollback to 1")


def test_pods_that_fail_after_they_were_ready_are_undone(kubernetes: KubernetesCluster, namespace: str) -> None:
    """While all of it is watched, one of the new pods loses its readiness for good."""
    process = subprocess.Popen(
        command(namespace, NEW, "--watch-s", "60"),
        env=kubernetes.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    said = until_line(process, "▶ watch")
    pod = ("pod/fraudstream-worker-0", "--namespace", namespace)
    kubernetes.kubectl("annotate", *pod, f"{READY_ANNOTATION}=false")
    said += process.communicate(timeout=150)[0]
    assert process.returncode == 1, said
    assert "StatefulSet fraudstream-worker: 1 of 2 pods are ready" in said
    assert_only(kubernetes, namespace, OLD)


def test_a_figure_of_prometheus_above_its_limit_is_undone(
    kubernetes: KubernetesCluster, namespace: str, tmp_path: Path
) -> None:
    registry = CollectorRegistry()
    Gauge("fraudstream_ready", "1", registry=registry).set(1)
    requests = Counter("fraudstream_http_requests", "n", ["route", "status"], registry=registry)
    server, thread = start_http_server(0, "127.0.0.1", registry)
    ended = threading.Event()

    def answer_badly() -> None:
        while not ended.wait(0.1):
            requests.labels("/predict", "200").inc(9)
            requests.labels("/predict", "500").inc()

    load = threading.Thread(target=answer_badly)
    load.start()
    prometheus = Prometheus(tmp_path, {"worker": [f"127.0.0.1:{server.server_port}"]})
    try:
        prometheus.start()
        time.sleep(4)  # two scrapes, for a rate
        done = run(kubernetes, namespace, NEW, "--prometheus", prometheus.url, "--prometheus-selector", "")
    except ServerUnavailableError as error:
        missing(str(error))
    finally:
        ended.set()
        load.join()
        prometheus.end()
        server.shutdown()
        server.server_close()
        thread.join()
    assert done.returncode == 1, done.stdout + done.stderr
    assert "share of requests answered with 5xx: 0.1, allowed are 0.01" in done.stdout
    assert_only(kubernetes, namespace, OLD)


def test_a_cancelled_pipeline_does_not_leave_its_canary(
    kubernetes: KubernetesCluster, namespace: str, endpoint: str
) -> None:
    process = subprocess.Popen(
        command(namespace, NEW, "--canary", "worker", "--canary-s", "100", "--endpoint", endpoint),
        env=kubernetes.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    said = until_line(process, "▶ watch the canary")
    process.send_signal(signal.SIGTERM)
    said += process.communicate(timeout=100)[0]
    assert process.returncode == 1, said
    assert "interrupted by a signal" in said
    assert_only(kubernetes, namespace, OLD)


def test_nothing_is_changed_where_a_file_is_missing(kubernetes: KubernetesCluster, namespace: str) -> None:
    done = run(kubernetes, namespace, NEW, "--values", "nowhere.yaml")
    assert done.returncode == 2
    assert "expected a file at nowhere.yaml, found none" in done.stdout
    assert serving(kubernetes, namespace)[0] == "deployed"


def test_a_deployment_that_was_killed_half_way_is_not_built_upon(kubernetes: KubernetesCluster, namespace: str) -> None:
    slow = command(
        namespace, f"{NEW}-{UNREADY_IMAGE}", "--set", "setup.topics=false", "--set", "setup.auditMigrate=false"
    )
    process = subprocess.Popen(
        slow, env=kubernetes.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    while serving(kubernetes, namespace)[0] != "pending-upgrade":
        assert process.poll() is None
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGKILL)  # helm with it
    process.wait()
    done = run(kubernetes, namespace, NEW)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "revision 2 is pending-upgrade: another deployment runs, or one was killed" in done.stdout
    assert f"`helm rollback fraudstream --namespace {namespace}` first" in done.stdout
    assert serving(kubernetes, namespace)[0] == "pending-upgrade"
