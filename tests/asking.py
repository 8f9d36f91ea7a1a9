"""One question at a time, for tests of what /predict answers: the routes put many together and keep the answers."""

from __future__ import annotations

from fraudstream.errors import FraudstreamError
from fraudstream.intake import LoadProfile
from fraudstream.pipeline import Detector
from fraudstream.questions import Question, answer_questions
from fraudstream.transaction import decode_transaction
from fraudstream.verdict import Verdict


def predict(detector: Detector, body: bytes, received_s: float, load: LoadProfile) -> Verdict:
    """The verdict on one transaction as JSON; raises what stands in its place where there is none.

    Args:
        load: gives the user's profile; the partition it is asked for is -1 (wherever it is kept).
    """
    transaction = decode_transaction(body)
    time_s = transaction.time_s(received_s)
    question = Question(transaction, time_s, received_s, load(-1, transaction.user_id.encode()))
    (answer,) = answer_questions(detector, [question])
    if isinstance(answer, FraudstreamError):
        raise answer
    return answer
