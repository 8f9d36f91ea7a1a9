"""Holds a change's cost per event against another version's, both measured on one machine.

    python scripts/compare_bench.py main.json change.json [--allowed 0.15]

Each file is what `python -m benchmarks --json FILE` wrote. What is compared is the full path's CPU per event as a share
of Faust's stock pass-through in the same run, so that a slower machine changes nothing. Exit codes: 0 within what is
allowed, 1 dearer, 2 wrong use.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

BASELINE = "faust_pass_through"
ALLOWED = 0.15


class UnreadableError(Exception):
    """A file that does not hold a result; the text says which and why."""


def ratio_of(file: Path) -> float:
    """The full path's cost as a share of stock pass-through.

    Raises:
        UnreadableError: the file holds no such figure.
    """
    try:
        ratio = float(json.loads(file.read_bytes())["cases"]["full_path"]["ratios"][BASELINE]["median"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnreadableError(f"{file}: expected what `python -m benchmarks --json` writes, got {error!r}") from None
    if not ratio > 0:
        raise UnreadableError(f"{file}: expected a ratio above 0, got {ratio}")
    return ratio


def main(arguments: list[str] | None = None) -> int:
    """Compares and says so.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, help="result of the version to hold against")
    parser.add_argument("after", type=Path, help="result of the change")
    parser.add_argument("--allowed", type=float, default=ALLOWED, help=f"how much dearer it may be ({ALLOWED:g})")
    options = parser.parse_args(arguments)
    try:
        before, after = ratio_of(options.before), ratio_of(options.after)
    except UnreadableError as error:
        print(f"compare_bench: {error}", file=sys.stderr)
        return 2
    change = after / before - 1
    said = f"full path against stock pass-through: {before:.3f} before, {after:.3f} after, {change:+.1%}"
    if change > options.allowed:
        print(f"{said}; at most {options.allowed:+.0%} is allowed")
        return 1
    print(said)
    return 0


if __name__ == "__main__":
    sys.exit(main())
