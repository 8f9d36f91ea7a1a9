"""A worker that also writes down every feature it computes: `faust -A fraudstream.agents.recording worker`.

For `fraudstream parity`, which starts it with RECORD_DIR and KAFKA_SERVERS; all else is the worker of app.py. What was
judged is on disk before its verdicts are sent, so whoever has seen a verdict finds its features.
"""

from __future__ import annotations

import os
from pathlib import Path

import uvloop

from fraudstream.agents import record_files
from fraudstream.agents.build import FraudApp, create_app
from fraudstream.errors import SettingsError
from fraudstream.pipeline import Outcome
from fraudstream.settings import load_settings

uvloop.install()  # before anything makes a loop


class Recorder:
    """Appends the features and verdicts of each outcome to two files, row by row the same transactions."""

    def __init__(self, directory: Path) -> None:
        self._features = (directory / record_files.FEATURES).open("ab", buffering=0)
        self._verdicts = (directory / record_files.VERDICTS).open("ab", buffering=0)

    def __call__(self, outcome: Outcome) -> None:
        """Writes one outcome."""
        if outcome.computed is not None:
            self._features.write(outcome.computed.features.tobytes())
            self._verdicts.write(b"".join(emitted.value + b"\n" for emitted in outcome.verdicts))


def _create() -> FraudApp:
    settings, directory = load_settings(), os.environ.get("RECORD_DIR")
    if directory is None or settings.kafka_servers is None:
        raise SettingsError("expected RECORD_DIR and KAFKA_SERVERS to be set; this worker is for `fraudstream parity`")
    return create_app(settings, settings.kafka_servers, observe=Recorder(Path(directory)))


app = _create()
