"""Looks for bytes that break a reader: coverage-guided (atheris), one process a target, from and into tests/corpus.

    python -m tests.fuzz [--seconds 60] [--target transaction ...]

What breaks a target is written beside its corpus as crash-…; once mended, it stays there for the ordinary tests.
"""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
import tempfile
from pathlib import Path

CORPUS = Path(__file__).resolve().parents[1] / "corpus"
MAX_BYTES = 4096
INSTRUMENTED = tuple(
    f"fraudstream.{name}" for name in ("api_keys", "dead_letter", "label", "state.profile", "transaction")
)
"""Whose branches the fuzzer sees; not all, because Numba cannot compile what is instrumented."""
COMPILED = ("fraudstream.state.event",)
"""What of the modules that come with them Numba compiles."""
GRACE_S = 120.0
"""Until a process has loaded what it fuzzes."""


def main() -> int:
    """Fuzzes each target in a process of its own; the exit code says whether any broke."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=60, help="for all targets together (default: 60)")
    parser.add_argument("--target", action="append", choices=names(), help="only this one; may come again")
    options = parser.parse_args()
    targets = options.target or names()
    seconds = max(options.seconds // len(targets), 1)
    broken = [name for name in targets if not _holds(name, seconds)]
    held = f"{len(targets) - len(broken)} of {len(targets)} targets held for {seconds} s each"
    print(held + (f"; broken: {', '.join(broken)}" if broken else ""))
    return 1 if broken else 0


def names() -> list[str]:
    """The targets, known by their corpora: a process that fuzzes must import the readers itself, instrumented."""
    return sorted(path.name for path in CORPUS.iterdir() if path.is_dir())


def _holds(name: str, seconds: int) -> bool:
    command = [sys.executable, "-c", f"from tests.fuzz.__main__ import fuzz; fuzz({name!r}, {seconds})"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=seconds + GRACE_S, check=False)
    said = ended.stderr.splitlines()
    done = next((line for line in reversed(said) if line.startswith("Done")), "")
    print(f"{name}: {done or 'broke'}", flush=True)
    if ended.returncode:
        print("\n".join(said[-40:]), file=sys.stderr)
    return ended.returncode == 0


def fuzz(name: str, seconds: int) -> None:
    """Fuzzes one target; ends the process."""
    import atheris

    with atheris.instrument_imports(include=[*INSTRUMENTED], exclude=[*COMPILED]):
        for module in INSTRUMENTED:
            importlib.import_module(module)
    from tests.fuzz.targets import TARGETS

    corpus = CORPUS / name
    for path in corpus.iterdir():  # what is compiled at first use is no part of the time
        TARGETS[name](path.read_bytes())
    with tempfile.TemporaryDirectory() as found:  # what is new there is not worth keeping, only what breaks is
        limits = [f"-max_total_time={seconds}", f"-max_len={MAX_BYTES}", f"-artifact_prefix={corpus}/"]
        atheris.Setup([sys.argv[0], *limits, found, str(corpus)], TARGETS[name])
        atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
