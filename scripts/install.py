"""Makes .venv and installs fraudstream in it with one extra: `python3 scripts/install.py test`. `make` calls it.

It runs before anything is installed, so it may import the standard library only. uv is fetched into .venv because it
installs in seconds what takes pip minutes; where uv cannot be had, pip does the same work.

torch comes from the first of: TORCH_INDEX_URL; what UV_TORCH_BACKEND asks for; PyTorch's index of CPU builds, where it
answers; the default index, whose Linux build brings 4 GB of CUDA.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

OLDEST_PYTHON = (3, 11)
ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
UV = VENV / "bin" / "uv"
CONSTRAINTS = ROOT / "constraints.txt"
EXTRAS = ("demo", "test", "fuzz", "lint", "bench", "evaluate", "stack", "docs", "dev")
EVERY_EXTRA = "dev"
# Long enough for a slow line, short enough that a first run on a closed network does not look dead.
PROBE_TIMEOUT_S = 20
PROBE_ENVIRONMENT = {"UV_HTTP_RETRIES": "0", "UV_HTTP_TIMEOUT": "8", "UV_HTTP_CONNECT_TIMEOUT": "4"}


class InstallError(Exception):
    """What failed and what to do about it, in one sentence."""


def main(arguments: list[str]) -> int:
    """Installs the extra that is named; returns the exit code."""
    if len(arguments) != 1 or arguments[0] not in EXTRAS:
        say(f"expected one extra of {', '.join(EXTRAS)}; came {arguments or 'nothing'}")
        return 2
    extra = arguments[0]
    started = time.monotonic()
    try:
        create_venv()
        bootstrap_uv()
        install_torch()
        say(f"installing fraudstream[{extra}] into .venv")
        install_project(extra)
        compile_kernels()
    except InstallError as error:
        say(f"error: {error}")
        return 1
    for done in EXTRAS if extra == EVERY_EXTRA else (extra,):
        stamp(done).touch()
    say(f"installed in {time.monotonic() - started:.0f} s")
    return 0


def stamp(extra: str) -> Path:
    """The file that tells `make` that this extra is installed."""
    return VENV / f".installed-{extra}"


def create_venv() -> None:
    """Makes .venv with the Python that runs this script, unless there is one."""
    if sys.version_info[:2] < OLDEST_PYTHON:
        found = ".".join(map(str, sys.version_info[:3]))
        raise InstallError(
            f"expected Python 3.11 or later, came {found}; name another: `make PYTHON=/path/to/python3.11`"
        )
    if run([str(PYTHON), "-c", ""], quiet=True):
        return
    say(f"creating .venv with Python {sys.version.split()[0]}")
    if not run([sys.executable, "-m", "venv", "--clear", str(VENV)]):
        raise InstallError("this Python cannot make virtual environments; on Debian, `apt-get install python3-venv`")


def bootstrap_uv() -> None:
    """Puts uv into .venv; says so, and goes on, where that is not possible."""
    if run([str(UV), "--version"], quiet=True):
        return
    if not run([*pip(), "--version"], quiet=True) and not run([str(PYTHON), "-m", "ensurepip"], quiet=True):
        raise InstallError(".venv has neither uv nor pip; remove .venv and run again")
    say("installing uv")
    if not run([*pip(), "install", "--quiet", "--constraint", str(CONSTRAINTS), "uv"]):
        say("uv is not to be had here: installing with pip, which is slower")


def install_torch() -> None:
    """Installs torch from the source that suits this machine; leaves a torch of the right version alone."""
    wanted = f"torch=={pinned('torch')}"
    if installed_version("torch").partition("+")[0] == pinned("torch"):
        return
    index_url = os.environ.get("TORCH_INDEX_URL")
    if index_url:
        say(f"installing {wanted} from TORCH_INDEX_URL")
        if not install("--no-deps", "--index-url", index_url, wanted):
            raise InstallError(f"TORCH_INDEX_URL has no {wanted} for this machine; mend it, or unset it")
    elif sys.platform == "linux" and UV.exists() and not os.environ.get("UV_TORCH_BACKEND"):
        from_cpu_index = [*uv_install(), "--torch-backend", "cpu", "--no-deps", wanted]
        if run([*from_cpu_index, "--dry-run"], quiet=True, timeout_s=PROBE_TIMEOUT_S, **PROBE_ENVIRONMENT):
            say(f"installing {wanted} from PyTorch's index of CPU builds")
            if run(from_cpu_index):
                return
        say(f"PyTorch's index of CPU builds does not answer: {wanted} comes from the default index, with CUDA (4 GB)")


def install_project(extra: str) -> None:
    """Installs the checkout, editable, with the extra and everything that it needs."""
    if not install("--constraint", str(CONSTRAINTS), "--editable", f"{ROOT}[{extra}]"):
        raise InstallError("the installation failed; the lines above say why")


def compile_kernels() -> None:
    """Compiles the feature and forest kernels into their cache now, so that the first worker does not wait for it."""
    say("compiling kernels")
    if not run([str(PYTHON), "-m", "fraudstream.detector"]):
        raise InstallError("the kernels could not be compiled; the lines above say why")


def install(*arguments: str) -> bool:
    """Runs `pip install` by uv, and by pip where uv is missing or fails (it does not read pip's configuration)."""
    if UV.exists():
        if run([*uv_install(), *arguments]):
            return True
        say("uv could not do it: trying pip")
    return run([*pip(), "install", "--progress-bar", "off", *arguments])


def uv_install() -> list[str]:
    """The command line of uv's installer; bytecode is compiled now, as a first start without it takes seconds more."""
    return [str(UV), "pip", "install", "--python", str(PYTHON), "--compile-bytecode"]


def pip() -> list[str]:
    """The command line of .venv's pip."""
    return [str(PYTHON), "-m", "pip", "--disable-pip-version-check"]


def pinned(package: str) -> str:
    """The version that constraints.txt gives a package."""
    found = re.search(rf"^{package}==(\S+)", CONSTRAINTS.read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise InstallError(f"constraints.txt: expected a line {package}==VERSION, found none; run `make constraints`")
    return found[1]


def installed_version(package: str) -> str:
    """The version of a package in .venv; empty where it is not installed."""
    question = f"import importlib.metadata as m; print(m.version({package!r}))"
    answer = subprocess.run([str(PYTHON), "-c", question], capture_output=True, text=True, check=False)
    return answer.stdout.strip()


def run(command: list[str], *, quiet: bool = False, timeout_s: float | None = None, **environment: str) -> bool:
    """Runs a command from the checkout; true where it exits with 0 within the time."""
    output = subprocess.DEVNULL if quiet else None
    variables = os.environ | environment
    if shutil.which(command[0]) is None:
        return False
    try:
        subprocess.run(command, cwd=ROOT, env=variables, stdout=output, stderr=output, timeout=timeout_s, check=True)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return False
    return True


def say(text: str) -> None:
    """One line to whoever waits; on standard error, as results of commands go to standard output."""
    print(f"[install] {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
