"""A worker that has started compiles nothing more: the first transactions would wait for it."""

from __future__ import annotations

import subprocess
import sys


def test_nothing_compiles_after_the_start() -> None:
    ended = subprocess.run([sys.executable, "-m", "tests.after_start"], check=False, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip() == "[[], 44]"
