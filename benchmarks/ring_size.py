"""Profiles of another size: RING_EVENTS is a constant of the compiled kernels, so each size has kernels of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from fraudstream.errors import FraudstreamError
from fraudstream.state import profile

VARIABLE = "BENCH_RING_EVENTS"
CHECKOUT = Path(__file__).resolve().parents[1]


def cache_of(events: int) -> Path:
    """Where Numba keeps the kernels of this size: its cache does not see that a constant has changed."""
    return CHECKOUT / ".cache" / "bench-kernels" / f"ring-{events}"


def apply() -> None:
    """Sets the constant to BENCH_RING_EVENTS in this process; nothing that compiles with it may be imported yet."""
    profile.RING_EVENTS = int(os.environ[VARIABLE])


def compile_kernels(events: int) -> None:
    """Compiles what is not in the cache yet, which takes longer than a worker's start may.

    Raises:
        FraudstreamError: it failed; the lines above say why.
    """
    print(f"compiling the kernels for profiles of {events} payments, where they are missing", flush=True)
    code = (
        "from benchmarks.ring_size import apply; apply()\n"
        "from fraudstream.detector import load_detector, warm_up\n"
        "from fraudstream.settings import load_settings\n"
        "warm_up(load_detector(load_settings()))\n"
    )
    environment = {**os.environ, VARIABLE: str(events), "NUMBA_CACHE_DIR": str(cache_of(events))}
    ran = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, env=environment, check=False)
    if ran.returncode != 0:
        raise FraudstreamError(f"expected kernels for profiles of {events} payments, compiling them failed")
