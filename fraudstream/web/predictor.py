"""The way of a question: decode -> answered before? -> judge -> record -> remember; knows no HTTP and no broker.

Nothing is half done: what cannot be recorded where recording was asked for gets no verdict and is not remembered. A
transaction that was recorded although its caller never heard of it does no harm: the stream counts each id once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from fraudstream.errors import FraudstreamError, ModelError, RefusedInput
from fraudstream.transaction import decode_transaction
from fraudstream.verdict import Verdict
from fraudstream.web.answers import AnswersInMemory, fingerprint_of
from fraudstream.web.judging import Asked, Judge
from fraudstream.web.problems import Trouble
from fraudstream.web.schema import Prediction, ProfileUsed
from fraudstream.web.service import AnswerStore, KeptAnswer, Service, StreamRecord

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Terms:
    """How one request wants to be answered.

    Attributes:
        received_s: when it came, seconds since 1970.
        started_s: when it came, by time.perf_counter: the loop's clock may only count whole milliseconds.
        until_s: the loop's time after which nothing more is begun; infinite without timeout_ms.
        record: also produce the transactions to the stream.
    """

    received_s: float
    started_s: float
    until_s: float
    record: bool


@dataclass(frozen=True, slots=True)
class _Item:
    body: bytes
    asked: Asked
    fingerprint: bytes

    @property
    def id(self) -> str:
        return self.asked.transaction.transaction_id


class Predictor:
    """Answers questions; one per process, used from one event loop."""

    def __init__(self, service: Service) -> None:
        settings = service.settings
        self._service = service
        self._answers: AnswerStore = service.answers or AnswersInMemory(settings.answers_kept, settings.answer_ttl_s)
        self._judge = Judge(lambda: service.detector, service.metrics.predict_rows.observe)
        self._under_way: dict[str, asyncio.Event] = {}

    async def predict(self, bodies: Sequence[bytes], terms: Terms) -> list[bytes | Trouble]:
        """The answers to transactions, or what is wrong with them, in their order; one never fails another.

        Args:
            bodies: each a transaction as JSON.

        Raises:
            FraudstreamError: a fault in fraudstream.
        """
        answers: list[bytes | Trouble] = []
        waiting: list[tuple[int, _Item]] = []
        for at, body in enumerate(bodies):
            try:
                waiting.append((at, _decoded(body, terms.received_s)))
                answers.append(b"")
            except RefusedInput as refused:
                answers.append(Trouble.of(refused))
        while waiting:
            # The first of an id goes ahead, in this request and in all others; who asks the same waits for it.
            leading = [(at, one) for at, one in waiting if self._claim(one.id)]
            led = {at for at, _ in leading}
            waiting = [(at, one) for at, one in waiting if at not in led]
            try:
                given = await self._answer([one for _, one in leading], terms)
            finally:
                for _, one in leading:
                    self._under_way.pop(one.id).set()
            for (at, _), answer in zip(leading, given, strict=True):
                answers[at] = answer
            if waiting and not leading:
                await self._under_way[waiting[0][1].id].wait()
        return answers

    def _claim(self, transaction_id: str) -> bool:
        if transaction_id in self._under_way:
            return False
        self._under_way[transaction_id] = asyncio.Event()
        return True

    async def _answer(self, items: Sequence[_Item], terms: Terms) -> list[bytes | Trouble]:
        """Answers to transactions of different ids."""
        if not items:
            return []
        answers: dict[str, bytes | Trouble] = {}
        to_keep: dict[str, KeptAnswer] = {}
        new: list[_Item] = []
        for one, kept in zip(items, await self._answers.find([one.id for one in items]), strict=True):
            if kept is None:
                new.append(one)
            elif kept.fingerprint != one.fingerprint:
                answers[one.id] = _conflict(one.id)
            elif terms.record and not kept.recorded:
                to_keep[one.id] = kept
            else:
                answers[one.id] = kept.body
        self._service.metrics.answers_repeated.inc(len(items) - len(new))
        for one, judged in zip(new, await self._judged(new, terms), strict=True):
            if isinstance(judged, Trouble):
                answers[one.id] = judged
            else:
                to_keep[one.id] = KeptAnswer(one.fingerprint, judged, recorded=False)
        if terms.record:
            await self._record([one for one in items if one.id in to_keep], terms, to_keep, answers)
        fingerprints = {one.id: one.fingerprint for one in items}
        for transaction_id, kept in (await self._answers.keep(to_keep)).items():
            is_same = kept.fingerprint == fingerprints[transaction_id]
            answers[transaction_id] = kept.body if is_same else _conflict(transaction_id)
        return [answers[one.id] for one in items]

    async def _judged(self, items: Sequence[_Item], terms: Terms) -> list[bytes | Trouble]:
        if not items:
            return []
        answers = await self._judge.judge([one.asked for one in items], self._service.profiles, terms.until_s)
        elapsed_ms = round((time.perf_counter() - terms.started_s) * 1000, 3)
        now = datetime.now(UTC)
        return [
            _trouble(answer) if isinstance(answer, FraudstreamError) else _encode(_prediction(*answer, elapsed_ms, now))
            for answer in answers
        ]

    async def _record(
        self,
        items: Sequence[_Item],
        terms: Terms,
        to_keep: dict[str, KeptAnswer],
        answers: dict[str, bytes | Trouble],
    ) -> None:
        """Produces to the stream; what is not taken leaves `to_keep` and gets its problem in `answers`."""
        recorder = self._service.recorder
        if recorder is None:
            problems: Sequence[str | None] = ["this process has no broker to record to"] * len(items)
        else:
            problems = await recorder.record(
                [
                    StreamRecord(one.asked.transaction.user_id.encode(), one.body, int(terms.received_s * 1000))
                    for one in items
                ]
            )
        for one, problem in zip(items, problems, strict=True):
            if problem is None:
                kept = to_keep[one.id]
                to_keep[one.id] = KeptAnswer(kept.fingerprint, kept.body, recorded=True)
            else:
                del to_keep[one.id]
                answers[one.id] = Trouble(
                    "not_recorded", f"expected the broker to take the transaction, got: {problem}; ask again"
                )


def _decoded(body: bytes, received_s: float) -> _Item:
    transaction = decode_transaction(body)
    asked = Asked(transaction, transaction.time_s(received_s), received_s)
    return _Item(body, asked, fingerprint_of(transaction))


def _conflict(transaction_id: str) -> Trouble:
    return Trouble(
        "transaction_conflict",
        f"transaction_id: expected the same transaction as before, got another one with the id {transaction_id!r}",
    )


def _trouble(error: FraudstreamError) -> Trouble:
    if isinstance(error, RefusedInput):
        return Trouble.of(error)
    if isinstance(error, ModelError):
        return Trouble("no_score", str(error))
    raise error


def _prediction(verdict: Verdict, profile: ProfileUsed | None, elapsed_ms: float, now: datetime) -> Prediction:
    fields: dict[str, Any] = {name: getattr(verdict, name) for name in Verdict.__struct_fields__}
    return Prediction(**fields | {"processing_time_ms": elapsed_ms, "timestamp": now}, profile=profile)
