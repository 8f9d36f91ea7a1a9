"""Where torch comes from on a bare machine: a real environment, real installers, and an index on loopback."""

from __future__ import annotations

import functools
import http.server
import shutil
import subprocess
import sys
import sysconfig
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts import install

VERSION = "1.2.3"
WHEEL = f"torch-{VERSION}+cpu-py3-none-any.whl"
NOBODY_LISTENS = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def empty_environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with pip only; made once, as that takes seconds."""
    folder = tmp_path_factory.mktemp("empty") / ".venv"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    return folder


@pytest.fixture
def machine(tmp_path: Path, empty_environment: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with an empty .venv that has pip only, and a pin of a torch that no real index offers."""
    monkeypatch.delenv("TORCH_INDEX_URL", raising=False)
    monkeypatch.delenv("UV_TORCH_BACKEND", raising=False)
    for name, path in {
        "VENV": ".venv",
        "PYTHON": ".venv/bin/python",
        "UV": ".venv/bin/uv",
        "CONSTRAINTS": "constraints.txt",
    }.items():
        monkeypatch.setattr(install, name, tmp_path / path)
    monkeypatch.setattr(install, "ROOT", tmp_path)
    (tmp_path / "constraints.txt").write_text(f"torch=={VERSION}\n", encoding="utf-8")
    shutil.copytree(empty_environment, tmp_path / ".venv", symlinks=True)
    return tmp_path


@pytest.fixture
def index_url(tmp_path: Path) -> Iterator[str]:
    """A package index that holds a CPU build of that torch, and nothing else."""
    folder = tmp_path / "index" / "torch"
    folder.mkdir(parents=True)
    information = f"torch-{VERSION}+cpu.dist-info"
    files = {
        "torch/__init__.py": "",
        f"{information}/METADATA": f"Metadata-Version: 2.1\nName: torch\nVersion: {VERSION}+cpu\n",
        f"{information}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(folder / WHEEL, "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
        wheel.writestr(f"{information}/RECORD", "".join(f"{name},,\n" for name in (*files, f"{information}/RECORD")))
    (folder / "index.html").write_text(f'<a href="{WHEEL.replace("+", "%2B")}">{WHEEL}</a>', encoding="utf-8")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def put_uv_into(machine: Path) -> None:
    uv = shutil.which("uv", path=sysconfig.get_path("scripts"))
    assert uv is not None, "the extra `test` installs uv; run `make dev-setup`"
    shutil.copy2(uv, machine / ".venv" / "bin" / "uv")


@pytest.mark.parametrize("installer", ["pip", "uv"])
def test_torch_index_url_decides_where_torch_comes_from(
    machine: Path, index_url: str, installer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if installer == "uv":
        put_uv_into(machine)
        monkeypatch.setattr(install, "pip", lambda: ["false"])
    monkeypatch.setenv("TORCH_INDEX_URL", index_url)
    install.install_torch()
    assert install.installed_version("torch") == f"{VERSION}+cpu"
    # Where Python may not write bytecode, a worker would compile torch's source at each start, for seconds.
    assert list((machine / ".venv").glob("lib/python3*/site-packages/torch/__pycache__/__init__.*.pyc"))


def test_a_torch_of_the_pinned_version_is_left_alone(
    machine: Path, index_url: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TORCH_INDEX_URL", index_url)
    install.install_torch()
    assert "installing torch" in capfd.readouterr().err
    install.install_torch()
    assert capfd.readouterr() == ("", "")
    assert install.installed_version("torch") == f"{VERSION}+cpu"


def test_an_index_without_that_torch_is_named_in_the_error(
    machine: Path, index_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_INDEX_URL", index_url)
    (machine / "constraints.txt").write_text("torch==9.9.9\n", encoding="utf-8")
    with pytest.raises(install.InstallError, match=r"TORCH_INDEX_URL has no torch==9\.9\.9"):
        install.install_torch()


def test_a_closed_network_costs_seconds_and_a_line_and_leaves_torch_to_the_default_index(
    machine: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    put_uv_into(machine)
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, NOBODY_LISTENS)
    started = time.monotonic()
    install.install_torch()
    assert time.monotonic() - started < install.PROBE_TIMEOUT_S + 5
    assert install.installed_version("torch") == ""
    assert f"torch=={VERSION} comes from the default index" in capfd.readouterr().err


def test_without_uv_and_without_pip_nothing_is_installed_and_the_line_says_what_to_do(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(install, "pip", lambda: ["false"])
    monkeypatch.setattr(install, "PYTHON", machine / "no-python")
    with pytest.raises(install.InstallError, match=r"remove \.venv and run again"):
        install.bootstrap_uv()
