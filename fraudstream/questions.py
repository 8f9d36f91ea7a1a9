"""Questions about transactions beside the stream, as /predict asks them: judged as it would, and nothing is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fraudstream.errors import FraudstreamError, ProfileError, RefusedInput
from fraudstream.intake import Batch, current
from fraudstream.pipeline import Detector, compute, facts_of, say
from fraudstream.score.ensemble import LeftOut
from fraudstream.transaction import Transaction
from fraudstream.verdict import Verdict
from fraudstream.verdict_lines import verdicts_of
from fraudstream.wire.records import SourceRecord

NO_OFFSET = 2**62
"""Offset of a transaction that does not come from a log: newer than anything a profile has seen."""


@dataclass(frozen=True, slots=True)
class Question:
    """A transaction that someone asks about, beside the stream.

    Attributes:
        time_s: its event time, seconds since 1970.
        received_s: when it came.
        profile: the user's record as it is now, `EMPTY` for an unknown user.
    """

    transaction: Transaction
    time_s: int
    received_s: float
    profile: bytes


def answer_questions(
    detector: Detector, questions: Sequence[Question], left_out: LeftOut | None = None
) -> list[Verdict | FraudstreamError]:
    """Judges each transaction against its user's profile, which stays as it is: no question sees another one.

    Args:
        left_out: asked before each member; tells the questions that do without it.

    Returns:
        In the order of the questions the verdict, or RefusedInput (`profile_unreadable`) where the profile cannot be
        read.

    Raises:
        ModelError: a question is left without any member.
    """
    asked: list[Question] = []
    sources: list[SourceRecord] = []
    profiles: list[bytes] = []
    answers: list[Verdict | FraudstreamError] = []
    for at, question in enumerate(questions):
        try:
            profiles.append(current(question.profile))
        except ProfileError as error:
            answers.append(RefusedInput("profile_unreadable", f"profile: {error}"))
            continue
        # A partition of its own makes a user of its own: two questions about one user do not meet.
        sources.append(_Request(int(question.received_s * 1000), partition=-1 - at))
        asked.append(question)
        answers.append(_NO_ANSWER)
    if not profiles:
        return answers
    batch = Batch.of(
        sources,
        [question.transaction for question in asked],
        [question.time_s for question in asked],
        [(source.partition, b"") for source in sources],
    )
    computed = compute(detector, batch, profiles)
    is_asked = np.array([answer is _NO_ANSWER for answer in answers])
    of_asked = None if left_out is None else lambda member: left_out(member)[is_asked]
    scores = detector.ensemble.score(computed.features, computed.sequences, of_asked)
    verdicts = verdicts_of(replace(say(detector, facts_of(batch), computed, scores), source=False))
    return [next(verdicts) if answer is _NO_ANSWER else answer for answer in answers]


_NO_ANSWER = FraudstreamError("not judged yet")


@dataclass(frozen=True, slots=True)
class _Request:
    """A question in the place of a message."""

    timestamp: int
    partition: int
    key: bytes | None = None
    value: bytes | None = None
    topic: str = ""
    offset: int = NO_OFFSET
