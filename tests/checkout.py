"""The checkout as a set of files: what a clone of it would hold."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
IS_UNPACKED_SDIST = (ROOT / "PKG-INFO").exists()
LEFT_BY_TOOLS = frozenset({".venv", ".cache", ".hypothesis", "__pycache__", "build", "dist", "fraudstream.egg-info"})


def committed_files(*, or_new: bool = True) -> list[Path]:
    """Every file that git knows or would add; in an unpacked sdist, which has no git, every file but leftovers.

    Args:
        or_new: with those that git would add; among them may be what somebody left lying about.
    """
    others = ["--others"] if or_new else []
    command = ["git", "ls-files", "--cached", *others, "--exclude-standard", "-z"]
    if IS_UNPACKED_SDIST:
        paths = [path for path in ROOT.rglob("*") if not LEFT_BY_TOOLS & set(path.relative_to(ROOT).parts)]
    else:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        paths = [ROOT / name for name in listed.split("\0") if name]
    return sorted(path for path in paths if path.is_file() and not path.is_symlink())
