"""The worker with profiles of BENCH_RING_EVENTS payments at most; wants a NUMBA_CACHE_DIR of this size alone."""

from __future__ import annotations

from benchmarks import ring_size

ring_size.apply()

import uvloop  # noqa: E402  compiled with the constant, so it must be set before

from fraudstream.agents.start import start_app  # noqa: E402
from fraudstream.settings import load_settings  # noqa: E402

uvloop.install()
app = start_app(load_settings())
