"""A model of one's own: the built-in ensemble passes the public checks, and each check sees what breaks it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fraudstream.detector import load_detector, try_out
from fraudstream.errors import ModelError, SettingsError
from fraudstream.evidence import features_of, read_headers
from fraudstream.features.catalogue import index_of
from fraudstream.library.built_in import built_in_scorer
from fraudstream.pipeline import process
from fraudstream.score.exchange import EnsembleScorer, OwnEnsemble
from fraudstream.score.scorer import Scored, find_scorer
from fraudstream.settings import load_settings
from fraudstream.state.profile import EMPTY
from fraudstream.testing import CheckFailedError, check_scorer
from fraudstream.verdict import MemberScores, decode_verdict
from tests.asking import predict
from tests.fitted import small_ensemble, small_stream
from tests.unit.test_pipeline import message

Features = NDArray[np.float32]
Sequences = NDArray[np.uint32]


class Plain:
    """The amount's z-score, squeezed into 0..1; keeps every promise."""

    name, version = "plain", "1"
    needs: tuple[str, ...] = ("amount_z", "amount_to_mean_lifetime")

    def score(self, features: Features, sequences: Sequences) -> Scored:
        self.check(features, sequences)
        high = features.astype(np.float64).clip(0.0, 1e6)
        failed = np.isnan(high).any(axis=1)
        high[failed] = 0.0
        return self.answer(Scored(1.0 - np.exp(-high.max(axis=1)), high, {"amounts": failed}))

    def check(self, features: Features, sequences: Sequences) -> None:
        if features.shape != (len(sequences), len(self.needs)):
            raise ModelError(f"expected {len(self.needs)} columns of {len(sequences)} rows, got {features.shape}")

    def answer(self, scored: Scored) -> Scored:
        return scored


def test_a_scorer_that_keeps_its_promises_passes() -> None:
    check_scorer(Plain())


def test_the_built_in_ensemble_passes_on_made_up_transactions() -> None:
    check_scorer(EnsembleScorer(small_ensemble(), "small"))


def test_the_packaged_model_passes_on_a_stream() -> None:
    scorer, stream = built_in_scorer(), small_stream()
    columns = [index_of(name) for name in scorer.needs]
    check_scorer(scorer, np.ascontiguousarray(stream.features[:300, columns]), stream.sequences[:300])


def changed(change: Callable[[Scored], Scored]) -> Plain:
    """A plain scorer whose answers are changed."""
    scorer = Plain()
    scorer.answer = change  # type: ignore[method-assign, assignment]
    return scorer


def with_anomaly(change: Callable[[Any], Any]) -> Plain:
    return changed(lambda found: Scored(change(found.anomaly), found.evidence, found.degraded))


class Undeclared(Plain):
    needs = ("amount_z", "no_such_feature")


class Twice(Plain):
    needs = ("amount_z", "amount_z")


class Nameless(Plain):
    name = ""


class RanksInTheBatch(Plain):
    """As a min-max scaling of each batch would."""

    def answer(self, scored: Scored) -> Scored:
        return Scored(scored.anomaly / max(scored.anomaly.max(initial=0.0), 1e-9), scored.evidence, scored.degraded)


class Remembers(Plain):
    calls = 0

    def answer(self, scored: Scored) -> Scored:
        self.calls += 1
        return Scored(scored.anomaly / self.calls, scored.evidence, scored.degraded)


class EvidenceOfTheBatch(Plain):
    def answer(self, scored: Scored) -> Scored:
        assert scored.evidence is not None
        return Scored(scored.anomaly, scored.evidence / (1.0 + scored.evidence.sum()), scored.degraded)


class WritesIntoItsInput(Plain):
    def check(self, features: Features, sequences: Sequences) -> None:
        super().check(features, sequences)
        features *= np.float32(1.0)
        features[np.isfinite(features)] += np.float32(0.0)
        if len(features):
            features[0] = features[0] * 2


class TakesNoEmptyBatch(Plain):
    def check(self, features: Features, sequences: Sequences) -> None:
        super().check(features, sequences)
        features.max()


class HidesNaN(Plain):
    def answer(self, scored: Scored) -> Scored:
        return Scored(scored.anomaly, scored.evidence)


class SpreadsNaN(Plain):
    def answer(self, scored: Scored) -> Scored:
        fell = scored.degraded["amounts"].any()
        return Scored(scored.anomaly * 0.5 if fell else scored.anomaly, scored.evidence, scored.degraded)


class RaisesOnNaN(Plain):
    def answer(self, scored: Scored) -> Scored:
        if scored.degraded["amounts"].any():
            raise ModelError("NaN came")
        return scored


class TakesAnyWidth(Plain):
    def check(self, features: Features, sequences: Sequences) -> None:
        if len(features) != len(sequences):
            raise ModelError("rows")


class TakesAnyRows(Plain):
    def check(self, features: Features, sequences: Sequences) -> None:
        if features.shape[1] != len(self.needs):
            raise ModelError("columns")


class RaisesTheWrongError(Plain):
    def check(self, features: Features, sequences: Sequences) -> None:
        if features.shape != (len(sequences), len(self.needs)):
            raise ValueError("columns")


class Raises(Plain):
    def check(self, features: Features, sequences: Sequences) -> None:
        raise RuntimeError("no model")


class AnswersAnArray(Plain):
    def score(self, features: Features, sequences: Sequences) -> Any:
        return np.zeros(len(features))


def negative_evidence(found: Scored) -> Scored:
    return Scored(found.anomaly, -np.ones((len(found.anomaly), 2)), found.degraded)


def narrow_evidence(found: Scored) -> Scored:
    return Scored(found.anomaly, np.ones((len(found.anomaly), 1)), found.degraded)


def degraded_as_numbers(found: Scored) -> Scored:
    return Scored(found.anomaly, found.evidence, {"amounts": np.zeros(len(found.anomaly))})  # type: ignore[dict-item]


BROKEN: list[Any] = [
    pytest.param(Undeclared(), "declared", "no_such_feature", id="needs what is not there"),
    pytest.param(Twice(), "declared", "each needed feature once", id="needs a feature twice"),
    pytest.param(Nameless(), "declared", "name", id="no name"),
    pytest.param(Raises(), "answers", "RuntimeError: no model", id="raises"),
    pytest.param(AnswersAnArray(), "answers", "expected a Scored, got ndarray", id="another type"),
    pytest.param(with_anomaly(lambda a: a[:, None]), "answers", "expected 129 floats", id="shape"),
    pytest.param(with_anomaly(lambda a: (a > 0.5).astype(int)), "answers", "int64", id="integers"),
    pytest.param(with_anomaly(lambda a: np.where(a > 0.5, np.nan, a)), "answers", "finite", id="NaN"),
    pytest.param(with_anomaly(lambda a: a + 1e-9 + (a > 0.9)), "answers", "from 0 to 1", id="above 1"),
    pytest.param(with_anomaly(lambda a: a - 0.5), "answers", "from 0 to 1", id="below 0"),
    pytest.param(changed(negative_evidence), "answers", "not negative", id="negative evidence"),
    pytest.param(changed(narrow_evidence), "answers", "one for each needed feature", id="narrow evidence"),
    pytest.param(changed(degraded_as_numbers), "answers", "booleans", id="degraded as numbers"),
    pytest.param(TakesNoEmptyBatch(), "empty batch", "ValueError", id="empty batch"),
    pytest.param(Remembers(), "determinism", "same bits", id="a memory"),
    pytest.param(WritesIntoItsInput(), "inputs untouched", "changed them", id="writes into its input"),
    pytest.param(RanksInTheBatch(), "batch invariance", "in a batch of", id="scales by the batch"),
    pytest.param(EvidenceOfTheBatch(), "batch invariance", "evidence", id="evidence by the batch"),
    pytest.param(HidesNaN(), "degraded", "name what failed", id="hides NaN"),
    pytest.param(SpreadsNaN(), "degraded", "scores of others", id="NaN spreads"),
    pytest.param(RaisesOnNaN(), "degraded", "NaN came", id="NaN stops all"),
    pytest.param(TakesAnyWidth(), "shape errors", "one feature too many", id="any width"),
    pytest.param(TakesAnyRows(), "shape errors", "fewer rows", id="any rows"),
    pytest.param(RaisesTheWrongError(), "shape errors", "got ValueError", id="another error"),
]


@pytest.mark.parametrize(("broken", "check", "says"), BROKEN)
def test_the_check_sees_what_a_scorer_breaks(broken: Plain, check: str, says: str) -> None:
    with pytest.raises(CheckFailedError, match=says) as failed:
        check_scorer(broken)
    assert failed.value.check == check


@pytest.fixture
def plain_settings(plain_environment: None) -> None:
    """No model comes from the environment."""


def test_a_scorer_of_ones_own_judges_in_the_ensembles_place(plain_settings: None) -> None:
    detector = load_detector(load_settings(contamination=0.5), Plain())
    try_out(detector)
    records = [message(at, amount=20.0) for at in range(8)] + [message(8, amount=900.0)]
    outcome = process(detector, records, lambda _partition, _key: EMPTY)
    last, emitted = decode_verdict(outcome.verdicts[-1].value), outcome.verdicts[-1]
    assert last.model_version == "plain-1"
    assert last.members == MemberScores(None, None, None)
    assert last.degraded == ()
    assert last.flagged
    features = features_of(read_headers(dict(emitted.headers))[1])
    high = max(features[index_of("amount_z")], features[index_of("amount_to_mean_lifetime")])
    assert last.anomaly_score == pytest.approx(1.0 - np.exp(-high), abs=1e-6)
    assert {reason.feature for reason in last.reasons} & {"amount_z", "amount_to_mean_lifetime"}
    answer = predict(detector, message(0).value or b"", 1.8e9, lambda _partition, _key: EMPTY)
    assert answer.members == MemberScores(None, None, None)


def test_a_scorer_whose_part_failed_is_named_in_the_verdict(plain_settings: None) -> None:
    class Halved(Plain):
        def answer(self, scored: Scored) -> Scored:
            return Scored(scored.anomaly, None, {"amounts": scored.anomaly >= 0.0, "other": scored.anomaly > 2.0})

    detector = load_detector(load_settings(), Halved())
    outcome = process(detector, [message(0)], lambda _partition, _key: EMPTY)
    assert decode_verdict(outcome.verdicts[0].value).degraded == ("amounts",)


def test_an_answer_that_would_spoil_verdicts_is_refused(plain_settings: None) -> None:
    detector = load_detector(load_settings(), with_anomaly(lambda a: a * np.nan))
    with pytest.raises(ModelError, match=r"scorer plain-1: anomaly: expected finite numbers"):
        process(detector, [message(0)], lambda _partition, _key: EMPTY)
    with pytest.raises(ModelError, match=r"scorer plain-1: it failed \(RuntimeError: no model\)"):
        OwnEnsemble(Raises()).score(np.zeros((1, 55), np.float32), np.zeros((1, 11, 3), np.uint32))


def test_a_scorer_that_depends_on_the_batch_does_not_start() -> None:
    with pytest.raises(ModelError, match="in any batch"):
        OwnEnsemble(RanksInTheBatch()).warm_up()


@pytest.mark.parametrize(("scorer", "says"), [(Undeclared(), "no_such_feature"), (Nameless(), "name"), (3, "name")])
def test_what_is_no_scorer_is_refused(scorer: Any, says: str) -> None:
    with pytest.raises(ModelError, match=says):
        OwnEnsemble(scorer)


def test_a_scorer_that_nobody_installed_is_named_with_what_to_do() -> None:
    with pytest.raises(ModelError, match=r"SCORER=nowhere: expected one installed package.*unset SCORER"):
        find_scorer("nowhere", load_settings())


def test_what_belongs_to_the_ensemble_is_not_taken_with_another_model(plain_settings: None) -> None:
    for wrong in ({"model_registry": "registry"}, {"contamination_by": "category"}):
        with pytest.raises(SettingsError, match="SCORER=zscore and"):
            load_settings(scorer="zscore", **wrong)
        with pytest.raises(SettingsError, match="belong to the built-in ensemble"):
            load_detector(load_settings(**wrong), Plain())
