"""The worker that keeps to CHECKPOINT_INTERVAL_S under a backlog, where checkpoints are otherwise a second apart."""

from __future__ import annotations

import uvloop

from fraudstream.agents import checkpoint_pace
from fraudstream.agents.start import start_app
from fraudstream.settings import load_settings

checkpoint_pace.BACKLOG_INTERVAL_S = 0.0

uvloop.install()
app = start_app(load_settings())
