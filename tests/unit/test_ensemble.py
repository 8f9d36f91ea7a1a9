"""One score from three members: the same in any batch, and still one when a member fails."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fraudstream.errors import ModelError
from fraudstream.features.catalogue import MODEL_INPUTS
from fraudstream.score.autoencoder import Autoencoder
from fraudstream.score.blocks import VECTOR_ROWS
from fraudstream.score.ensemble import MEMBERS, Ensemble, Scores
from fraudstream.score.lstm import Lstm
from tests.fitted import small_ensemble, small_stream

ROWS = 1000


def rows(which: NDArray[np.int64] | slice) -> tuple[NDArray[np.float32], NDArray[np.uint32]]:
    return small_stream().features[which], small_stream().sequences[which]


@pytest.fixture(scope="module")
def whole() -> Scores:
    """Scores of the stream's first rows in one batch."""
    return small_ensemble().score(*rows(slice(ROWS)))


def assert_same_bits(part: Scores, whole: Scores, which: NDArray[np.int64]) -> None:
    assert part.anomaly.tobytes() == whole.anomaly[which].tobytes()
    assert part.members.tobytes() == whole.members[which].tobytes()
    assert part.surprise.tobytes() == whole.surprise[which].tobytes()


class BatchDependentLstm(Lstm):
    """What a library does that orders its sums by the number of rows."""

    def score(self, sequences: NDArray[np.uint32]) -> NDArray[np.float64]:
        return super().score(sequences) * (1.0 + 1e-15 * len(sequences))


class RaisingLstm(Lstm):
    """What a member does that meets a sequence for which it was not made."""

    def score(self, sequences: NDArray[np.uint32]) -> NDArray[np.float64]:
        raise IndexError(f"{len(sequences)} sequences of another kind")


def broken(member: str, ensemble: Ensemble) -> dict[str, Any]:
    """The ensemble's members, one of them damaged: NaN where it computes, or an error."""
    parts: dict[str, Any] = {"forest": ensemble.forest, "autoencoder": ensemble.autoencoder, "lstm": ensemble.lstm}
    if member == "forest":
        parts["forest"] = replace(ensemble.forest, path=np.full_like(ensemble.forest.path, np.nan))
    elif member == "autoencoder":
        tensors = ensemble.autoencoder.tensors()
        tensors = {
            name: np.full_like(tensor, np.nan) if name != "transform" else tensor for name, tensor in tensors.items()
        }
        parts["autoencoder"] = Autoencoder.from_tensors(tensors)
    else:
        lstm = ensemble.lstm
        parts["lstm"] = RaisingLstm(lstm.encoder, lstm.parameters, lstm.threshold)
    return parts


def ensemble_without(*members: str, weights: tuple[float, float, float] = (0.4, 0.4, 0.2)) -> Ensemble:
    whole = small_ensemble()
    damaged = {member: broken(member, whole)[member] for member in members}
    parts: dict[str, Any] = {"forest": whole.forest, "autoencoder": whole.autoencoder, "lstm": whole.lstm, **damaged}
    return Ensemble(**parts, reference=whole.calibration.reference, weights=weights)


def test_every_transaction_has_a_score_between_0_and_1(whole: Scores) -> None:
    assert whole.anomaly.shape == (ROWS,)
    assert whole.members.shape == (ROWS, len(MEMBERS))
    assert whole.surprise.shape == (ROWS, len(MODEL_INPUTS))
    assert whole.surprise.dtype == np.float32
    for values in (whole.anomaly, whole.members):
        assert ((values >= 0) & (values <= 1)).all()
    assert whole.degraded == ()


@pytest.mark.parametrize("size", [1, 2, VECTOR_ROWS - 1, VECTOR_ROWS, VECTOR_ROWS + 1, 37, 127, 128, 129, 512])
def test_a_transaction_gets_the_same_bits_in_batches_of_any_size(size: int, whole: Scores) -> None:
    for start in range(0, ROWS - size + 1, max(size, 50)):
        which = np.arange(start, start + size)
        assert_same_bits(small_ensemble().score(*rows(which)), whole, which)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, ROWS - 1), min_size=1, max_size=384))
def test_a_transaction_gets_the_same_bits_at_any_place_and_beside_any_others(order: list[int]) -> None:
    which = np.array(order)
    assert_same_bits(small_ensemble().score(*rows(which)), small_ensemble().score(*rows(slice(ROWS))), which)


def test_a_row_gets_the_same_bits_at_every_place_of_a_vector(whole: Scores) -> None:
    for row in (3, 500, 999):
        which = np.full(3 * VECTOR_ROWS + 5, row)
        assert_same_bits(small_ensemble().score(*rows(which)), whole, which)


def test_an_empty_batch_has_no_scores() -> None:
    scores = small_ensemble().score(*rows(slice(0)))
    assert scores.anomaly.shape == (0,)
    assert scores.surprise.shape == (0, len(MODEL_INPUTS))


def test_warm_up_accepts_this_machine() -> None:
    small_ensemble().warm_up()


def test_a_machine_on_which_the_batch_matters_is_refused() -> None:
    whole = small_ensemble()
    lstm = BatchDependentLstm(whole.lstm.encoder, whole.lstm.parameters, whole.lstm.threshold)
    ensemble = Ensemble(whole.forest, whole.autoencoder, lstm, whole.calibration.reference)
    with pytest.raises(ModelError, match="same score for a transaction in any batch"):
        ensemble.warm_up()


def test_the_training_stream_exceeds_the_threshold_as_often_as_contamination_says() -> None:
    scores = small_ensemble().score(*rows(slice(None)))
    for contamination in (0.1, 0.01, 0.001):
        assert float((scores.anomaly > 1 - contamination).mean()) == pytest.approx(contamination, abs=2 / 6000)


@pytest.mark.parametrize("member", MEMBERS)
def test_a_failing_member_is_left_out_and_named(member: str, whole: Scores) -> None:
    scores = ensemble_without(member).score(*rows(slice(ROWS)))
    at = MEMBERS.index(member)
    others = [other for other in range(len(MEMBERS)) if other != at]
    assert scores.degraded == (member,)
    assert scores.degraded_of(17) == (member,)
    assert np.isnan(scores.members[:, at]).all()
    np.testing.assert_array_equal(scores.members[:, others], whole.members[:, others])
    weights = [0.4, 0.4, 0.2]
    weights[at] = 0.0
    intact = small_ensemble()
    reweighed = Ensemble(
        intact.forest,
        intact.autoencoder,
        intact.lstm,
        intact.calibration.reference,
        (weights[0], weights[1], weights[2]),
    )
    np.testing.assert_array_equal(scores.anomaly, reweighed.score(*rows(slice(ROWS))).anomaly)


def test_a_member_that_gives_infinity_has_failed() -> None:
    intact = small_ensemble()
    forest = replace(intact.forest, path=np.full_like(intact.forest.path, -np.inf))
    scores = Ensemble(forest, intact.autoencoder, intact.lstm, intact.calibration.reference).score(*rows(slice(10)))
    assert scores.degraded == ("forest",)
    assert np.isnan(scores.members[:, 0]).all()


def test_a_failing_autoencoder_leaves_no_surprise_behind() -> None:
    assert not ensemble_without("autoencoder").score(*rows(slice(ROWS))).surprise.any()


def test_two_failing_members_leave_the_score_to_the_third() -> None:
    scores = ensemble_without("forest", "lstm").score(*rows(slice(ROWS)))
    assert scores.degraded == ("forest", "lstm")
    assert np.isfinite(scores.anomaly).all()
    order = np.argsort(scores.members[:, 1], kind="stable")
    assert (np.diff(scores.anomaly[order]) >= 0).all()


def test_when_all_members_fail_the_model_is_refused() -> None:
    with pytest.raises(ModelError, match="expected a score from at least one of forest, autoencoder and lstm"):
        ensemble_without(*MEMBERS).score(*rows(slice(10)))


def test_rows_do_without_a_member_and_leave_the_others_as_they_are(whole: Scores) -> None:
    without = {name: np.zeros(ROWS, np.bool_) for name in MEMBERS}
    without["autoencoder"][3:40] = without["lstm"][30:50] = True
    asked: list[str] = []

    def left_out(member: str) -> NDArray[np.bool_]:
        asked.append(member)
        return without[member]

    scores = small_ensemble().score(*rows(slice(ROWS)), left_out)
    assert asked == list(MEMBERS)
    assert scores.degraded_of(35) == ("autoencoder", "lstm")
    assert scores.degraded_of(45) == ("lstm",)
    assert not scores.surprise[3:40].any()
    intact = np.delete(np.arange(ROWS), np.arange(3, 50))
    for mine, theirs in ((scores.anomaly, whole.anomaly), (scores.members, whole.members)):
        assert mine[intact].tobytes() == theirs[intact].tobytes()
    assert scores.surprise[intact].tobytes() == whole.surprise[intact].tobytes()
    alone = ensemble_without("autoencoder").score(*rows(slice(ROWS)))
    assert scores.anomaly[3:30].tobytes() == alone.anomaly[3:30].tobytes(), "left out is as if it had failed"


def test_a_member_that_no_row_needs_does_not_run() -> None:
    class Untouchable:
        def score(self, sequences: NDArray[np.uint32]) -> NDArray[np.float64]:
            raise AssertionError("asked for a score that nobody waits for")

    intact = small_ensemble()
    lstm: Any = Untouchable()
    ensemble = Ensemble(intact.forest, intact.autoencoder, lstm, intact.calibration.reference)
    scores = ensemble.score(*rows(slice(10)), lambda member: np.full(10, member == "lstm"))
    assert scores.degraded == ("lstm",)
    assert not ensemble._complained


def test_one_row_that_a_member_cannot_score_leaves_the_others_as_they_are(whole: Scores) -> None:
    features, sequences = rows(slice(ROWS))
    features = features.copy()
    features[5, 0] = np.nan
    scores = small_ensemble().score(features, sequences)
    assert scores.degraded == ("autoencoder",)
    assert scores.degraded_of(5) == ("autoencoder",)
    assert scores.degraded_of(6) == ()
    assert np.isfinite(scores.anomaly).all()
    intact = np.delete(np.arange(ROWS), 5)
    np.testing.assert_array_equal(scores.anomaly[intact], whole.anomaly[intact])


def test_a_failure_is_logged_once_and_not_for_every_batch(caplog: pytest.LogCaptureFixture) -> None:
    ensemble = ensemble_without("lstm")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            ensemble.score(*rows(slice(10)))
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        "lstm failed and is left out of the score"
    ]


def test_a_member_that_gives_no_numbers_is_logged_as_well(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        ensemble_without("forest").score(*rows(slice(10)))
    assert "forest failed" in caplog.text


def test_weights_decide_whose_opinion_counts(whole: Scores) -> None:
    intact = small_ensemble()
    only_forest = Ensemble(
        intact.forest, intact.autoencoder, intact.lstm, intact.calibration.reference, (1.0, 0.0, 0.0)
    ).score(*rows(slice(ROWS)))
    order = np.argsort(whole.members[:, 0], kind="stable")
    assert (np.diff(only_forest.anomaly[order]) >= 0).all()
    assert not np.array_equal(only_forest.anomaly, whole.anomaly)


def test_frauds_score_higher_than_honest_transactions() -> None:
    stream = small_stream()
    anomaly = small_ensemble().score(*rows(slice(None))).anomaly
    is_fraud = stream.is_fraud == 1
    assert np.median(anomaly[is_fraud]) > np.quantile(anomaly[~is_fraud], 0.85)
