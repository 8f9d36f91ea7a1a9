"""Builds docker/Dockerfile without a Docker daemon and runs its three roles: `python -m scripts.check_image`. By hand.

Needs root, buildah, podman and crun; and mmdebstrap where no base image is named, because a plain Debian then stands in
for python:3.11-slim. Containers run as in docker/compose.yaml (read-only root, no capabilities, no way to new ones),
besides that without a shell, which nothing may need. The broker is a real Kafka of this machine.
"""

from __future__ import annotations

import argparse
import http
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from scripts.deploy_local import ROOT
from tests.servers.kafka import KafkaCluster
from tests.servers.ports import free_port

BASE = "localhost/fraudstream-base"
IMAGE = "localhost/fraudstream:check"
CERTIFICATES = Path("/etc/ssl/certs")
READY_WITHIN_S = 120.0
ROLES = {
    "worker": ("WEB_PORT", ["fraudstream", "worker"]),
    "audit": ("AUDIT_WEB_PORT", ["faust", "-A", "fraudstream.agents.audit", "worker", "-l", "info"]),
    "api": ("WEB_PORT", ["fraudstream", "api"]),
}
# The engine asks for limits and a group hierarchy that a machine inside a sandbox may not have.
AS_THEY_ARE = ["--cgroups=disabled", "--ulimit", "nofile=4096:4096", "--ulimit", "nproc=4096:4096", "--no-healthcheck"]
HARDENED = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--network", "host"]
NO_SHELL = [word for shell in ("dash", "bash") for word in ("--volume", f"/dev/null:/usr/bin/{shell}:ro")]


def main(arguments: list[str]) -> int:
    """Builds and runs; returns 0 where every role became ready and nothing was written outside of its places."""
    parser = argparse.ArgumentParser(prog="python -m scripts.check_image")
    parser.add_argument("--base", help="image to build on, in place of a plain Debian")
    parser.add_argument("--image", help="check this image and build none")
    parser.add_argument("--torch-index-url", default="", help="where the CPU build of torch is")
    options = parser.parse_args(arguments)
    for program in ("buildah", "podman", "crun"):
        if shutil.which(program) is None:
            print(f"check-image: `{program}` is missing: apt-get install {program}", file=sys.stderr)
            return 1
    image = options.image or build(options.base or make_base(), options.torch_index_url)
    with KafkaCluster() as cluster:
        shared = {"KAFKA_SERVERS": cluster.bootstrap, "WEB_HOST": "127.0.0.1"}
        run(podman(shared, image, ["fraudstream", "topics", "create"]))
        for role in ROLES:
            check_role(role, image, shared)
    return 0


def make_base() -> str:
    """A Debian with Python 3.11, as an image."""
    with tempfile.TemporaryDirectory() as folder:
        tree = f"{folder}/debian.tar"
        run(["mmdebstrap", "--variant=apt", "--include=python3-venv,ca-certificates", "bookworm", tree])
        container = run(["buildah", "from", "scratch"]).strip()
        run(["buildah", "add", container, tree, "/"])
        run(["buildah", "config", "--env", "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", container])
        run(["buildah", "commit", "--rm", container, BASE])
    return BASE


def build(base: str, torch_index_url: str) -> str:
    """The image, built from the Dockerfile as it is."""
    started_s = time.monotonic()
    words = ["--isolation", "chroot", "--format", "docker", "--layers", "--network", "host"]
    words += ["--volume", f"{CERTIFICATES}:{CERTIFICATES}:ro"]
    if Path("/etc/pip.conf").exists():
        words += ["--secret", "id=pip,src=/etc/pip.conf"]
    words += ["--build-arg", f"PYTHON_IMAGE={base}", "--build-arg", f"TORCH_INDEX_URL={torch_index_url}"]
    run(["buildah", "bud", *words, "--file", str(ROOT / "docker/Dockerfile"), "--tag", IMAGE, str(ROOT)])
    print(f"built in {time.monotonic() - started_s:.0f} s")
    return IMAGE


def podman(environment: dict[str, str], image: str, command: list[str], name: str = "") -> list[str]:
    """The command line that runs a container as docker/compose.yaml does."""
    settings = [word for key, value in environment.items() for word in ("--env", f"{key}={value}")]
    engine = ["podman", "--runtime", "crun", "--cgroup-manager", "cgroupfs", "run", "--rm"]
    places = [
        "--tmpfs",
        "/tmp:size=256m,mode=1777",  # noqa: S108  inside the container
        "--volume",
        "/var/lib/fraudstream",
    ]
    named = ["--name", name] if name else []
    words = [*engine, *HARDENED, *AS_THEY_ARE, *NO_SHELL, *places, *named, *settings, image, *command]
    # crun refuses cgroups of both versions at once, which it is told not to use anyway: hidden from it alone.
    return ["unshare", "--mount", "sh", "-c", 'umount /sys/fs/cgroup/unified 2>/dev/null; exec "$@"', "sh", *words]


def check_role(role: str, image: str, shared: dict[str, str]) -> None:
    """Starts one role, waits until it is ready, asks the image's own health check, looks at what it compiled."""
    variable, command = ROLES[role]
    port, name = free_port(), f"fraudstream-check-{role}-{os.getpid()}"
    started_s = time.monotonic()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            podman({**shared, variable: str(port), "NUMBA_DEBUG_CACHE": "1"}, image, command, name),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            while not is_ready(port):
                if process.poll() is not None or time.monotonic() > started_s + READY_WITHIN_S:
                    log.seek(0)
                    raise SystemExit(f"{role} is not ready:\n{log.read().decode(errors='replace')[-3000:]}")
                time.sleep(0.1)
            ready_s = time.monotonic() - started_s
            run(["podman", "exec", name, "python", "/opt/fraudstream/health.py"])
            log.seek(0)
            text = log.read().decode(errors="replace")
        finally:
            process.terminate()
            process.wait(60)
    loaded, compiled = text.count("data loaded from"), text.count("data saved to")
    result = {"role": role, "ready_s": round(ready_s, 1), "kernels_loaded": loaded, "kernels_compiled": compiled}
    print(json.dumps({**result, "exit_code": process.returncode}), flush=True)
    if compiled:
        raise SystemExit(f"{role}: expected every kernel from the image's cache, {compiled} were compiled")


def is_ready(port: int) -> bool:
    """Whether /health says so."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as answer:
            return bool(answer.status == http.HTTPStatus.OK)
    except OSError:
        return False


def run(command: list[str]) -> str:
    """What a command printed; ends the check where it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}:\n{(done.stdout + done.stderr)[-3000:]}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
