"""The guard names the stage that has become dearer, and its stored figures are those of the stages that there are."""

from __future__ import annotations

import json

import pytest

from benchmarks.guard import STORED, WHOLE, compare, figures_of, judged_of, least
from benchmarks.stages import STAGES, stage_ratios

BEFORE = {"decode": 2.0, "score": 8.0, WHOLE: 0.4}


def test_what_is_dearer_than_allowed_is_named_and_nothing_else() -> None:
    assert compare(BEFORE, {"decode": 2.29, "score": 9.1, WHOLE: 0.2}, BEFORE) == []
    (problem,) = compare(BEFORE, {"decode": 2.0, "score": 9.4}, BEFORE)
    assert "the stage `score` costs +17.5% CPU" in problem
    (problem,) = compare(BEFORE, {WHOLE: 0.47}, BEFORE)
    assert "the whole (full path / pass-through) costs +17.5% CPU" in problem


def test_what_seems_dearer_is_measured_again_before_it_is_told() -> None:
    def run(*figures: float) -> tuple[float, int]:
        left = list(figures)
        return least(lambda: {"decode": left.pop(0)}, BEFORE, 1)["decode"], len(left)

    assert run(2.2, 9.0) == (2.2, 1)
    assert run(2.4, 2.1, 9.0) == (2.1, 1)
    assert run(2.5, 2.6, 2.4, 9.0) == (2.4, 1)


def test_a_figure_that_was_never_stored_is_told() -> None:
    assert "features: expected a stored figure" in compare(BEFORE, {"features": 1.0}, BEFORE)[0]


def test_a_gain_that_is_not_stored_is_pointed_at(capsys: pytest.CaptureFixture[str]) -> None:
    compare(BEFORE, {"decode": 1.0, "score": 7.9}, BEFORE)
    decode, score = capsys.readouterr().out.splitlines()
    assert "store it" in decode
    assert "store it" not in score


def test_each_stage_is_measured_and_stored() -> None:
    measured = stage_ratios(0.1)
    assert measured.keys() == STAGES.keys()
    assert all(0 < ratio < float("inf") for ratio in measured.values())
    for figures in json.loads(STORED.read_text(encoding="utf-8")).values():
        assert figures.keys() == {*STAGES, WHOLE}


def test_a_processor_is_held_to_its_own_figures_and_an_unknown_one_to_the_dearest_full_path(
    capsys: pytest.CaptureFixture[str],
) -> None:
    kinds = {"one": {"score": 5.0, WHOLE: 0.3}, "other": {"score": 8.0, WHOLE: 0.2}}
    assert figures_of("one", kinds) == kinds["one"]
    assert {"score", WHOLE} <= {*judged_of("one", kinds)}
    stored, judged = figures_of("a third", kinds), judged_of("a third", kinds)
    assert stored == {"score": 8.0, WHOLE: 0.3}
    assert compare(stored, {"score": 16.0, WHOLE: 0.34}, judged) == []
    assert "+100.0%" in capsys.readouterr().out
    (problem,) = compare(stored, {"score": 16.0, WHOLE: 0.36}, judged)
    assert "the whole" in problem
