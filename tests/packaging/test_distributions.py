"""The wheel and the sdist hold what they should, and the wheel works where there is no checkout."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.architecture import modules
from tests.checkout import ROOT, committed_files

MADE_BY_THE_BUILD = ("PKG-INFO", "fraudstream.egg-info/")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone: the committed files and nothing that an earlier build left behind."""
    folder = tmp_path_factory.mktemp("clone")
    for path in committed_files():
        copy = folder / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copy)
    return folder


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel built straight from the clone."""
    return build(source, tmp_path_factory.mktemp("wheel"), "--wheel", "*.whl")


@pytest.fixture(scope="module")
def sdist(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist of the clone."""
    return build(source, tmp_path_factory.mktemp("sdist"), "--sdist", "*.tar.gz")


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a fresh environment that holds the wheel, and borrows everything else from this one."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", str(folder))
    python = folder / "bin" / "python"
    run(str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", str(wheel))
    site = run(str(python), "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])").strip()
    # A path file adds the folder but does not read the path files in it, so an editable install there stays out.
    (Path(site) / "borrowed.pth").write_text(sysconfig.get_paths()["purelib"] + "\n", encoding="utf-8")
    return python


def test_the_wheel_holds_every_module_under_its_installed_name_and_no_other(wheel: Path) -> None:
    expected = {
        name.replace(".", "/") + ("/__init__.py" if path.name == "__init__.py" else ".py")
        for name, path in modules(ROOT).items()
    }
    assert {"fraudstream/pipeline.py", "fraudstream/agents/app.py", "fraudstream/training/fit.py"} <= expected
    assert {name for name in contents(wheel) if name.endswith(".py")} == expected


def test_the_wheel_holds_the_default_model_and_every_other_data_file(wheel: Path) -> None:
    data = {
        path.relative_to(ROOT).as_posix()
        for path in committed_files()
        if path.is_relative_to(ROOT / "fraudstream") and path.suffix != ".py"
    }
    assert {
        "fraudstream/py.typed",
        "fraudstream/models/default/manifest.json",
        "fraudstream/models/default/model.safetensors",
    } <= data
    assert {name for name in contents(wheel) if not name.endswith(".py") and ".dist-info/" not in name} == data


def test_the_wheel_says_who_may_use_it_and_how_it_is_started(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        folder = next(name for name in archive.namelist() if name.endswith("/METADATA")).removesuffix("METADATA")
        metadata = archive.read(f"{folder}METADATA").decode()
        entry_points = archive.read(f"{folder}entry_points.txt").decode()
        assert f"{folder}licenses/LICENSE" in archive.namelist()
    assert "\nLicense-Expression: MIT\n" in metadata
    assert "\nRequires-Python: >=3.11\n" in metadata
    assert "fraudstream = fraudstream.cli.main:main" in entry_points


def test_the_sdist_holds_every_file_of_the_checkout(sdist: Path) -> None:
    held = {name for name in contents(sdist) if not name.startswith(MADE_BY_THE_BUILD)}
    assert held >= _names(committed_files(or_new=False))
    assert held <= _names(committed_files()), "expected nothing that a clone would not hold"


def _names(files: list[Path]) -> set[str]:
    names = {path.relative_to(ROOT).as_posix() for path in files}
    return {name for name in names if not name.startswith(MADE_BY_THE_BUILD)}


def test_the_wheel_built_from_the_sdist_is_the_same(sdist: Path, wheel: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    again = build(unpacked, tmp_path / "again", "--wheel", "*.whl")
    with zipfile.ZipFile(wheel) as first, zipfile.ZipFile(again) as second:
        sums = [{entry.filename: entry.CRC for entry in archive.infolist()} for archive in (first, second)]
    assert sums[0] == sums[1]


def test_every_module_is_found_in_the_installed_wheel_from_a_foreign_directory(installed: Path, tmp_path: Path) -> None:
    names = sorted(modules(ROOT))
    question = (
        "import importlib.util, json, sys\n"
        "found = {name: importlib.util.find_spec(name) for name in json.loads(sys.argv[1])}\n"
        "print(json.dumps({name: spec and spec.origin for name, spec in found.items()}))\n"
    )
    origins = json.loads(run(str(installed), "-c", question, json.dumps(names), folder=tmp_path))
    environment = str(installed.parent.parent)
    assert [name for name, origin in origins.items() if origin is None or not origin.startswith(environment)] == []


def test_the_command_starts_in_an_environment_without_a_checkout(installed: Path, tmp_path: Path) -> None:
    assert "demo" in run(str(installed.parent / "fraudstream"), "--help", folder=tmp_path)


def build(source: Path, folder: Path, kind: str, pattern: str) -> Path:
    run(sys.executable, "-m", "build", "--no-isolation", kind, "--outdir", str(folder), str(source))
    (built,) = folder.glob(pattern)
    return built


def contents(distribution: Path) -> set[str]:
    """Names of the files in a wheel or sdist, the sdist's without its top folder."""
    if distribution.suffix == ".whl":
        with zipfile.ZipFile(distribution) as archive:
            return set(archive.namelist())
    with tarfile.open(distribution) as archive:
        return {entry.name.partition("/")[2] for entry in archive if entry.isfile()}


def run(*command: str, folder: Path | None = None) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}{done.stderr}"
    return done.stdout
