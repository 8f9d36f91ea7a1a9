"""The walls of the architecture hold in the code as it is, and the judge that says so sees every kind of breach."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.architecture import FOLDERS, modules, room, violations
from tests.checkout import ROOT


def test_no_room_reaches_through_a_wall() -> None:
    assert violations(ROOT) == []


def test_every_source_file_is_judged_once_and_under_its_installed_name() -> None:
    found = modules(ROOT)
    files = {path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py") if not _is_behind_a_link(path)}
    assert set(found.values()) == files
    assert len(found) == len(files)
    assert {room(name) for name in found} >= {"core", "adapters", "web", "tables", "training", "agents"}
    assert {"fraudstream", "fraudstream.pipeline", "fraudstream.agents.app"} <= set(found)


BREACHES = [
    ("fraudstream/pipeline.py", "import time", "reads no clock"),
    ("fraudstream/pipeline.py", "from time import monotonic", "reads no clock"),
    ("fraudstream/pipeline.py", "from datetime import datetime\nNOW = datetime.now()", "calls datetime.now"),
    ("fraudstream/pipeline.py", "import datetime as d\nTODAY = d.date.today()", "calls d.date.today"),
    ("fraudstream/state/ring.py", "import faust", "only agents, cli, tables may"),
    ("fraudstream/state/ring.py", "import redis.asyncio", "only adapters, agents may"),
    (
        "fraudstream/score/forest.py",
        "def fit():\n    from sklearn.ensemble import IsolationForest",
        "only training may",
    ),
    ("fraudstream/score/forest.py", "from fraudstream.training import fit", "may not import fraudstream.training.fit"),
    ("fraudstream/score/forest.py", "from ..agents import app", "may not import fraudstream.agents.app"),
    ("fraudstream/decide/__init__.py", "from ..adapters import metrics", "may not import fraudstream.adapters.metrics"),
    ("fraudstream/decide/__init__.py", "from fraudstream import web", "may not import fraudstream.web"),
    ("fraudstream/topics.py", "import importlib\nimportlib.import_module('aiokafka')", "may not import aiokafka"),
    (
        "fraudstream/topics.py",
        "if TYPE_CHECKING:\n    from fraudstream.cli import main",
        "may not import fraudstream.cli",
    ),
    ("fraudstream/adapters/cache.py", "import fraudstream.tables.profiles", "may not import fraudstream.tables"),
    ("fraudstream/web/mount.py", "import asyncpg", "only adapters, agents may"),
    ("fraudstream/web/mount.py", "from fraudstream.agents import app", "may not import fraudstream.agents"),
    ("training/fit.py", "import faust", "only agents, cli, tables may"),
    ("training/fit.py", "from fraudstream.adapters import metrics", "may not import fraudstream.adapters"),
    ("tables/profiles.py", "import confluent_kafka", "only adapters, agents may"),
    ("tables/profiles.py", "from fraudstream.agents import app", "may not import fraudstream.agents"),
    ("agents/app.py", "from fraudstream.cli import main", "may not import fraudstream.cli"),
    ("agents/app.py", "from tables import profiles", "its installed name is fraudstream.tables"),
    ("fraudstream/cli/train.py", "from fraudstream.training import fit", "not when the command runs"),
    ("fraudstream/cli/train.py", "class C:\n    import fraudstream.agents.app", "not when the command runs"),
    ("fraudstream/pipeline.py", "from fraudstream.library import detector", "may not import fraudstream.library"),
    ("agents/app.py", "from fraudstream.testing import worker", "may not import fraudstream.testing"),
    ("fraudstream/library/app.py", "from fraudstream.cli import main", "may not import fraudstream.cli"),
    ("fraudstream/library/app.py", "import aiokafka", "only adapters, agents may"),
    ("fraudstream/score/probe.py", "import hypothesis", "only testing may"),
    ("agents/worker.py", "from fraudstream import Detector", "from the face"),
    ("fraudstream/__init__.py", "from fraudstream.pipeline import process", "not when a name is asked for"),
    ("fraudstream/__init__.py", "FACE = {'main': 'fraudstream.cli.main:main'}", "(face) may not import"),
    ("fraudstream/__init__.py", "def f():\n    from fraudstream.training import fit", "(face) may not import"),
]


@pytest.mark.parametrize(("file", "source", "breach"), BREACHES, ids=[f"{b[0]}: {b[1]}" for b in BREACHES])
def test_a_planted_breach_is_seen(tmp_path: Path, file: str, source: str, breach: str) -> None:
    _plant(tmp_path, file, source)
    found = violations(tmp_path)
    assert len(found) == 1
    assert found[0].startswith(f"{file}:")
    assert breach in found[0]


ALLOWED = [
    ("fraudstream/pipeline.py", "from datetime import UTC, datetime\nSTART = datetime.fromtimestamp(0, UTC)"),
    ("fraudstream/adapters/cache.py", "import redis.asyncio\nfrom fraudstream.state import profile"),
    ("fraudstream/web/mount.py", "from aiohttp import web\nfrom fraudstream.adapters import metrics"),
    ("training/fit.py", "import sklearn, pyarrow\nfrom fraudstream.score import forest\nfrom . import history"),
    ("tables/profiles.py", "import faust\nfrom fraudstream.state import profile"),
    ("agents/app.py", "import faust, aiokafka\nfrom fraudstream.tables import profiles"),
    ("fraudstream/cli/train.py", "import click\ndef train():\n    from fraudstream.training import fit"),
    ("fraudstream/cli/train.py", "if TYPE_CHECKING:\n    from fraudstream.training import fit"),
    ("fraudstream/library/app.py", "import pandas\nfrom fraudstream.agents import build\nimport fraudstream.training"),
    ("fraudstream/__init__.py", "FACE = {'errors': 'fraudstream.errors:', 'D': 'fraudstream.library.detector:D'}"),
    ("fraudstream/__init__.py", "if TYPE_CHECKING:\n    from fraudstream.agents.sinks import Sink as Sink"),
    ("agents/worker.py", "import fraudstream\nfrom fraudstream import __version__, pipeline"),
]


@pytest.mark.parametrize(("file", "source"), ALLOWED, ids=[f"{a[0]}: {a[1]}" for a in ALLOWED])
def test_what_the_walls_allow_is_not_called_a_breach(tmp_path: Path, file: str, source: str) -> None:
    _plant(tmp_path, file, source)
    assert list(modules(tmp_path).values()) == [tmp_path / file]
    assert violations(tmp_path) == []


def _plant(root: Path, file: str, source: str) -> None:
    (root / file).parent.mkdir(parents=True)
    (root / file).write_text(source, encoding="utf-8")


def _is_behind_a_link(path: Path) -> bool:
    return any(parent.is_symlink() for parent in path.parents if parent.is_relative_to(ROOT))
