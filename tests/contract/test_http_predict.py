"""What /predict promises beyond one verdict: batches, the same answer again, deadlines, profiles, keys, a stop."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
import uvloop
from pydantic import SecretStr

from fraudstream import api_keys
from fraudstream.detector import load_detector, warm_up
from fraudstream.errors import RefusedInput
from fraudstream.pipeline import Detector, process
from fraudstream.settings import Settings, load_settings
from fraudstream.verdict import Verdict
from fraudstream.web import keyring
from fraudstream.web.context import CONTEXT
from fraudstream.web.mount import drain
from fraudstream.web.problems import KINDS
from fraudstream.web.schema import WINDOW_NAMES, Prediction
from fraudstream.web.service import StreamRecord
from tests.http_service import EXAMPLE, JSON, Client, Process, Profiles, Reply, quoted

NOW_S = 1_750_000_000
DAY_S = 86_400
LONGEST_HOLD_S = 0.015


@pytest.fixture(scope="module")
def detector() -> Detector:
    detector = load_detector(Settings.model_construct())
    warm_up(detector)
    return detector


@pytest.fixture
def process_(plain_environment: None, detector: Detector) -> Process:
    return Process(load_settings(), detector)


@pytest.fixture
async def client(process_: Process) -> AsyncIterator[Client]:
    async with Client(process_) as client:
        yield client


def named(name: str, **fields: object) -> dict[str, Any]:
    return EXAMPLE | {"transaction_id": name, "timestamp": NOW_S} | fields


class Stream:
    """A source record of the past."""

    topic, partition = "transactions", 0

    def __init__(self, fields: dict[str, Any], offset: int) -> None:
        self.key, self.value = fields["user_id"].encode(), json.dumps(fields).encode()
        self.offset, self.timestamp = offset, int(fields["timestamp"] * 1000)


def lived(detector: Detector, past: Sequence[dict[str, Any]]) -> dict[bytes, bytes]:
    """Profiles after a past."""
    outcome = process(detector, [Stream(fields, at) for at, fields in enumerate(past)], lambda _partition, _key: b"")
    return {key: record for (_, key), record in outcome.profiles.items()}


def habit(user_id: str = "user_123", days: int = 60) -> list[dict[str, Any]]:
    start_s = NOW_S - days * DAY_S
    return [named(f"h{day}", user_id=user_id, timestamp=start_s + day * DAY_S) for day in range(days)]


def assert_problem(reply: Reply, status: int, reason: str) -> dict[str, Any]:
    said: dict[str, Any] = reply.json()
    assert (reply.status, said["reason"]) == (status, reason), said
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert said["type"] == f"urn:fraudstream:problem:{reason}"
    assert said["title"] == KINDS[reason].title
    assert said["status"] == status
    assert said["request_id"] == reply.headers["X-Request-ID"]
    return said


def without_clock(body: bytes) -> dict[str, Any]:
    return {name: value for name, value in json.loads(body).items() if name not in {"timestamp", "processing_time_ms"}}


# Batches


async def test_a_batch_answers_each_transaction_as_predict_does(process_: Process, detector: Detector) -> None:
    process_.profiles.records = lived(detector, habit())
    asked = [named(f"b{at}", amount=5.0 + at * 37, user_id=f"user_{122 + at % 3}") for at in range(200)]
    async with Client(process_) as alone, Client(process_) as together:
        expected = [without_clock((await alone.post(one)).body) for one in asked]
        reply = await together.post({"transactions": asked}, "/predict/batch")
        results = [without_clock(json.dumps(one["verdict"]).encode()) for one in reply.json()["results"]]
    assert results == expected
    assert len({one["anomaly_score"] for one in expected}) > 100


async def test_one_bad_transaction_leaves_the_others_of_a_batch_alone(client: Client) -> None:
    bad: list[tuple[object, str]] = [
        ({}, "missing_field"),
        (17, "wrong_type"),
        (named("x", amount=-1), "out_of_range"),
        (named("y", timestamp=1), "absurd_time"),
        (named("z", merchant="a\x07"), "control_character"),
    ]
    mixed = [named("good-0")]
    for at, (one, _) in enumerate(bad):
        mixed += [one, named(f"good-{at + 1}")]  # type: ignore[list-item]
    reply = await client.post({"transactions": mixed}, "/predict/batch")
    results = reply.json()["results"]
    assert [one["verdict"]["transaction_id"] for one in results[::2]] == [f"good-{at}" for at in range(len(bad) + 1)]
    assert [one["problem"]["reason"] for one in results[1::2]] == [reason for _, reason in bad]
    assert all(one["problem"]["request_id"] == reply.headers["X-Request-ID"] for one in results[1::2])
    alone = await client.post(mixed[1])
    assert results[1]["problem"] | {"request_id": ""} == alone.json() | {"request_id": ""}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "malformed_json"),
        (b"{", "malformed_json"),
        (b"[]", "wrong_type"),
        (b"{}", "missing_field"),
        (b'{"transactions": {}}', "wrong_type"),
        (b'{"transactions": {}', "malformed_json"),
        (b"1", "wrong_type"),
        (b'{"transactions": []}', "bad_length"),
        (b'{"transactions": [' + b"{}," * 500 + b"{}]}", "bad_length"),
        (b'{"transactions": [{"a": }]}', "malformed_json"),
        (b'{"transactions": ' + b"[" * 5000, "malformed_json"),
    ],
)
async def test_a_batch_that_is_none_is_refused(client: Client, body: bytes, reason: str) -> None:
    assert "expected" in assert_problem(await client.post(body, "/predict/batch"), 400, reason)["detail"]


async def test_a_batch_of_another_length_hears_how_long_it_is(client: Client) -> None:
    for many in (0, 501):
        problem = assert_problem(await client.post({"transactions": [{}] * many}, "/predict/batch"), 400, "bad_length")
        assert problem["detail"] == f'transactions: expected {{"transactions": [1 to 500 transactions]}}, got {many}'


async def test_what_is_no_http_is_logged_in_one_line_without_what_came(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """A scanner must not fill the log with tracebacks, nor a broken client with its key and its user."""
    with caplog.at_level("DEBUG"):
        reader, writer = await asyncio.open_connection(client.server.host, client.server.port)
        writer.write(b"GET /profiles/secret HTTP/1.1\r\nHost: x\r\nX-API-Key: secret\x01\r\n\r\n")
        assert (await reader.readline()).split()[1] == b"400"
        writer.close()
        await writer.wait_closed()
    (record,) = (record for record in caplog.records if record.name == "aiohttp.server")
    assert record.levelname == "WARNING"
    assert record.getMessage().startswith("answered 400 to what is no HTTP")
    assert "secret" not in caplog.text
    assert "Traceback" not in caplog.text


def test_the_time_of_an_answer_is_finer_than_the_clock_of_the_workers_loop(
    plain_environment: None, detector: Detector
) -> None:
    async def ask() -> list[float]:
        async with Client(Process(load_settings(), detector)) as client:
            return [(await client.post(named(f"t{at}"))).json()["processing_time_ms"] for at in range(5)]

    times_ms = uvloop.run(ask())
    assert any(time_ms % 1 for time_ms in times_ms), times_ms


async def test_a_batch_may_be_500_transactions_and_does_not_hold_up_others(process_: Process) -> None:
    held_s: list[float] = []

    async def watch() -> None:
        while True:
            before_s = time.thread_time()  # of this thread: what else the machine does is not the batch's doing
            await asyncio.sleep(0)
            held_s.append(time.thread_time() - before_s)

    async with Client(process_) as client:
        await client.post(named("first"))
        watching = asyncio.create_task(watch())
        reply = await client.post({"transactions": [named(f"b{at}") for at in range(500)]}, "/predict/batch")
        watching.cancel()
    assert [one["verdict"]["transaction_id"] for one in reply.json()["results"]] == [f"b{at}" for at in range(500)]
    held_s.sort()
    assert held_s[-1] < LONGEST_HOLD_S, [round(one * 1000, 1) for one in held_s[-5:]]


# The same answer again


async def test_the_same_question_gets_the_same_bytes(client: Client) -> None:
    first = await client.post(EXAMPLE)
    await asyncio.sleep(0.01)
    again = [await client.post(EXAMPLE) for _ in range(3)]
    assert {reply.body for reply in again} == {first.body}
    assert len({reply.headers["X-Request-ID"] for reply in (first, *again)}) == 4
    batch = await client.post({"transactions": [EXAMPLE, EXAMPLE]}, "/predict/batch")
    assert batch.body == b'{"results":[{"verdict":' + first.body + b'},{"verdict":' + first.body + b"}]}"


async def test_questions_that_come_at_once_get_the_same_bytes(client: Client) -> None:
    replies = await asyncio.gather(*(client.post(EXAMPLE) for _ in range(30)))
    assert len({reply.body for reply in replies}) == 1
    assert replies[0].status == 200


async def test_another_transaction_with_the_same_id_is_a_conflict(client: Client) -> None:
    first = await client.post(named("t"))
    assert_problem(await client.post(named("t", amount=1)), 409, "transaction_conflict")
    batch = await client.post({"transactions": [named("t", amount=2), named("u")]}, "/predict/batch")
    assert batch.json()["results"][0]["problem"]["status"] == 409
    assert batch.json()["results"][1]["verdict"]["transaction_id"] == "u"
    racing = await asyncio.gather(*(client.post(named("race", amount=1 + at % 2)) for at in range(10)))
    assert sorted(reply.status for reply in racing) == [200] * 5 + [409] * 5
    assert (await client.post(named("t"))).body == first.body


async def test_a_forgotten_answer_is_made_anew(plain_environment: None, detector: Detector) -> None:
    async with Client(Process(load_settings(answer_ttl_s=0.05), detector)) as client:
        first = await client.post(named("t"))
        await asyncio.sleep(0.06)
        second = await client.post(named("t", amount=1))
        assert second.status == 200
        assert second.body != first.body


async def test_a_refused_transaction_is_not_remembered(client: Client) -> None:
    assert (await client.post(named("t", amount=-1))).status == 400
    assert (await client.post(named("t"))).status == 200


# Deadlines


class Slow:
    """A member that takes its time."""

    def __init__(self, member: Any, seconds: float) -> None:
        self._member, self._seconds = member, seconds
        self.transform, self.calls = getattr(member, "transform", None), 0

    def score(self, inputs: Any) -> Any:
        self.calls += 1
        time.sleep(self._seconds)
        return self._member.score(inputs)


@pytest.mark.parametrize(
    ("slow", "left_out"), [("forest", ["autoencoder", "lstm"]), ("autoencoder", ["lstm"]), ("lstm", [])]
)
async def test_what_is_not_begun_in_time_is_left_out_and_named(
    plain_environment: None, slow: str, left_out: list[str]
) -> None:
    own = load_detector(Settings.model_construct())
    ensemble = cast(Any, own.ensemble)
    setattr(ensemble, slow, Slow(getattr(ensemble, slow), 1.1))
    last = ensemble.lstm = Slow(ensemble.lstm, 0.0)
    async with Client(Process(load_settings(), own)) as client:
        said = (await client.post(named("t"), "/predict?timeout_ms=1000")).json()
        assert said["degraded"] == left_out
        assert [name for name, score in said["members"].items() if score is None] == left_out
        assert last.calls == (0 if left_out else 1), "a member that nobody waits for must not run"
        assert 0 <= said["anomaly_score"] <= 1
        whole = (await client.post(named("u"), "/predict?timeout_ms=30000")).json()
        assert whole["degraded"] == []
        untimed = (await client.post(named("v"))).json()
        assert untimed["members"] == whole["members"]


async def test_one_that_is_in_a_hurry_takes_nothing_from_those_judged_with_it(plain_environment: None) -> None:
    own = load_detector(Settings.model_construct())
    ensemble = cast(Any, own.ensemble)
    ensemble.forest = Slow(ensemble.forest, 1.1)
    process = Process(load_settings(), own)
    async with Client(process) as client:
        hurried, patient = await asyncio.gather(
            client.post(named("a"), "/predict?timeout_ms=1000"), client.post(named("b"))
        )
    assert hurried.json()["degraded"] == ["autoencoder", "lstm"]
    assert patient.json()["degraded"] == []


async def test_a_profile_that_does_not_come_in_time_makes_a_stranger_of_the_user(
    process_: Process, detector: Detector
) -> None:
    process_.profiles.records = lived(detector, habit())
    asked = named("t", amount=500)
    async with Client(process_) as client:
        known = (await client.post(asked)).json()
    process_.profiles.delay_s = 4.0
    async with Client(process_) as client:
        started_s = time.perf_counter()
        late = (await client.post(asked, "/predict?timeout_ms=2000")).json()
        assert time.perf_counter() - started_s < 3.9
        patient = (await client.post(named("p", amount=500))).json()
    stranger = named("t", amount=500, user_id="nobody-knows")
    process_.profiles = Profiles()
    async with Client(process_) as client:
        unknown = (await client.post(stranger)).json()
    assert late["degraded"] == ["profile"], "half of the time was left for the models"
    assert late["profile"] is None
    assert late["members"] == unknown["members"] != known["members"]
    assert known["profile"] == {"origin": "cache", "age_s": 1.5}
    assert patient["members"] == known["members"]
    assert patient["degraded"] == []


async def test_profiles_that_cannot_be_reached_degrade_the_answer_and_fail_none(process_: Process) -> None:
    process_.profiles.error = ConnectionError("Redis is away")
    async with Client(process_) as client:
        said = (await client.post(EXAMPLE)).json()
        assert (said["degraded"], said["profile"]) == (["profile"], None)
        assert_problem(await client.call("GET", "/profiles/user_123"), 503, "not_ready")


async def test_a_user_of_another_worker_is_refused_and_the_others_of_a_batch_are_not(process_: Process) -> None:
    process_.profiles.refused = {b"theirs": RefusedInput("not_owned", "user_id: expected a user of partitions [0]")}
    async with Client(process_) as client:
        assert_problem(await client.post(named("t", user_id="theirs")), 421, "not_owned")
        asked = [named("a"), named("b", user_id="theirs"), named("c")]
        results = (await client.post({"transactions": asked}, "/predict/batch")).json()["results"]
    assert [one.get("problem", {}).get("status") for one in results] == [None, 421, None]


async def test_a_profile_that_cannot_be_read_fails_its_user_only(process_: Process) -> None:
    process_.profiles.records = {b"broken": b"\xff" * 200}
    async with Client(process_) as client:
        assert_problem(await client.post(named("t", user_id="broken")), 503, "profile_unreadable")
        assert_problem(await client.call("GET", "/profiles/broken"), 503, "profile_unreadable")
        asked = [named("a"), named("b", user_id="broken"), named("c")]
        results = (await client.post({"transactions": asked}, "/predict/batch")).json()["results"]
    assert [one.get("problem", {}).get("status") for one in results] == [None, 503, None]


async def test_a_fault_is_told_as_a_problem_and_to_all_who_wait(plain_environment: None) -> None:
    own = load_detector(Settings.model_construct())
    broken = Detector(own.engine, own.ensemble, None, own.weights, own.model_version)  # type: ignore[arg-type]
    async with Client(Process(load_settings(), broken)) as client:
        replies = await asyncio.gather(*(client.post(named(f"t{at}")) for at in range(3)))
        for reply in replies:
            assert_problem(reply, 500, "internal_error")
            assert "Traceback" not in reply.body.decode()


async def test_whoever_waits_is_judged_together(process_: Process) -> None:
    async with Client(process_) as client:
        await asyncio.gather(*(client.post(named(f"t{at}")) for at in range(100)))
    samples = {
        sample.name: sample.value for found in process_.metrics.predict_rows.collect() for sample in found.samples
    }
    assert samples["fraudstream_predict_rows_sum"] == 100
    assert samples["fraudstream_predict_rows_count"] < 50


@pytest.mark.parametrize(
    "query",
    ["timeout_ms=0", "timeout_ms=-1", "timeout_ms=1.5", "timeout_ms=60001", "timeout_ms=", "timeout_ms=x",
     "timeout_ms=%D9%A1", "record=1", "record=TRUE", "record=", "timeout=5", "record=true&record=true"],
)  # fmt: skip
async def test_a_query_that_cannot_be_understood_is_refused(client: Client, query: str) -> None:
    for path in ("/predict", "/predict/batch"):
        assert (
            "expected"
            in assert_problem(await client.post(EXAMPLE, f"{path}?{query}"), 400, "invalid_parameter")["detail"]
        )


# Recording


class Broker:
    """A recorder in memory, which refuses the users that it is told to."""

    def __init__(self, refused: set[bytes]) -> None:
        self.taken: list[StreamRecord] = []
        self.refused = refused

    async def record(self, records: Sequence[StreamRecord]) -> list[str | None]:
        ends: list[str | None] = [None if one.key not in self.refused else "no leader" for one in records]
        self.taken += [one for one, end in zip(records, ends, strict=True) if end is None]
        return ends


async def test_a_recorded_transaction_is_recorded_once_and_as_it_came(process_: Process) -> None:
    process_.recorder = broker = Broker(set())
    body = json.dumps(EXAMPLE | {"note": "kept"}, indent=1).encode()
    async with Client(process_) as client:
        first = await client.post(body, "/predict")
        assert broker.taken == []
        recorded = [await client.post(body, "/predict?record=true") for _ in range(3)]
        assert {reply.body for reply in recorded} == {first.body}
        await asyncio.gather(*(client.post(named("at-once"), "/predict?record=true") for _ in range(5)))
    assert [(one.key, one.value) for one in broker.taken] == [
        (b"user_123", body),
        (b"user_123", json.dumps(named("at-once")).encode()),
    ]
    assert abs(broker.taken[0].timestamp_ms / 1000 - time.time()) < 60


async def test_what_is_not_recorded_gets_no_verdict_and_is_not_remembered(process_: Process) -> None:
    process_.recorder = broker = Broker({b"unlucky"})
    asked = [named("a"), named("b", user_id="unlucky"), named("c")]
    async with Client(process_) as client:
        reply = await client.post(asked[1], "/predict?record=true")
        assert_problem(reply, 503, "not_recorded")
        assert int(reply.headers["Retry-After"]) > 0
        batch = await client.post({"transactions": asked}, "/predict/batch?record=true")
        assert [one.get("problem", {}).get("reason") for one in batch.json()["results"]] == [None, "not_recorded", None]
        broker.refused = set()
        assert (await client.post(asked[1], "/predict?record=true")).status == 200
    assert sorted(json.loads(one.value)["transaction_id"] for one in broker.taken) == ["a", "b", "c"]


async def test_without_a_broker_recording_is_refused(client: Client) -> None:
    assert_problem(await client.post(EXAMPLE, "/predict?record=true"), 503, "not_recorded")
    assert (await client.post(EXAMPLE)).status == 200


# Profiles


async def test_a_profile_is_told_in_readable_form(process_: Process, detector: Detector) -> None:
    past = [
        named(f"h{at}", user_id="anna/ä b", amount=10 + at, timestamp=NOW_S - 40 * DAY_S + at * DAY_S // 2)
        for at in range(80)
    ]
    process_.profiles.records = lived(detector, past)
    async with Client(process_) as client:
        reply = await client.call("GET", f"/profiles/{quoted('anna/ä b')}")
        said = reply.json()
    newest_s = past[-1]["timestamp"]
    assert reply.status == 200
    assert said["user_id"] == "anna/ä b"
    assert said["lifetime_count"] == 80
    assert said["lifetime_amount_sum"] == sum(one["amount"] for one in past)
    assert sum(said["hours_utc"]) == 80
    assert {name: found["length_s"] for name, found in said["windows"].items()} == WINDOW_NAMES
    for length_s, found in zip(WINDOW_NAMES.values(), said["windows"].values(), strict=True):
        inside = [one["amount"] for one in past if one["timestamp"] > newest_s - length_s]
        assert (found["count"], found["amount_sum"], found["amount_max"]) == (len(inside), sum(inside), max(inside))
        assert not found["is_cut"]
    assert [one["amount"] for one in said["newest_events"]] == [one["amount"] for one in past[:-21:-1]]
    assert len({one["merchant_hash"] for one in said["newest_events"]}) == 1
    assert said["newest_events"][0]["latitude_deg"] is None
    assert (said["origin"], said["age_s"]) == ("cache", 1.5)


async def test_a_place_south_and_west_is_told_as_such(process_: Process, detector: Detector) -> None:
    process_.profiles.records = lived(detector, [named("h", latitude=-33.87, longitude=-70.6)])
    async with Client(process_) as client:
        (event,) = (await client.call("GET", "/profiles/user_123")).json()["newest_events"]
    assert (event["latitude_deg"], event["longitude_deg"]) == (-33.87, -70.6)


async def test_windows_that_lost_events_say_so(process_: Process, detector: Detector) -> None:
    past = [named(f"h{at}", timestamp=NOW_S - 9000 + at * 30) for at in range(300)]
    process_.profiles.records = lived(detector, past)
    async with Client(process_) as client:
        windows = (await client.call("GET", "/profiles/user_123")).json()["windows"]
    assert [window["is_cut"] for window in windows.values()] == [False, True, True, True]
    assert windows["1h"]["count"] == 120


async def test_an_unknown_user_and_an_impossible_name_are_problems(client: Client) -> None:
    assert_problem(await client.call("GET", "/profiles/nobody"), 404, "unknown_user")
    assert_problem(await client.call("GET", f"/profiles/{'x' * 129}"), 400, "invalid_parameter")
    assert_problem(await client.call("GET", "/profiles/a%07"), 400, "invalid_parameter")
    assert_problem(await client.call("GET", "/profiles/nobody?at=1"), 400, "invalid_parameter")


# Keys, names, logs


async def test_with_keys_everything_about_somebody_needs_one(plain_environment: None, detector: Detector) -> None:
    process = Process(load_settings(api_keys=SecretStr("secret-one,secret-two")), detector)
    async with Client(process) as client:
        for method, path in (("POST", "/predict"), ("POST", "/predict/batch"), ("GET", "/profiles/u")):
            for headers in ({}, {"X-API-Key": "secret-on"}, {"X-API-Key": "SECRET-ONE"}):
                reply = await client.call(method, path, b"{", JSON | headers)
                assert_problem(reply, 401, "unauthorized")
                assert "X-API-Key" in reply.headers["WWW-Authenticate"]
        for key in ("secret-one", "secret-two"):
            assert (await client.post(EXAMPLE, X_API_Key=key)).status == 200
        for path in ("/health", "/health/live", "/health/ready", "/metrics", "/docs", "/openapi.json"):
            assert (await client.call("GET", path)).status == 200, path


async def test_a_key_has_a_rate_and_a_batch_counts_whole(
    plain_environment: None, detector: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyring, "LOOK_EVERY_S", 0.0)
    file = tmp_path / "keys"
    slow, fast = (api_keys.digest_of(key).hex() for key in (b"slow", b"fast"))
    file.write_text(f"slow:{slow}:5\nfast:{fast}\n")
    async with Client(Process(load_settings(api_key_hashes_file=file), detector)) as client:
        batch = {"transactions": [named(f"b{at}") for at in range(100)]}
        assert (await client.post(batch, "/predict/batch", X_API_Key="slow")).status == 200
        refused = await client.post(EXAMPLE, X_API_Key="slow")
        assert_problem(refused, 429, "rate_limited")
        assert 10 <= int(refused.headers["Retry-After"]) <= 21
        assert (await client.post(EXAMPLE, X_API_Key="fast")).status == 200
        file.write_text(f"slow:{slow}:0\n")
        assert (await client.post(EXAMPLE, X_API_Key="slow")).status == 200, "the limit was lifted"
        assert_problem(await client.post(EXAMPLE, X_API_Key="fast"), 401, "unauthorized")


async def test_a_request_keeps_its_name_if_it_is_a_proper_one(client: Client) -> None:
    assert (await client.post(EXAMPLE, X_Request_ID="till-7.42_a")).headers["X-Request-ID"] == "till-7.42_a"
    for name in ("", "a b", "x" * 65, "ä", '"><script>'):
        made = (await client.post(EXAMPLE, X_Request_ID=name)).headers["X-Request-ID"]
        assert len(made) == 32
        assert made.isalnum()


async def test_the_access_log_tells_nothing_about_anybody(
    plain_environment: None, detector: Detector, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "fraudstream.access")
    async with Client(Process(load_settings(api_keys=SecretStr("sesame")), detector)) as client:
        headers = {"X-API-Key": "sesame", "X-Request-ID": "r-1"}
        await client.call("POST", "/predict?timeout_ms=999", json.dumps(EXAMPLE).encode(), JSON | headers)
        await client.call("GET", "/profiles/user_123", headers=headers)
        await client.call("GET", "/user_123", headers={"X-Request-ID": "r-2"})
    lines = [record.getMessage() for record in caplog.records if record.name == "fraudstream.access"]
    assert len(lines) == 3
    assert lines[0].startswith("POST /predict 200 ")
    assert lines[0].endswith("ms key=key-1 request=r-1")
    assert lines[1].startswith("GET /profiles/{user_id} 404 ")
    assert lines[2].startswith("GET - 404 ")
    for secret in ("user_123", "txn_001", "sesame", "999", "Starbucks"):
        assert not any(secret in line for line in lines), secret


async def test_the_access_log_can_be_turned_off(
    plain_environment: None, detector: Detector, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "fraudstream.access")
    async with Client(Process(load_settings(access_log=False), detector)) as client:
        await client.post(EXAMPLE)
    assert not [record for record in caplog.records if record.name == "fraudstream.access"]


async def test_requests_are_counted_by_route_and_status(client: Client) -> None:
    await client.post(EXAMPLE)
    await client.post(b"{")
    text = (await client.call("GET", "/metrics")).body.decode()
    assert 'fraudstream_http_requests_total{route="/predict",status="200"} 1.0' in text
    assert 'fraudstream_http_requests_total{route="/predict",status="400"} 1.0' in text


# Limits


async def test_a_body_is_limited_in_size_encoding_and_type(process_: Process) -> None:
    async with Client(process_) as client:
        most = process_.settings.max_body_bytes
        assert_problem(await client.post(b" " * (most + 1)), 413, "body_too_large")
        assert_problem(await client.post(b" " * (1024 * 1024 + 1), "/predict/batch"), 413, "body_too_large")
        assert_problem(await client.post(EXAMPLE, Content_Type="text/plain"), 415, "wrong_content_type")
        body = gzip.compress(json.dumps(EXAMPLE).encode())
        reply = await client.call("POST", "/predict", body, JSON | {"Content-Encoding": "gzip"})
        assert_problem(reply, 415, "wrong_content_type")


async def test_a_body_without_a_length_is_limited_too(process_: Process) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(1000):
            yield b" " * 1024

    async with Client(process_) as client:
        reply = await client.call("POST", "/predict", endless(), JSON)
        assert_problem(reply, 413, "body_too_large")


async def test_a_body_that_never_ends_is_given_up(process_: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fraudstream.web.body.BODY_WITHIN_S", 0.1)
    async with Client(process_) as client:
        reader, writer = await asyncio.open_connection(client.server.host, client.server.port)
        writer.write(
            b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
        )
        async with asyncio.timeout(5):
            assert b" 408 " in await reader.readline()
        writer.close()


# Stop


async def test_a_stopping_process_first_says_so_then_ends_what_is_under_way(
    plain_environment: None, detector: Detector
) -> None:
    process = Process(load_settings(drain_s=0.2), detector, Profiles(delay_s=0.5))
    async with Client(process) as client:
        under_way = asyncio.create_task(client.post(EXAMPLE))
        await asyncio.sleep(0.1)
        started_s = time.perf_counter()
        stopping = asyncio.create_task(drain(client.app))
        await asyncio.sleep(0.05)
        health = await client.call("GET", "/health")
        assert health.status == 503
        assert "stopping" in health.json()["problems"][0]
        process.profiles.delay_s = 0.0
        assert (await client.post(named("new"))).status == 200, "who comes before the door closes is served"
        await stopping
        assert client.app[CONTEXT].under_way == 0
        assert (await under_way).status == 200
        assert 0.35 < time.perf_counter() - started_s < 5


async def test_a_process_that_is_not_ready_says_so(process_: Process) -> None:
    process_.problems = ("profiles are not restored yet",)
    async with Client(process_) as client:
        for reply in (
            await client.post(EXAMPLE),
            await client.post({"transactions": [EXAMPLE]}, "/predict/batch"),
            await client.call("GET", "/profiles/u"),
        ):
            assert "restored" in assert_problem(reply, 503, "not_ready")["detail"]
            assert int(reply.headers["Retry-After"]) > 0
        assert (await client.call("GET", "/health")).status == 503
        ready = await client.call("GET", "/health/ready")
        assert (ready.status, ready.json()["problems"]) == (503, ["profiles are not restored yet"])
        live = await client.call("GET", "/health/live")
        assert (live.status, live.json()) == (200, {"alive": True, "problem": None})


async def test_a_process_that_stands_still_says_so(process_: Process) -> None:
    process_.standstill = "nothing gets on"
    async with Client(process_) as client:
        live = await client.call("GET", "/health/live")
        assert (live.status, live.json()) == (503, {"alive": False, "problem": "nothing gets on"})


def test_an_answer_holds_everything_that_a_verdict_holds() -> None:
    assert Prediction.__struct_fields__ == (*Verdict.__struct_fields__, "profile")
