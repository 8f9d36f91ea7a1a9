"""A model that is missing or broken stops the start, with one line that says what to do; nothing is judged by half."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from fraudstream.agents.fatal import EXIT_SETTINGS
from fraudstream.score.artifact import DEFAULT_MODEL, MANIFEST_FILE, TENSOR_FILE
from fraudstream.settings import Settings
from tests.worker import Worker

ENDS_WITHIN_S = 90.0

pytestmark = [pytest.mark.slow]


def cut(model: Path) -> None:
    data = (model / TENSOR_FILE).read_bytes()
    (model / TENSOR_FILE).write_bytes(data[: len(data) // 2])


def spoil_manifest(model: Path) -> None:
    (model / MANIFEST_FILE).write_bytes(b'{"format_version": "\xff"}')


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (shutil.rmtree, "set MODEL_DIR to a directory made by `fraudstream train`, or unset it"),
        (cut, "copy the directory again, or train a new model"),
        (spoil_manifest, "train a new model"),
    ],
)
def test_a_worker_without_a_whole_model_ends_and_says_what_to_do(
    harm: Callable[[Path], None], said: str, own_settings: Settings, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    shutil.copytree(DEFAULT_MODEL, model)
    harm(model)
    with Worker(own_settings.model_copy(update={"model_dir": model}), tmp_path) as worker:
        assert worker.wait(ENDS_WITHIN_S) == EXIT_SETTINGS, worker.tail()
        (line,) = [line for line in worker.log_text().splitlines() if "fraudstream: " in line]
        assert str(model) in line
        assert said in line
        worker.assert_no_traceback()
