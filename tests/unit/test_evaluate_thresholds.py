"""What evaluation calls flagged is what the verdicts of the same file say, also where categories have thresholds."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import pytest

from fraudstream.decide.policy import Segments
from fraudstream.detector import load_detector
from fraudstream.score.artifact import DEFAULT_MODEL
from fraudstream.settings import load_settings
from fraudstream.training.evaluate import Judged, Order, judge_model
from fraudstream.training.findings import find
from fraudstream.training.history import read_history, write
from fraudstream.training.judge import judge
from fraudstream.training.recipe import Advance
from fraudstream.training.simulate import SimulationSpec, simulate
from fraudstream.verdict_lines import verdicts_of

SEGMENTS: tuple[Segments, ...] = ("none", "category")


def silent(_what: str, _total: int) -> AbstractContextManager[Advance]:
    return nullcontext(lambda _done: None)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("file") / "stream.parquet"
    write(simulate(SimulationSpec(transactions=6000, users=60, seed=9)), path)
    return path


def judged_by(file: Path, segments: Segments) -> Judged:
    since = read_history(file, rows=3001).table["timestamp"][3000].as_py().isoformat()
    return judge_model(Order(DEFAULT_MODEL, file, since, draws=0, contamination_by=segments), silent)


@pytest.mark.parametrize("segments", SEGMENTS)
def test_evaluation_flags_what_verdicts_flag(file: Path, segments: Segments) -> None:
    judged = judged_by(file, segments)
    detector = load_detector(load_settings(model_dir=DEFAULT_MODEL, contamination_by=segments))
    verdicts = [verdict for _, rows in judge(detector, read_history(file)) for verdict in verdicts_of(rows.verdicts)][
        -len(judged.rows) :
    ]
    assert judged.flagged.tolist() == [verdict.flagged for verdict in verdicts]
    assert judged.thresholds.round(6).tolist() == [verdict.threshold for verdict in verdicts]
    assert len(np.unique(judged.thresholds)) == (1 if segments == "none" else 16)


@pytest.mark.parametrize("segments", SEGMENTS)
def test_alert_rates_count_what_is_flagged(file: Path, segments: Segments) -> None:
    judged = judged_by(file, segments)
    found = find(judged, 1, 0, silent)
    assert found.alert_rate.rate == judged.flagged.mean()
    groups = found.groups["category"].values()
    assert sum(group.alert_rate * group.rows for group in groups) == pytest.approx(judged.flagged.sum())
    assert sum(found.reasons.leading.values()) == judged.flagged.sum()
    assert found.alert_rate.threshold == 0.9
    own = found.alert_rate.own_thresholds
    assert bool(own) is (segments == "category")
    assert set(own) <= set(found.groups["category"])
    assert set(own.values()) == set(judged.thresholds.tolist()) - {0.9}
