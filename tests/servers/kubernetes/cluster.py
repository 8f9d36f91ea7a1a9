"""The control plane: etcd, API server, controllers, scheduler and simulated nodes, each a process on loopback.

    make kubernetes

runs one in the foreground until Ctrl-C and says how to talk to it. Everything lives in a temporary directory; at the
end the logs stay there for a look at what went wrong, the rest is removed.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.servers.foreground import run_until_stopped
from tests.servers.jars import ServerUnavailableError
from tests.servers.kubernetes.stages import pod_stages
from tests.servers.ports import free_ports

TOOLS = Path(__file__).resolve().parents[3] / ".tools" / "bin"
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 5.0  # then SIGKILL: what it knows goes anyway
CALL_TIMEOUT_S = 120.0
POLL_S = 0.05
LOG_TAIL_LINES = 15
ZONES = ("zone-a", "zone-b")
SERVICE_ISSUER = "https://kubernetes.default.svc"
PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok", "kubectl", "helm")
HOST_VOLUMES = Path("/tmp/hostpath_pv")  # noqa: S108 - where Kubernetes' own provisioner makes volumes
PAST_LIMITS = ("--kube-api-qps=500", "--kube-api-burst=1000")  # clients hold themselves back to 20 calls a second

Manifest = dict[str, Any]


class CommandError(RuntimeError):
    """kubectl or helm ended with an error; says what it wrote."""


def tool(name: str) -> Path:
    """A program of .tools/bin.

    Raises:
        ServerUnavailableError: it is not installed.
    """
    program = TOOLS / name
    if not program.exists():
        raise ServerUnavailableError(f"{name} is not in .tools/bin: `make tools` installs it")
    return program


class KubernetesCluster:
    """One control plane with simulated nodes, from `start` to `stop`, or as a context manager.

    Args:
        nodes: how many, spread over ZONES in turn, with 8 CPUs and 32 GiB each.
        directory: of state and logs; None: a new temporary directory.
    """

    def __init__(self, nodes: int = 4, directory: Path | None = None) -> None:
        self.nodes = nodes
        self.directory = directory or Path(tempfile.mkdtemp(prefix="fraudstream-kubernetes-"))
        self.kubeconfig = self.directory / "kubeconfig"
        self._state = self.directory / "state"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._etcd_port, self._peer_port, self._port = free_ports(3)

    @property
    def url(self) -> str:
        """Of the API server."""
        return f"https://127.0.0.1:{self._port}"

    @property
    def environment(self) -> dict[str, str]:
        """Variables for a program that deploys: kubectl and helm first on the PATH, both talking to this cluster."""
        helm = {name: str(self._state / "helm" / name.lower()) for name in ("CACHE", "CONFIG", "DATA")}
        return os.environ | {
            "KUBECONFIG": str(self.kubeconfig),
            "PATH": f"{TOOLS}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            **{f"HELM_{name}_HOME": path for name, path in helm.items()},
        }

    def start(self) -> Path:
        """Starts everything, waits until all nodes are ready, and returns the path of the kubeconfig.

        Raises:
            ServerUnavailableError: a program is missing or does not come up.
        """
        for name in PROGRAMS:
            tool(name)
        if shutil.which("openssl") is None:
            raise ServerUnavailableError("openssl is missing: install the Debian package openssl")
        try:
            self._prepare()
            self._launch("etcd", self._etcd_options())
            self._launch("kube-apiserver", self._apiserver_options())
            self._wait_until(self._serves, "the API server")
            self._launch("kube-controller-manager", self._controllers_options())
            self._launch("kube-scheduler", (f"--kubeconfig={self.kubeconfig}", "--leader-elect=false", *LOOPBACK))
            kwok = (f"--kubeconfig={self.kubeconfig}", f"--config={self._state / 'kwok.yaml'}")
            self._launch("kwok", (*kwok, "--manage-all-nodes=true", "--node-lease-duration-seconds=40"))
            self.apply(*self._node_manifests(), STORAGE_CLASS)
            self._wait_until(self._is_ready, f"{self.nodes} ready nodes")
        except BaseException:
            self.stop()
            raise
        return self.kubeconfig

    def stop(self) -> None:
        """Ends all processes and removes their state, volumes included; the logs stay in `directory`."""
        volumes = self._host_volumes()
        for process in reversed(self._processes.values()):
            process.terminate()
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes.clear()
        for path in (self._state, *volumes):
            shutil.rmtree(path, ignore_errors=True)
        self.kubeconfig.unlink(missing_ok=True)

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """What kubectl says, as the administrator (`--as` asks as somebody else).

        Raises:
            CommandError: it ended with an error.
        """
        return self.run([str(tool("kubectl")), *arguments], stdin=stdin)

    def helm(self, *arguments: str) -> str:
        """What helm says.

        Raises:
            CommandError: it ended with an error.
        """
        return self.run([str(tool("helm")), *arguments])

    def run(self, command: Sequence[str], stdin: str | None = None) -> str:
        """Standard output of any program that deploys, in `environment`.

        Raises:
            CommandError: it ended with an error.
        """
        ran = subprocess.run(
            command,
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=CALL_TIMEOUT_S,
            check=False,
        )
        if ran.returncode != 0:
            raise CommandError(f"{Path(command[0]).name} {' '.join(command[1:])}: exit {ran.returncode}\n{ran.stderr}")
        return ran.stdout

    def get(self, *arguments: str) -> Any:
        """What `kubectl get` finds, parsed: an object, or a list's `items`."""
        found = json.loads(self.kubectl("get", *arguments, "--output=json"))
        return found["items"] if found["kind"] == "List" else found

    def apply(self, *manifests: Manifest, namespace: str = "default") -> None:
        """Applies manifests.

        Raises:
            CommandError: the API server refuses one, and says why.
        """
        whole = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(manifests)})
        self.kubectl("apply", f"--namespace={namespace}", "--filename=-", stdin=whole)

    def create_namespace(self, name: str, enforce: str = "restricted") -> str:
        """Makes a namespace under a Pod Security Standard: privileged, baseline or restricted; returns its name."""
        labels = {"pod-security.kubernetes.io/enforce": enforce}
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
        return name

    def tail(self, name: str) -> str:
        """The last lines of a process's log."""
        log = self._log(name)
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
        return "\n".join(lines[-LOG_TAIL_LINES:])

    def __enter__(self) -> KubernetesCluster:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _prepare(self) -> None:
        self._state.mkdir(parents=True, exist_ok=True)
        token = secrets.token_hex(16)
        (self._state / "tokens.csv").write_text(f'{token},admin,admin,"system:masters"\n', encoding="utf-8")
        key = ["openssl", "genrsa", "-out", str(self._state / "accounts.key"), "2048"]
        subprocess.run(key, check=True, capture_output=True)
        self.kubeconfig.write_text(json.dumps(self._kubeconfig(token)), encoding="utf-8")
        self.kubeconfig.chmod(0o600)
        stages = "\n---\n".join(map(json.dumps, pod_stages()))
        (self._state / "kwok.yaml").write_text(stages, encoding="utf-8")

    def _kubeconfig(self, token: str) -> Manifest:
        authority = str(self._state / "certificates" / "apiserver.crt")
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "tests", "cluster": {"server": self.url, "certificate-authority": authority}}],
            "users": [{"name": "admin", "user": {"token": token}}],
            "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "admin"}}],
            "current-context": "tests",
        }

    def _etcd_options(self) -> Iterable[str]:
        clients, peers = (f"http://127.0.0.1:{port}" for port in (self._etcd_port, self._peer_port))
        yield f"--data-dir={self._state / 'etcd'}"
        yield "--unsafe-no-fsync"
        yield from (f"--listen-client-urls={clients}", f"--advertise-client-urls={clients}")
        yield from (f"--listen-peer-urls={peers}", f"--initial-advertise-peer-urls={peers}")
        yield f"--initial-cluster=default={peers}"
        yield "--log-level=warn"

    def _apiserver_options(self) -> Iterable[str]:
        yield f"--etcd-servers=http://127.0.0.1:{self._etcd_port}"
        yield f"--secure-port={self._port}"
        # No Endpoints for the API server itself: they may not be of loopback, and no pod runs that would call it.
        yield from ("--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none")
        yield f"--cert-dir={self._state / 'certificates'}"
        yield f"--token-auth-file={self._state / 'tokens.csv'}"
        yield "--authorization-mode=RBAC"
        yield f"--service-account-issuer={SERVICE_ISSUER}"
        yield f"--service-account-key-file={self._state / 'accounts.key'}"
        yield f"--service-account-signing-key-file={self._state / 'accounts.key'}"
        yield "--service-cluster-ip-range=10.0.0.0/16"

    def _controllers_options(self) -> Iterable[str]:
        yield f"--kubeconfig={self.kubeconfig}"
        yield "--leader-elect=false"
        yield f"--service-account-private-key-file={self._state / 'accounts.key'}"
        yield f"--root-ca-file={self._state / 'certificates' / 'apiserver.crt'}"
        yield "--enable-hostpath-provisioner"
        yield "--horizontal-pod-autoscaler-sync-period=1s"
        yield from LOOPBACK

    def _node_manifests(self) -> Iterable[Manifest]:
        for number in range(self.nodes):
            name = f"node-{number}"
            labels = {
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": "amd64",
                "topology.kubernetes.io/zone": ZONES[number % len(ZONES)],
            }
            resources = {"cpu": "8", "memory": "32Gi", "ephemeral-storage": "100Gi", "pods": "110"}
            yield {
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {"name": name, "labels": labels},
                "status": {"allocatable": resources, "capacity": resources},
            }

    def _launch(self, name: str, options: Iterable[str]) -> None:
        with self._log(name).open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [str(tool(name)), *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._state,
                start_new_session=True,  # Ctrl-C is for us: we stop them in order
            )

    def _log(self, name: str) -> Path:
        return self.directory / f"{name}.log"

    def _wait_until(self, condition: Any, what: str) -> None:
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while not condition():
            for name, process in self._processes.items():
                if process.poll() is not None:
                    raise ServerUnavailableError(f"{name} does not run:\n{self.tail(name)}")
            if time.monotonic() > deadline_s:
                logs = f"their logs are in {self.directory}"
                raise ServerUnavailableError(f"expected {what} within {START_TIMEOUT_S:.0f} s; {logs}")
            time.sleep(POLL_S)

    def _serves(self) -> bool:
        try:
            return self.kubectl("get", "--raw=/readyz") == "ok"
        except CommandError:
            return False

    def _is_ready(self) -> bool:
        """Nodes are ready and take pods, and the first service account is there, without which no pod is made."""
        nodes = self.get("nodes")
        accounts = self.get("serviceaccounts", "--namespace=default")
        return bool(accounts) and all(
            any(each["type"] == "Ready" and each["status"] == "True" for each in node["status"].get("conditions", ()))
            and not node["spec"].get("taints")
            for node in nodes
        )

    def _host_volumes(self) -> list[Path]:
        if "kube-controller-manager" not in self._processes:
            return []
        try:
            volumes = self.get("persistentvolumes")
        except CommandError:  # it is being stopped because it does not serve
            return []
        paths = [Path(each["spec"]["hostPath"]["path"]) for each in volumes if "hostPath" in each["spec"]]
        return [path for path in paths if path.parent == HOST_VOLUMES]


LOOPBACK = ("--bind-address=127.0.0.1", "--secure-port=0", *PAST_LIMITS)
STORAGE_CLASS: Manifest = {
    "apiVersion": "storage.k8s.io/v1",
    "kind": "StorageClass",
    "metadata": {"name": "standard", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
    "provisioner": "kubernetes.io/host-path",
}


def main() -> int:
    """Runs a cluster in the foreground until SIGINT or SIGTERM."""
    cluster = KubernetesCluster()
    return run_until_stopped(
        cluster,
        lambda up: f"export KUBECONFIG={up.kubeconfig} PATH={TOOLS}:$PATH  # Kubernetes is up, Ctrl-C stops it",
        f"Kubernetes stopped; its logs are in {cluster.directory}",
    )


if __name__ == "__main__":
    sys.exit(main())
