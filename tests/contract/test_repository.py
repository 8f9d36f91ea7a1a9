"""What the checkout promises to whoever clones it: targets that exist, pins without addresses, imports that install."""

from __future__ import annotations

import ast
import configparser
import os
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.architecture import imports
from tests.checkout import IS_UNPACKED_SDIST, ROOT, committed_files

TARGET = re.compile(r"^([a-z][a-z0-9-]*):", re.MULTILINE)
WORDS = r"make ((?:[a-z][a-z0-9-]*(?:[ ]|\b))+)"
IN_PROSE = re.compile(rf"`{WORDS}")
IN_SHELL = re.compile(rf"^(?:\$ |run )?{WORDS}", re.MULTILINE)
PIN = re.compile(r"[a-z0-9][a-z0-9-]*==[0-9][0-9A-Za-z.!]*")

# Joined here, so that this file does not hold what it looks for.
REGISTRY_HOSTS = tuple(
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("download", "pytorch", "org"),
        ("repo1", "maven", "org"),
        ("repo", "maven", "apache", "org"),
        ("registry", "npmjs", "org"),
        ("proxy", "golang", "org"),
        ("index", "crates", "io"),
        ("registry-1", "docker", "io"),
        ("deb", "debian", "org"),
    )
)

# Which extras an import may rely on, by folder; the worker's own rooms rely on none.
EXTRAS_OF_FOLDERS = {
    "fraudstream": ("redis", "postgres", "demo", "train", "polars", "testing"),
    "agents": (),
    "tables": (),
    "training": ("train", "evaluate"),
    "benchmarks": ("bench",),
    "tests": ("test", "fuzz"),
}


def test_no_file_names_the_host_of_a_package_registry() -> None:
    files = committed_files()
    assert ROOT / "setup.cfg" in files
    found = [
        f"{path.relative_to(ROOT)}: {host}"
        for path in files
        for host in REGISTRY_HOSTS
        if host.encode() in path.read_bytes().lower()
    ]
    assert found == []


def test_each_line_of_the_constraints_is_a_pin_and_nothing_else() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert len(lines) > 50
    assert [line for line in lines if not PIN.fullmatch(line)] == []
    names = [line.partition("==")[0] for line in lines]
    assert names == sorted(set(names))
    assert not [name for name in names if name.startswith(("nvidia-", "cuda-")) or name == "triton"]


def test_each_declared_dependency_is_pinned() -> None:
    pinned = {line.partition("==")[0] for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()}
    declared = set().union(*(requirements(extra) for extra in (None, *extras())))
    assert {"faust-streaming", "torch", "pytest", "ruff"} <= declared
    assert sorted(declared - pinned) == []


def test_make_alone_lists_each_target_with_a_line_of_help() -> None:
    listing = make()
    assert listing.returncode == 0, listing.stderr
    listed = dict(re.findall(r"^ {2}([a-z][a-z0-9-]*) {2,}(\S.*)$", listing.stdout, re.MULTILINE))
    assert set(listed) == targets()
    assert targets() >= {
        "demo",
        "test",
        "test-integration",
        "lint",
        "typecheck",
        "bench",
        "dev-setup",
        "kafka",
        "build",
    }


def test_each_target_says_what_it_would_run() -> None:
    for target in targets():
        planned = make("--dry-run", target)
        assert planned.returncode == 0, f"make {target}: {planned.stderr}"
        assert planned.stdout.strip(), f"make {target} runs nothing"


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "SECURITY.md", ".ci/run"])
def test_each_make_target_that_is_named_to_readers_exists(page: str) -> None:
    assert sorted(set(named_targets(ROOT / page)) - targets()) == []


def test_the_readme_starts_with_demo_and_test() -> None:
    assert named_targets(ROOT / "README.md")[:2] == ["demo", "test"]


def test_ci_runs_what_the_readme_promises_and_every_check() -> None:
    checks = [target for target in named_targets(ROOT / ".ci" / "run") if target in targets()]
    assert checks[0] == "test"
    assert set(checks) >= {"test", "lint", "lint-ops", "typecheck", "test-integration", "test-k8s"}


@pytest.mark.parametrize("folder", EXTRAS_OF_FOLDERS)
def test_each_library_that_is_imported_is_declared(folder: str) -> None:
    declared = requirements(None).union(*(requirements(extra) for extra in EXTRAS_OF_FOLDERS[folder]))
    if folder == "benchmarks":
        own = (ROOT / folder / "peers" / "requirements.txt").read_text(encoding="utf-8")  # of an environment of its own
        declared |= {line.partition("==")[0] for line in own.splitlines()}
    providers = packages_distributions()
    undeclared = []
    for path in sorted((ROOT / folder).rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for found in imports("any.module", is_package=False, tree=tree):
            if found.library in sys.stdlib_module_names or (ROOT / found.library).is_dir() or found.library == "any":
                continue
            distributions = {normal(name) for name in providers.get(found.library, [found.library])}
            if not distributions & declared:
                undeclared.append(f"{path.relative_to(ROOT)}:{found.line}: {found.library}")
    assert undeclared == []


def test_the_links_of_the_checkout_lead_to_the_folders_beside_them() -> None:
    links = {path.name: str(path.readlink()) for path in (ROOT / "fraudstream").iterdir() if path.is_symlink()}
    # An sdist carries no links: package_dir finds the folders without them.
    assert (
        links == {} if IS_UNPACKED_SDIST else links == {name: f"../{name}" for name in ("agents", "tables", "training")}
    )


def named_targets(page: Path) -> list[str]:
    """The make targets that a page names, in order: `make x` in prose, lines of shell between fences or in a script."""
    text = page.read_text(encoding="utf-8")
    parts = text.split("```") if page.suffix == ".md" else ["", text]
    found = []
    for number, part in enumerate(parts):
        for words in (IN_SHELL if number % 2 else IN_PROSE).findall(part):
            found.extend(words.split())
    return found


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {
        name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}
    }
    return subprocess.run(["make", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def targets() -> set[str]:
    return set(TARGET.findall((ROOT / "Makefile").read_text(encoding="utf-8")))


def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def extras() -> list[str]:
    return list(setup_cfg()["options.extras_require"])


def requirements(extra: str | None) -> set[str]:
    """Names of the distributions that the worker, or an extra with the extras it includes, declares."""
    section, option = ("options", "install_requires") if extra is None else ("options.extras_require", extra)
    names = set()
    for line in setup_cfg()[section][option].split("\n"):
        own = re.fullmatch(r"fraudstream\[(.*)\]", line.strip())
        if own:
            names |= set().union(*(requirements(name) for name in own[1].split(",")))
        elif line.strip():
            names.add(normal(re.split(r"[<>=!~;\[ ]", line.strip())[0]))
    return names


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
