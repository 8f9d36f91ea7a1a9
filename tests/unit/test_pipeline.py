"""The pipeline as one function: batches, dead letters, duplicates, /predict."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import pytest

from fraudstream.decide.reasons import explanation_of
from fraudstream.detector import load_detector
from fraudstream.errors import RefusedInput
from fraudstream.evidence import features_of, read_headers
from fraudstream.pipeline import Detector, Outcome, process
from fraudstream.questions import Question, answer_questions
from fraudstream.settings import load_settings
from fraudstream.state.event import hash16
from fraudstream.state.profile import EMPTY, view
from fraudstream.transaction import LAST_S, decode_transaction
from fraudstream.verdict import NORMAL, NOTHING_FOUND, Verdict, decode_verdict
from tests.asking import predict

START_S = 1_764_000_000

LAST_MS = LAST_S * 1000


@dataclass(frozen=True)
class Record:
    offset: int
    key: bytes | None
    value: bytes | None
    partition: int = 0
    topic: str = "transactions"
    timestamp: int = (START_S + 86_400 * 30) * 1000


@pytest.fixture(scope="module")
def detector() -> Detector:
    return load_detector(load_settings())


def message(offset: int, user: str = "u1", key: bytes | None = b"", partition: int = 0, **fields: Any) -> Record:
    body = {
        "transaction_id": f"t{offset}",
        "user_id": user,
        "amount": 20.0 + offset % 7,
        "merchant": "shop",
        "category": "food",
        "device_id": "d1",
        "timestamp": START_S + offset * 7200,
    } | fields
    return Record(offset, user.encode() if key == b"" else key, json.dumps(body).encode(), partition)


Profiles = dict[tuple[int, bytes], bytes]


def run(detector: Detector, records: list[Record], size: int) -> tuple[list[bytes], Profiles, list[Outcome]]:
    profiles: Profiles = {}

    def load(partition: int, key: bytes) -> bytes:
        return profiles.get((partition, key), EMPTY)

    outcomes = []
    for at in range(0, len(records), size):
        outcome = process(detector, records[at : at + size], load)
        profiles.update(outcome.profiles)
        outcomes.append(outcome)
    return [verdict.value for outcome in outcomes for verdict in outcome.verdicts], profiles, outcomes


def mixed() -> list[Record]:
    return [message(k, user=f"u{k % 5}", partition=k % 2, amount=3000.0 if k % 41 == 40 else 25.0) for k in range(150)]


def test_verdicts_are_the_same_bytes_whatever_the_batch(detector: Detector) -> None:
    whole, profiles, _ = run(detector, mixed(), 150)
    for size in (1, 37):
        again, others, _ = run(detector, mixed(), size)
        assert again == whole
        assert others == profiles


def test_each_category_has_its_own_threshold_in_batches_of_any_size_and_in_predict() -> None:
    detector = load_detector(load_settings(contamination_by="category"))
    own, common = detector.policy.by_category, detector.policy.threshold
    assert own
    categories = ["electronics", "coffee", "never heard of", None]
    expected = [own[hash16("electronics")], own[hash16("coffee")], common, common]
    assert len({round(threshold, 6) for threshold in expected}) == 3
    records = [
        message(k, user=f"u{k % 5}", category=categories[k % 4], amount=3000.0 if k % 41 == 40 else 25.0)
        for k in range(150)
    ]
    whole, profiles, _ = run(detector, records, 150)
    for size in (1, 37):
        assert run(detector, records, size)[0] == whole
    for at, verdict in enumerate(map(decode_verdict, whole)):
        assert verdict.threshold == pytest.approx(expected[at % 4], abs=1e-6)
        assert_agrees_with_its_threshold(verdict)
    for at, threshold in enumerate(expected):
        body = message(150 + at, category=categories[at]).value or b""
        verdict = predict(detector, body, START_S + 1e8, lambda _, key: profiles[0, key])
        assert verdict.threshold == pytest.approx(threshold, abs=1e-6)
        assert_agrees_with_its_threshold(verdict)


def test_every_good_message_gets_one_verdict_and_every_bad_one_a_dead_letter(detector: Detector) -> None:
    bad = [Record(1, b"u1", b"{"), message(3, key=None), message(4, key=b"u2"), Record(5, b"u1", None)]
    records = sorted([message(0), message(2), *bad], key=lambda record: record.offset)
    verdicts, _, (outcome,) = run(detector, records, 10)
    assert [decode_verdict(verdict).transaction_id for verdict in verdicts] == ["t0", "t2"]
    assert [(letter.offset, letter.reason) for letter in outcome.dead_letters] == [
        (1, "malformed_json"),
        (3, "key_mismatch"),
        (4, "key_mismatch"),
        (5, "empty_message"),
    ]
    assert outcome.dead_letters[0].value == b"{"
    assert dict(outcome.dead_letters[1].headers())["source_offset"] == b"3"


@pytest.mark.parametrize("has_time", [True, False])
@pytest.mark.parametrize(("received_ms", "year"), [(LAST_MS, 2106), (LAST_MS + 1, None), (10**18, None), (-1000, None)])
def test_a_time_that_no_broker_can_have_is_refused(
    detector: Detector, received_ms: int, year: int | None, has_time: bool
) -> None:
    record = message(0) if has_time else message(0, timestamp=None)
    outcome = process(detector, [replace(record, timestamp=received_ms)], lambda _partition, _key: EMPTY)
    assert [letter.reason for letter in outcome.dead_letters] == ([] if year else ["absurd_time"])
    verdicts = [decode_verdict(one.value) for one in outcome.verdicts]
    assert [one.timestamp.year for one in verdicts] == ([year] if year else [])
    assert [one.event_time.year for one in verdicts] == ([] if not year else [2025] if has_time else [2106])


def test_a_redelivered_transaction_gets_the_same_verdict_and_changes_nothing(detector: Detector) -> None:
    records = [message(k) for k in range(20)]
    first, profiles, _ = run(detector, records, 7)
    again, after, _ = run(detector, [*records, *records[-5:]], 7)
    assert after == profiles
    for once, twice in zip(first[-5:], again[-5:], strict=True):
        one, two = json.loads(once), json.loads(twice)
        assert two.pop("duplicate") is True
        assert one.pop("duplicate") is False
        assert one == two


def test_the_same_user_in_two_partitions_is_two_profiles(detector: Detector) -> None:
    _, profiles, _ = run(detector, [message(0, partition=0), message(1, partition=1)], 10)
    assert set(profiles) == {(0, b"u1"), (1, b"u1")}


def test_an_unreadable_profile_makes_dead_letters_of_its_user_only(detector: Detector) -> None:
    records = [message(0, user="broken"), message(1, user="fine"), message(2, user="broken")]
    outcome = process(detector, records, lambda _partition, key: b"damaged" if key == b"broken" else EMPTY)
    assert [letter.reason for letter in outcome.dead_letters] == ["profile_unreadable"] * 2
    assert [verdict.key for verdict in outcome.verdicts] == [b"fine"]
    assert set(outcome.profiles) == {(0, b"fine")}


def test_a_verdict_keeps_its_contract(detector: Detector) -> None:
    verdicts, _, _ = run(detector, mixed(), 50)
    seen = [decode_verdict(verdict) for verdict in verdicts]
    assert any(verdict.flagged for verdict in seen)
    for verdict in seen:
        assert 0.0 <= verdict.anomaly_score <= 1.0
        assert verdict.threshold == 0.9
        assert_agrees_with_its_threshold(verdict)


def assert_agrees_with_its_threshold(verdict: Verdict) -> None:
    assert verdict.flagged == (verdict.anomaly_score > verdict.threshold)
    assert verdict.confidence == pytest.approx(
        verdict.anomaly_score if verdict.flagged else 1 - verdict.anomaly_score, abs=2e-6
    )
    assert_reasons(verdict)


def assert_reasons(verdict: Verdict) -> None:
    if not verdict.flagged:
        assert (verdict.anomaly_type, verdict.explanation, verdict.reasons) == (NORMAL, NOTHING_FOUND, ())
        return
    contributions = [reason.contribution for reason in verdict.reasons]
    assert verdict.anomaly_type == verdict.reasons[0].code
    assert sum(contributions) == pytest.approx(verdict.anomaly_score, abs=1e-6)
    assert min(contributions) > 0
    assert len({reason.code for reason in verdict.reasons}) == len(contributions)
    assert verdict.explanation == explanation_of(verdict.reasons)


def test_predict_sees_the_profile_and_leaves_it_alone(detector: Detector) -> None:
    _, profiles, _ = run(detector, [message(k) for k in range(30)], 10)
    before = dict(profiles)
    body = message(31).value or b""
    verdict = predict(detector, body, START_S + 40 * 86_400, lambda _partition, key: profiles[0, key])
    streamed, _, _ = run(detector, [*(message(k) for k in range(30)), message(31)], 10)
    assert verdict.anomaly_score == decode_verdict(streamed[-1]).anomaly_score
    assert profiles == before
    held = view(profiles[0, b"u1"])
    assert held is not None
    assert held.count == 30


def test_questions_judged_together_are_judged_as_each_alone(detector: Detector) -> None:
    _, profiles, _ = run(detector, [message(k) for k in range(30)], 10)
    known = profiles[0, b"u1"]
    asked = [message(31 + at, amount=10.0 * at) for at in range(20)]
    questions = []
    for at, one in enumerate(asked):
        transaction = decode_transaction(one.value)
        time_s = transaction.time_s(START_S + 40 * 86_400)
        questions.append(Question(transaction, time_s, START_S + 40 * 86_400, known if at % 3 else EMPTY))
    broken = Question(questions[0].transaction, START_S, START_S, b"no profile at all")
    together = answer_questions(detector, [*questions[:7], broken, *questions[7:]])
    refused = together.pop(7)
    assert isinstance(refused, RefusedInput)
    assert refused.reason == "profile_unreadable"
    assert together == [answer_questions(detector, [one])[0] for one in questions]
    assert answer_questions(detector, [broken])[0].args == refused.args  # type: ignore[union-attr]
    assert answer_questions(detector, []) == []


def test_predict_refuses_with_the_streams_reasons(detector: Detector) -> None:
    with pytest.raises(RefusedInput) as caught:
        predict(detector, b'{"user_id": 1}', START_S, lambda _partition, _key: EMPTY)
    assert caught.value.reason == "missing_field"


def test_a_verdict_carries_what_it_was_made_from(detector: Detector) -> None:
    records = [message(1), message(2, note="x" * 100_000)]
    outcome = run(detector, records, 2)[2][0]
    assert outcome.computed is not None
    for at, verdict in enumerate(outcome.verdicts):
        transaction, features = read_headers(dict(verdict.headers))
        assert features_of(features).tolist() == outcome.computed.features[at].tolist()
        # What is too large beside a verdict keeps what was read of it.
        assert transaction == records[at].value if at == 0 else len(transaction) < 1000
        assert decode_transaction(transaction) == decode_transaction(records[at].value)
