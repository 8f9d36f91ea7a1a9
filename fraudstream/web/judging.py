"""Judges questions that arrive together as one block, and leaves out what is not ready in time; knows no HTTP.

One row costs as much as a block of rows in the models, so whoever waits is scored together. Nobody waits for company:
a question that comes alone is judged in the same turn of the event loop. A block is small enough that the loop is never
held for long, and after each the loop gets its turn.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from msgspec.structs import replace as struct_replace
from numpy.typing import NDArray

from fraudstream.errors import FraudstreamError, ModelError, RefusedInput
from fraudstream.pipeline import Detector
from fraudstream.questions import Question, answer_questions
from fraudstream.score.ensemble import MEMBERS
from fraudstream.state.profile import EMPTY
from fraudstream.transaction import Transaction
from fraudstream.verdict import Verdict
from fraudstream.web.profile_source import FoundProfile, ProfileSource
from fraudstream.web.schema import ProfileUsed

PROFILE = "profile"
MOST_TOGETHER = 128
"""Questions judged in one go: more would hold the event loop."""
PROFILE_SHARE = 0.5
"""Of the time that a caller gives, so that some is left for the models when the profile does not come."""

Answer = tuple[Verdict, ProfileUsed | None] | FraudstreamError


@dataclass(frozen=True, slots=True)
class Asked:
    """A transaction that waits for its verdict.

    Attributes:
        time_s: its event time, seconds since 1970.
        received_s: when it came, seconds since 1970.
    """

    transaction: Transaction
    time_s: int
    received_s: float


@dataclass(slots=True)
class _Group:
    """Questions of one request, and the answers so far."""

    questions: Sequence[Question]
    until_s: float
    answers: list[Verdict | FraudstreamError] = field(default_factory=list)
    whole: asyncio.Future[None] = field(default_factory=asyncio.Future)


class Judge:
    """The micro-batcher of one process; used from one event loop.

    Args:
        detector: gives what judges now.
        observe: told the rows of each block.
    """

    def __init__(self, detector: Callable[[], Detector], observe: Callable[[int], None]) -> None:
        self._detector = detector
        self._observe = observe
        self._waiting: deque[_Group] = deque()
        self._is_scheduled = False

    async def judge(self, asked: Sequence[Asked], source: ProfileSource, until_s: float) -> list[Answer]:
        """The verdicts on transactions, or why there is none, in their order.

        Args:
            source: where the profiles come from.
            until_s: the loop's time after which nothing more is begun; infinite: everything is waited for. The first
                member is always asked, because an answer without any would be none.
        """
        found = await self._profiles([one.transaction.user_id.encode() for one in asked], source, until_s)
        questions = [
            Question(one.transaction, one.time_s, one.received_s, there.record if there else EMPTY)
            for one, there in zip(asked, found, strict=True)
            if not isinstance(there, RefusedInput)
        ]
        verdicts = iter(await self._scored(questions, until_s))
        return [there if isinstance(there, RefusedInput) else _with_profile(next(verdicts), there) for there in found]

    async def _profiles(
        self, keys: Sequence[bytes], source: ProfileSource, until_s: float
    ) -> list[FoundProfile | RefusedInput | None]:
        now_s = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout_at(None if until_s == np.inf else now_s + (until_s - now_s) * PROFILE_SHARE):
                return [*await source.find(keys)]
        except (TimeoutError, ConnectionError):
            return [None] * len(keys)
        except RefusedInput as refused:
            if len(keys) == 1:
                return [refused]
        # One that is refused must not take the others with it.
        return [(await self._profiles([key], source, until_s))[0] for key in keys]

    async def _scored(self, questions: Sequence[Question], until_s: float) -> list[Verdict | FraudstreamError]:
        if not questions:
            return []
        group = _Group(questions, until_s)
        self._waiting.append(group)
        self._schedule()
        await group.whole
        return group.answers

    def _schedule(self) -> None:
        if not self._is_scheduled and self._waiting:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._judge_a_block)

    def _judge_a_block(self) -> None:
        self._is_scheduled = False
        rows: list[tuple[_Group, Question]] = []
        for group in self._waiting:
            start = len(group.answers)
            rows += [(group, one) for one in group.questions[start : start + MOST_TOGETHER - len(rows)]]
            if len(rows) == MOST_TOGETHER:
                break
        for (group, _), answer in zip(rows, self._answers(rows), strict=True):
            group.answers.append(answer)
        while self._waiting and len(self._waiting[0].answers) == len(self._waiting[0].questions):
            done = self._waiting.popleft().whole
            if not done.done():  # the caller may have gone
                done.set_result(None)
        self._schedule()

    def _answers(self, rows: Sequence[tuple[_Group, Question]]) -> Sequence[Verdict | FraudstreamError]:
        self._observe(len(rows))
        until_s = np.array([group.until_s for group, _ in rows])
        try:
            left_out = None if np.isinf(until_s).all() else _TooLate(until_s).left_out
            return answer_questions(self._detector(), [question for _, question in rows], left_out)
        except ModelError as error:
            # The one that is left without a member must not take the others with it.
            return [error] if len(rows) == 1 else [self._answers([row])[0] for row in rows]
        except Exception as error:  # whoever waits must hear of it; the routes answer it as a fault
            fault = FraudstreamError(f"{type(error).__name__}: {error}")
            fault.__cause__ = error
            return [fault] * len(rows)


@dataclass(frozen=True, slots=True)
class _TooLate:
    """Whose time is over.

    Attributes:
        until_s: (n,) the loop's time until which each row may begin something.
    """

    until_s: NDArray[np.float64]

    def left_out(self, member: str) -> NDArray[np.bool_]:
        """The rows that do without this member."""
        if member == MEMBERS[0]:
            return np.zeros(len(self.until_s), np.bool_)
        return self.until_s <= asyncio.get_running_loop().time()


def _with_profile(verdict: Verdict | FraudstreamError, found: FoundProfile | None) -> Answer:
    if isinstance(verdict, FraudstreamError):
        return verdict
    if found is None:
        return struct_replace(verdict, degraded=(PROFILE, *verdict.degraded)), None
    return verdict, ProfileUsed(found.origin, round(found.age_s, 3))
