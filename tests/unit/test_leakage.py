"""Nothing knows what comes later: not a feature, not a score, not a model."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fraudstream.score.artifact import TENSOR_FILE
from fraudstream.training import recipe
from fraudstream.training.checks import DataReport
from fraudstream.training.evaluate import judge_model
from fraudstream.training.evaluate_rows import first_judged, read_labelled
from fraudstream.training.history import write
from fraudstream.training.replay import replay_features
from tests.fitted import ALLOWED_LATENESS_S, small_ensemble, small_history, small_stream
from tests.judged import silent, small_judged, small_order

UNTIL = "2025-02-20"


@pytest.mark.parametrize("rows", [700, 2048, 4999])
def test_features_and_scores_of_the_first_rows_do_not_change_when_later_rows_are_removed(rows: int) -> None:
    stream, ensemble = small_stream(), small_ensemble()
    cut = replay_features(small_history().head(rows), ALLOWED_LATENESS_S, stream.reference)
    np.testing.assert_array_equal(cut.features, stream.features[:rows])
    np.testing.assert_array_equal(cut.sequences, stream.sequences[:rows])
    found = ensemble.score(cut.features, cut.sequences)
    whole = ensemble.score(stream.features, stream.sequences)
    np.testing.assert_array_equal(found.anomaly, whole.anomaly[:rows])
    np.testing.assert_array_equal(found.members, whole.members[:rows])


def test_an_evaluation_that_ends_earlier_says_the_same_of_what_it_judges(tmp_path: Path) -> None:
    _, whole = small_judged()
    found = judge_model(replace(small_order(tmp_path), until=UNTIL), silent)
    rows = len(found.rows)
    assert 100 < rows < len(whole.rows)
    np.testing.assert_array_equal(found.features, whole.features[:rows])
    np.testing.assert_array_equal(found.reference, whole.reference)
    for name in whole.scores.keys() - {"ecod"}:  # pyod's ranks all rows that it is shown among each other
        np.testing.assert_array_equal(found.scores[name], whole.scores[name][:rows], err_msg=name)


def test_the_rows_that_baselines_learn_from_precede_what_is_judged(tmp_path: Path) -> None:
    order = small_order(tmp_path)
    _, judged = small_judged()
    history, _ = read_labelled(order, small_stream().reference.category)
    first = first_judged(order, history)
    assert judged.rows[0] == first
    before = {row.tobytes() for row in small_stream().features[:first]}
    assert {row.tobytes() for row in judged.reference} <= before


class _Silent:
    @staticmethod
    def progress(what: str, total: int, unit: str) -> AbstractContextManager[recipe.Advance]:
        return silent(f"{what} {unit}", total)

    @staticmethod
    def line(text: str) -> None:
        pass

    @staticmethod
    def data(report: DataReport) -> None:
        pass


def test_a_model_is_the_same_whether_later_rows_are_not_read_or_not_there(tmp_path: Path) -> None:
    write(small_history(), tmp_path / "whole.parquet")
    write(small_history().between(until=UNTIL), tmp_path / "cut.parquet")
    models = []
    for name, until in (("whole", UNTIL), ("cut", None)):
        order = recipe.Order(
            source=tmp_path / f"{name}.parquet",
            out=tmp_path / name,
            columns={},
            since=None,
            until=until,
            seed=1,
            allowed_lateness_s=ALLOWED_LATENESS_S,
        )
        recipe.train(order, _Silent())
        models.append((tmp_path / name / TENSOR_FILE).read_bytes())
    assert models[0] == models[1]
