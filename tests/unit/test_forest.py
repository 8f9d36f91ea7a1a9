"""The forest must be the one that scikit-learn fitted."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest

from fraudstream.features.catalogue import model_inputs
from fraudstream.score.forest import Forest
from fraudstream.training.convert import from_sklearn
from tests.fitted import small_stream


def fitted(inputs: NDArray[np.float32], **options: int) -> IsolationForest:
    return IsolationForest(random_state=3, **{"n_estimators": 100, "max_samples": 256, **options}).fit(inputs)


def random_inputs(rows: int, columns: int = 12) -> NDArray[np.float32]:
    random = np.random.default_rng(5)
    inputs = random.lognormal(size=(rows, columns)).astype(np.float32)
    inputs[:, ::3] = np.round(inputs[:, ::3])  # many ties, as counts have
    return inputs


@pytest.mark.parametrize("options", [{}, {"max_samples": 37}, {"n_estimators": 7, "max_samples": 1000}])
def test_scores_are_those_of_scikit_learn_to_the_last_bit(options: dict[str, int]) -> None:
    inputs = random_inputs(5000)
    forest = fitted(inputs, **options)
    np.testing.assert_array_equal(from_sklearn(forest).score(inputs), -forest.score_samples(inputs))


def test_scores_are_those_of_scikit_learn_on_real_features() -> None:
    inputs = model_inputs(small_stream().features)
    forest = fitted(inputs[:3000])
    np.testing.assert_allclose(from_sklearn(forest).score(inputs), -forest.score_samples(inputs), rtol=0, atol=1e-12)


def test_a_value_on_a_threshold_goes_the_way_it_went_in_training() -> None:
    inputs = random_inputs(2000, columns=2)
    forest = fitted(inputs)
    borders = np.concatenate([tree.tree_.threshold[tree.tree_.feature == 0] for tree in forest.estimators_])
    near = borders.astype(np.float32)
    rows = np.stack(
        [np.concatenate([near, np.nextafter(near, np.float32(9)), np.nextafter(near, np.float32(-9))])] * 2, 1
    )
    np.testing.assert_array_equal(from_sklearn(forest).score(rows), -forest.score_samples(rows))


def test_an_outlier_scores_higher_than_the_crowd() -> None:
    inputs = random_inputs(2000)
    forest = from_sklearn(fitted(inputs))
    assert forest.score(np.full((1, 12), 1e6, np.float32))[0] > np.quantile(forest.score(inputs), 0.999)


def test_trees_that_are_not_perfect_are_refused() -> None:
    tensors = from_sklearn(fitted(random_inputs(500))).tensors()
    assert isinstance(Forest.from_tensors(tensors), Forest)
    with pytest.raises(ValueError, match="no perfect trees"):
        Forest.from_tensors({**tensors, "path": tensors["path"][:, 1:]})
    with pytest.raises(ValueError, match="no perfect trees"):
        Forest.from_tensors({**tensors, "feature": tensors["feature"] - np.int16(1)})
