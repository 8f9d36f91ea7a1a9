"""Checks a running deployment from outside, over HTTP alone; knows what docs promise and nothing of the code.

    python scripts/integration_tests.py --endpoint https://fraud.example [--api-key KEY] [--json FILE]

Needs Python 3.11 and nothing else, and is one file, so that it can be copied into any pipeline. It asks about payments
of made-up users and changes nothing (but with --record). Exit codes: 0 all is well, 1 a check failed or nobody answers,
2 wrong use.
"""

from __future__ import annotations

import argparse
import http.client
import json
import math
import os
import re
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

JSON = "application/json"
PROBLEM = "application/problem+json"
METRICS = ("fraudstream_ready", "fraudstream_partitions", "fraudstream_predict_seconds", "fraudstream_http_requests")
CLOSED = ("/table/", "/router/", "/graph/", "/stats/")
PATHS = {
    "/predict": "post",
    "/predict/batch": "post",
    "/profiles/{user_id}": "get",
    "/health": "get",
    "/health/live": "get",
    "/health/ready": "get",
    "/metrics": "get",
}
SHARES = ("anomaly_score", "threshold", "confidence")
REASON = {"code", "feature", "value", "unit", "usual", "contribution", "text"}
SUM_TOLERANCE = 1e-4
MOST_IN_A_BATCH = 500
LARGE_BYTES = 16 * 1024 * 1024
CLOCK_TOLERANCE_S = 300
RECORDED_WITHIN_S = 30
POLL_S = 0.25

REFUSALS: dict[str, bytes] = {
    "malformed_json": b'{"transaction_id": "t',
    "wrong_type": b'{"transaction_id":"t","user_id":"u","amount":"1","merchant":"m"}',
    "missing_field": b'{"transaction_id":"t","user_id":"u","amount":1}',
    "out_of_range": b'{"transaction_id":"t","user_id":"u","amount":-1,"merchant":"m"}',
    "not_finite": b'{"transaction_id":"t","user_id":"u","amount":NaN,"merchant":"m"}',
    "bad_length": b'{"transaction_id":"t","user_id":"","amount":1,"merchant":"m"}',
    "duplicate_key": b'{"transaction_id":"t","user_id":"u","amount":1,"merchant":"m","amount":2}',
    "control_character": b'{"transaction_id":"t","user_id":"u","amount":1,"merchant":"a\\u0000"}',
    "invalid_utf8": b'{"transaction_id":"t","user_id":"u","amount":1,"merchant":"\xff"}',
    "naive_time": b'{"transaction_id":"t","user_id":"u","amount":1,"merchant":"m","timestamp":"2026-01-01T00:00:00"}',
    "absurd_time": b'{"transaction_id":"t","user_id":"u","amount":1,"merchant":"m","timestamp":"1970-01-01T00:00:00Z"}',
}
"""Reason code -> a body that must be refused with it."""


class FailedError(Exception):
    """A promise that is not kept; the text says what was expected and what came."""


class SkippedError(Exception):
    """A check that was not asked for; the text says how to ask."""


@dataclass(frozen=True)
class Answer:
    """What came back; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body, which must be JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            raise FailedError(f"expected a body of JSON, got {self.body[:80]!r} with status {self.status}") from None

    def content_type(self) -> str:
        """Without its parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip()


@dataclass
class Target:
    """The deployment, and what was seen of it so far."""

    endpoint: str
    options: argparse.Namespace
    marker: str = field(default_factory=lambda: f"probe-{uuid.uuid4().hex[:12]}")
    public: dict[str, bytes] = field(default_factory=dict)
    troubles: list[Answer] = field(default_factory=list)
    predict_statuses: set[int] = field(default_factory=set)
    latency_ms: dict[str, float] = field(default_factory=dict)

    def connect(self) -> http.client.HTTPConnection:
        """A connection of one's own."""
        parts = urlsplit(self.endpoint)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        return kind(parts.hostname or "", parts.port, timeout=self.options.timeout)

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        connection: http.client.HTTPConnection | None = None,
    ) -> Answer:
        """One request; with the key, unless the headers say otherwise."""
        key = {"X-API-Key": self.options.api_key} if self.options.api_key else {}
        sent = {**key, **({"Content-Type": JSON} if body is not None else {}), **(headers or {})}
        asked = connection or self.connect()
        try:
            asked.request(method, urlsplit(self.endpoint).path.rstrip("/") + path, body, sent)
            response = asked.getresponse()
            found = {name.lower(): text for name, text in response.getheaders()}
            return Answer(response.status, found, response.read())
        except (OSError, http.client.HTTPException) as error:
            raise FailedError(f"{method} {path}: expected an answer, got {error!r}") from None
        finally:
            if connection is None:
                asked.close()

    def predict(self, body: bytes | dict[str, Any], path: str = "/predict", **headers: str) -> Answer:
        """POST of a payment."""
        answer = self.ask("POST", path, json.dumps(body).encode() if isinstance(body, dict) else body, headers)
        if path == "/predict":
            self.predict_statuses.add(answer.status)
        return answer

    def payment(self, number: object, **fields: Any) -> dict[str, Any]:
        """A payment of a user whom nobody knows."""
        return {
            "transaction_id": f"{self.marker}-{number}",
            "user_id": f"{self.marker}-user",
            "amount": 45.67,
            "merchant": f"{self.marker}-shop",
            "category": "food",
            "location": "New York",
            **fields,
        }


Check = Callable[[Target], str]
CHECKS: dict[str, Check] = {}


def check(function: Check) -> Check:
    """Takes a check into the list under its name; it returns what it saw, in a few words."""
    CHECKS[function.__name__] = function
    return function


def expect(holds: object, expected: str, got: object) -> None:
    """Fails where something does not hold."""
    if not holds:
        raise FailedError(f"expected {expected}, got {str(got)[:200]}")


@check
def health(target: Target) -> str:
    """Ready, and says with what."""
    answer = when_ready(target, time.monotonic() + target.options.wait)
    target.public["/health"] = answer.body
    expect(answer.status == http.HTTPStatus.OK, "status 200", f"{answer.status}: {answer.body[:200]!r}")
    said = answer.json()
    expect(said.get("ready") is True and not said.get("problems"), "ready and no problems", said)
    expect(said.get("model_version"), "the version of a model", said)
    ready = target.ask("GET", "/health/ready")
    expect(ready.status == http.HTTPStatus.OK, "status 200 of /health/ready", ready.status)
    live = target.ask("GET", "/health/live")
    expect(live.status == http.HTTPStatus.OK and live.json().get("alive") is True, "it alive", live.body)
    target.public["/health/live"] = live.body
    return f"version {said.get('version')}, model {said['model_version']}, lag {said.get('lag')}"


@check
def predict(target: Target) -> str:
    """An ordinary payment gets everything that the contract names."""
    sent = target.payment("ordinary")
    answer = target.predict(sent, **{"X-Request-ID": target.marker})
    verdict = verdict_of(answer, sent)
    expect(verdict["processing_time_ms"] > 0, "processing_time_ms above 0", verdict["processing_time_ms"])
    away_s = abs(datetime.fromisoformat(verdict["timestamp"]).timestamp() - time.time())
    expect(away_s < CLOCK_TOLERANCE_S, f"a timestamp within {CLOCK_TOLERANCE_S} s of this clock", verdict["timestamp"])
    expect(answer.headers.get("x-request-id") == target.marker, "the X-Request-ID that was sent", answer.headers)
    return f"score {verdict['anomaly_score']}, {verdict['anomaly_type']}"


@check
def reasons(target: Target) -> str:
    """A payment that nobody could overlook is flagged and says why."""
    sent = target.payment("odd", amount=4_000_000, timestamp="2026-01-04T03:33:33Z")
    verdict = verdict_of(target.predict(sent), sent)
    expect(verdict["flagged"], "4,000,000.00 of an unknown user to be flagged", verdict)
    expect(verdict["reasons"], "at least one reason", verdict)
    for reason in verdict["reasons"]:
        missing = REASON - reason.keys()
        expect(not missing and reason["text"], f"{', '.join(sorted(REASON))} in each reason", reason)
    whole = sum(reason["contribution"] for reason in verdict["reasons"])
    expect(abs(whole - verdict["anomaly_score"]) < SUM_TOLERANCE, "contributions that sum to the score", whole)
    expect(verdict["anomaly_type"] == verdict["reasons"][0]["code"], "the leading reason as anomaly_type", verdict)
    return f"{verdict['anomaly_type']}: {verdict['reasons'][0]['text']}"


@check
def repeats(target: Target) -> str:
    """The same request gets the same answer, and another payment of the same name is no repeat."""
    sent = target.payment("repeated")
    first, second = target.predict(sent), target.predict(sent)
    verdict_of(second, sent)
    if first.body == second.body:
        problem(target, target.predict(sent | {"amount": 46}), 409, "transaction_conflict")
        return "the same answer, byte for byte; 409 for another payment with its transaction_id"
    once, again = first.json(), second.json()
    for name in once.keys() - {"timestamp", "processing_time_ms", "event_time", "profile"}:
        expect(once[name] == again.get(name), f"the same {name} again", f"{once[name]}, then {again.get(name)}")
    return "the same verdict; answers are not kept (ANSWERS_KEPT)"


@check
def refusals(target: Target) -> str:
    """What cannot be read is refused with its documented reason."""
    for reason, body in REFUSALS.items():
        problem(target, target.predict(body), 400, reason)
    problem(target, target.predict(target.payment("typo"), "/predict?recrod=true"), 400, "invalid_parameter")
    return f"{len(REFUSALS) + 1} kinds of bad requests, each with its reason"


@check
def limits(target: Target) -> str:
    """Other content and bodies without end are refused; paths and methods that do not exist are no fault."""
    body = json.dumps(target.payment("limits")).encode()
    problem(target, target.predict(body, **{"Content-Type": "text/plain"}), 415, "wrong_content_type")
    # Announced, not sent: whoever refuses need not read it, and we need not wait for a closed connection.
    announced = target.predict(b"{", **{"Content-Length": str(LARGE_BYTES)})
    problem(target, announced, 413, "body_too_large")
    problem(target, target.ask("GET", f"/{target.marker}"), 404, "not_found")
    wrong_method = target.ask("GET", "/predict")
    problem(target, wrong_method, 405, "method_not_allowed")
    expect("POST" in wrong_method.headers.get("allow", ""), "Allow: POST with 405", wrong_method.headers)
    return "415, 413, 404 and 405 as documented"


@check
def keys(target: Target) -> str:
    """Nobody without a key gets in."""
    if not target.options.api_key:
        raise SkippedError("no --api-key was given")
    body = target.payment("keys")
    for what, key in (("no key", ""), ("another key", f"{target.marker}-key")):
        for path in ("/predict", "/predict/batch"):
            answer = target.predict(body, path, **{"X-API-Key": key})
            expect(answer.status == http.HTTPStatus.UNAUTHORIZED, f"401 from {path} with {what}", answer.status)
            problem(target, answer, 401, "unauthorized")
            expect("www-authenticate" in answer.headers, "WWW-Authenticate with 401", answer.headers)
        answer = target.ask("GET", f"/profiles/{target.marker}", headers={"X-API-Key": key})
        expect(answer.status == http.HTTPStatus.UNAUTHORIZED, f"401 from /profiles with {what}", answer.status)
    return "401 without the key and with another one"


@check
def batch(target: Target) -> str:
    """Each transaction of a batch gets its own answer, in order."""
    good = [target.payment(f"batch-{number}") for number in range(2)]
    bad = {**good[0], "amount": -1}
    asked = [good[0], bad, good[1]]
    answer = target.predict({"transactions": asked}, "/predict/batch")
    expect(answer.status == http.HTTPStatus.OK, "status 200", f"{answer.status}: {answer.body[:200]!r}")
    results = answer.json().get("results", [])
    expect(len(results) == len(asked), f"{len(asked)} results", results)
    for sent, result in ((good[0], results[0]), (good[1], results[2])):
        check_verdict(result.get("verdict") or {}, sent)
    came = results[1].get("problem") or {}
    expect(came.get("reason") == "out_of_range", "out_of_range for the second of them", results[1])
    many = {"transactions": [target.payment(f"many-{number}") for number in range(MOST_IN_A_BATCH + 1)]}
    problem(target, target.predict(many, "/predict/batch"), 400, "bad_length")
    problem(target, target.predict({"transactions": []}, "/predict/batch"), 400, "bad_length")
    return f"verdicts and problems in their order; more than {MOST_IN_A_BATCH} are refused"


@check
def profiles(target: Target) -> str:
    """Nothing is known of a user without a payment: /predict changed nothing."""
    problem(target, target.ask("GET", f"/profiles/{target.marker}-user"), 404, "unknown_user")
    return "404 for a user without a payment in the stream"


@check
def openapi(target: Target) -> str:
    """The document of the interface names what was seen."""
    answer = target.ask("GET", "/openapi.json", headers={"X-API-Key": ""})
    expect(answer.status == http.HTTPStatus.OK, "status 200", answer.status)
    target.public["/openapi.json"] = answer.body
    document = answer.json()
    expect(str(document.get("openapi", "")).startswith("3.1"), "OpenAPI 3.1", document.get("openapi"))
    for path, method in PATHS.items():
        expect(method in document["paths"].get(path, {}), f"{method.upper()} {path}", sorted(document["paths"]))
    for reference in references(document):
        place: Any = document
        for step in reference.removeprefix("#/").split("/"):
            expect(isinstance(place, dict) and step in place, "every reference to lead somewhere", reference)
            place = place[step]
    documented = {int(status) for status in document["paths"]["/predict"]["post"]["responses"] if status.isdigit()}
    undocumented = sorted(target.predict_statuses - documented)
    expect(not undocumented, f"only the documented statuses {sorted(documented)} from /predict", undocumented)
    return f"{len(document['paths'])} paths, {len(document.get('components', {}).get('schemas', {}))} schemas"


@check
def metrics(target: Target) -> str:
    """Prometheus finds its metrics, and they count."""
    before = prometheus(target)
    for name in METRICS:
        expect(any(found.startswith(name) for found in before), f"the metric {name}", f"{len(before)} others")
    for tries in range(20):  # behind a balancer another process may have answered
        answer = target.predict(target.payment(f"metrics-{tries}"))
        expect(answer.status == http.HTTPStatus.OK, "status 200 from /predict", answer.status)
        if prometheus(target).get("fraudstream_predict_seconds_count", 0) > before["fraudstream_predict_seconds_count"]:
            return f"{len(before)} series; predictions are counted"
    raise FailedError("expected fraudstream_predict_seconds_count to grow with each prediction, got the same again")


@check
def privacy(target: Target) -> str:
    """Open pages tell of nobody, errors of nothing inside, and pages that show the worker's inside are closed."""
    for path in ("/health", "/metrics"):
        target.public[f"{path} again"] = target.ask("GET", path, headers={"X-API-Key": ""}).body
    secrets = [target.marker, *filter(None, [target.options.api_key])]
    for path, body in target.public.items():
        for secret in secrets:
            what = "the API key" if secret == target.options.api_key else "what was asked about"
            expect(secret.encode() not in body, f"nothing of {what} in {path}", "it is there")
    for trouble in target.troubles:
        expect(b"Traceback" not in trouble.body and b'.py"' not in trouble.body, "no source in errors", trouble.body)
        expect(
            not target.options.api_key or target.options.api_key.encode() not in trouble.body,
            "no API key in errors",
            f"status {trouble.status}",
        )
    for path in CLOSED:
        expect(target.ask("GET", path).status == http.HTTPStatus.NOT_FOUND, f"404 at {path}", "a page")
    return f"{len(target.public)} open pages and {len(target.troubles)} errors looked through"


@check
def record(target: Target) -> str:
    """A payment that is recorded reaches the stream and its user's profile."""
    if not target.options.record:
        raise SkippedError("--record was not given: it would put a payment into the stream")
    sent = target.payment("recorded", user_id=f"{target.marker}-recorded")
    verdict_of(target.predict(sent, "/predict?record=true"), sent)
    started_s = time.monotonic()
    while (answer := target.ask("GET", f"/profiles/{sent['user_id']}")).status != http.HTTPStatus.OK:
        waited_s = time.monotonic() - started_s
        expect(waited_s < RECORDED_WITHIN_S, f"the user's profile within {RECORDED_WITHIN_S} s", answer.status)
        time.sleep(POLL_S)
    expect(answer.json()["lifetime_count"] == 1, "one payment in the profile", answer.json()["lifetime_count"])
    return f"in the profile after {time.monotonic() - started_s:.1f} s"


@check
def latency(target: Target) -> str:
    """Predictions are as fast as was asked for."""
    requests, connections = target.options.requests, target.options.connections

    def some(worker: int) -> list[float]:
        connection, taken_ms = target.connect(), []
        for number in range(worker, requests, connections):
            body = json.dumps(target.payment(f"latency-{number}")).encode()
            started_s = time.perf_counter()
            answer = target.ask("POST", "/predict", body, connection=connection)
            taken_ms.append((time.perf_counter() - started_s) * 1000)
            expect(answer.status != http.HTTPStatus.TOO_MANY_REQUESTS, "a key with a rate that allows it", "status 429")
            expect(answer.status == http.HTTPStatus.OK, "status 200", f"{answer.status}: {answer.body[:120]!r}")
        connection.close()
        return taken_ms

    with ThreadPoolExecutor(connections) as pool:
        taken_ms = sorted(one for group in pool.map(some, range(connections)) for one in group)
    for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("max", 1.0)):
        target.latency_ms[name] = round(taken_ms[math.ceil(share * len(taken_ms)) - 1], 3)
    said = ", ".join(f"{name} {value:.1f} ms" for name, value in target.latency_ms.items())
    expect(target.latency_ms["p99"] <= target.options.max_p99_ms, f"p99 of {target.options.max_p99_ms:g} ms", said)
    return f"{said} over {requests} requests on {connections} connections"


def when_ready(target: Target, deadline_s: float) -> Answer:
    """What /health says when it is ready, or when the time is over."""
    while True:
        try:
            answer = target.ask("GET", "/health")
            if answer.status == http.HTTPStatus.OK or time.monotonic() >= deadline_s:
                return answer
        except FailedError:
            if time.monotonic() >= deadline_s:
                raise
        time.sleep(POLL_S)


def verdict_of(answer: Answer, sent: dict[str, Any]) -> dict[str, Any]:
    """The verdict in an answer, which must be one on what was sent."""
    hint = " (give --api-key)" if answer.status == http.HTTPStatus.UNAUTHORIZED else ""
    expect(answer.status == http.HTTPStatus.OK, "status 200", f"{answer.status}{hint}: {answer.body[:200]!r}")
    expect(answer.content_type() == JSON, f"Content-Type {JSON}", answer.headers.get("content-type"))
    verdict: dict[str, Any] = answer.json()
    check_verdict(verdict, sent)
    return verdict


def check_verdict(verdict: dict[str, Any], sent: dict[str, Any]) -> None:
    """A verdict is whole, and about this payment."""
    kinds: dict[str, type | tuple[type, ...]] = {
        **dict.fromkeys(("transaction_id", "user_id", "anomaly_type", "explanation", "model_version"), str),
        **dict.fromkeys(("event_time", "timestamp"), str),
        **dict.fromkeys(SHARES, (int, float)),
        **dict.fromkeys(("flagged", "late", "duplicate"), bool),
        **dict.fromkeys(("reasons", "degraded"), list),
        "members": dict,
        "processing_time_ms": (int, float),
    }
    for name, kind in kinds.items():
        expect(isinstance(verdict.get(name), kind), f"{name} as {kind}", verdict.get(name, f"none in {verdict}"))
    for name in ("transaction_id", "user_id"):
        expect(verdict[name] == sent[name], f"{name} {sent[name]}", verdict[name])
    for name in SHARES:
        expect(0 <= verdict[name] <= 1, f"{name} from 0 to 1", verdict[name])
    exceeds = verdict["anomaly_score"] > verdict["threshold"]
    expect(verdict["flagged"] is exceeds, "flagged where the score exceeds the threshold", verdict)
    expect(verdict["flagged"] or verdict["anomaly_type"] == "normal", "normal where not flagged", verdict)
    expect(not verdict["degraded"], "all models at work", verdict["degraded"])


def problem(target: Target, answer: Answer, status: int, reason: str) -> None:
    """An answer is this documented problem (RFC 9457)."""
    expect(answer.status == status, f"status {status} for {reason}", f"{answer.status}: {answer.body[:160]!r}")
    expect(answer.content_type() == PROBLEM, f"Content-Type {PROBLEM}", answer.headers.get("content-type"))
    target.troubles.append(answer)
    said = answer.json()
    missing = {"type", "title", "status", "detail", "reason"} - said.keys()
    expect(not missing, "type, title, status, detail and reason", said)
    expect(said["status"] == status and said["reason"] == reason, f"{status} {reason}", said)
    expect(said["title"] and said["detail"], "words in title and detail", said)


def prometheus(target: Target) -> dict[str, float]:
    """All samples of /metrics without their labels' difference, by name and labels; typed names count as 0."""
    answer = target.ask("GET", "/metrics", headers={"X-API-Key": ""})
    expect(answer.status == http.HTTPStatus.OK, "status 200", answer.status)
    expect(answer.content_type() == "text/plain", "Content-Type text/plain", answer.headers.get("content-type"))
    found: dict[str, float] = {}
    for line in answer.body.decode().splitlines():
        if line.startswith("# TYPE "):
            found.setdefault(line.split(" ")[2], 0.0)
        elif line and not line.startswith("#"):
            match = re.fullmatch(r"([a-zA-Z_:][\w:]*(?:\{.*\})?) (\S+)(?: \d+)?", line)
            expect(match, "lines of Prometheus' text format", line)
            if match:
                found[match[1]] = float(match[2])
    return found


def references(part: object) -> Iterator[str]:
    """Every local reference in a document."""
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for inside in part.values():
            yield from references(inside)
    elif isinstance(part, list):
        for inside in part:
            yield from references(inside)


@dataclass(frozen=True)
class Outcome:
    """What became of one check."""

    name: str
    result: str
    seconds: float
    detail: str


def run(target: Target) -> Iterator[Outcome]:
    """All checks, one after the other; where nobody is ready the others are not tried."""
    chosen = target.options.only or list(CHECKS)
    for name, function in CHECKS.items():
        if name not in chosen:
            continue
        started_s = time.monotonic()
        try:
            result, detail = "ok", function(target)
        except SkippedError as skipped:
            result, detail = "skipped", str(skipped)
        except FailedError as failed:
            result, detail = "FAILED", str(failed)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            result, detail = "FAILED", f"expected an answer in the documented form, got one where {error!r} comes of it"
        yield Outcome(name, result, time.monotonic() - started_s, detail)
        if name == "health" and result == "FAILED":
            return


def table(outcomes: list[Outcome], colours: bool) -> str:
    """The outcomes for people; with colours on a terminal."""
    codes = {"ok": "32", "FAILED": "1;31", "skipped": "33"}
    lines = []
    for one in outcomes:
        result = f"{one.result:<7}"
        shown = f"\x1b[{codes[one.result]}m{result}\x1b[0m" if colours else result
        lines.append(f"{one.name:<9}  {shown}  {one.seconds:6.2f} s  {one.detail}")
    return "\n".join(lines)


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """The options; ends with 2 where they are wrong."""
    parser = argparse.ArgumentParser(description="Checks a running fraudstream deployment from outside.")
    parser.add_argument("--endpoint", required=True, metavar="URL", help="such as http://127.0.0.1:8000")
    parser.add_argument(
        "--api-key", default=os.environ.get("API_KEY", ""), metavar="KEY", help="default: API_KEY of the environment"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result for machines as well")
    parser.add_argument("--only", nargs="+", choices=CHECKS, metavar="CHECK", help=f"some of: {', '.join(CHECKS)}")
    parser.add_argument("--requests", type=int, default=200, help="of the latency check (default 200)")
    parser.add_argument("--connections", type=int, default=4, help="at the same time (default 4)")
    parser.add_argument("--max-p99-ms", type=float, default=250.0, help="slower fails (default 250)")
    parser.add_argument("--timeout", type=float, default=10.0, help="seconds that an answer may take (default 10)")
    parser.add_argument("--wait", type=float, default=0.0, help="seconds to wait until it is ready (default 0)")
    parser.add_argument("--record", action="store_true", help="also put one payment into the stream")
    options = parser.parse_args(argv)
    if not is_address(options.endpoint):
        parser.error(f"--endpoint: expected http://HOST[:PORT] or https://HOST[:PORT], got {options.endpoint!r}")
    if not (options.api_key.isascii() and options.api_key.isprintable()):
        parser.error("--api-key: expected ASCII letters, digits and signs; is there a line's end in it?")
    if options.timeout <= 0:
        parser.error("--timeout: expected more than 0 seconds")
    if min(options.requests, options.connections) < 1:
        parser.error("--requests and --connections: expected at least 1")
    if options.json is not None and not options.json.absolute().parent.is_dir():
        parser.error(f"--json: expected a file in a directory that exists, {options.json.parent} does not")
    return options


def is_address(text: str) -> bool:
    """Whether the deployment can be asked there."""
    try:
        parts = urlsplit(text)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # such as a port of 99999
        return False


def main(argv: list[str] | None = None) -> int:
    """Runs the checks and tells of them."""
    options = arguments(argv)
    target = Target(options.endpoint, options)
    outcomes = list(run(target))
    passed = all(one.result != "FAILED" for one in outcomes)
    print(table(outcomes, sys.stdout.isatty()))
    if options.json is not None:
        told = {
            "endpoint": options.endpoint,
            "passed": passed,
            "checks": [one.__dict__ for one in outcomes],
            "latency_ms": target.latency_ms,
        }
        options.json.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
