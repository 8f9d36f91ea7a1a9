"""The verdicts of a batch, column by column: as objects for who asks one question, as bytes for the stream.

The bytes are those of `encode_verdict`; they are put together from texts that are made a column at a time, because an
object with its parts and two datetimes for each transaction costs several times as much.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from fraudstream.decide.reasons import explanation_of
from fraudstream.verdict import NORMAL, NOTHING_FOUND, MemberScores, Reason, Verdict

_MINUTE_S, _DAY_S = 60, 86_400
_MINUTES = tuple(f"{hour:02}:{minute:02}:" for hour in range(24) for minute in range(60))
_ENDS = tuple(f'{second:02}Z"' for second in range(_MINUTE_S))
_EXACT_BELOW_S = 2**32
"""As far as the event times of profiles go; anything else takes the plain way."""

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class VerdictColumns:
    """What verdicts are made of; every list has one entry a transaction, numbers are rounded as they are sent.

    Attributes:
        members: ranks of forest, autoencoder and lstm, NaN where one failed.
        event_s: event times, seconds since 1970.
        received_ms: the broker's times, or those of the questions.
        source: whether they came from a stream; then partitions and offsets mean something.
    """

    transaction_ids: Sequence[str]
    user_ids: Sequence[str]
    anomaly: Sequence[float]
    confidence: Sequence[float]
    flagged: Sequence[bool]
    thresholds: Sequence[float]
    reasons: Sequence[tuple[Reason, ...]]
    members: Sequence[Sequence[float]]
    model_version: str
    event_s: Sequence[int]
    received_ms: Sequence[int]
    partitions: Sequence[int]
    offsets: Sequence[int]
    late: Sequence[bool]
    duplicate: Sequence[bool]
    degraded: Sequence[tuple[str, ...]]
    source: bool = True

    def types(self) -> list[str]:
        """The anomaly type of each."""
        return [reasons[0].code if reasons else NORMAL for reasons in self.reasons]


def verdicts_of(columns: VerdictColumns) -> Iterator[Verdict]:
    """The verdicts as objects."""
    for at, (reasons, anomaly_type) in enumerate(zip(columns.reasons, columns.types(), strict=True)):
        yield Verdict(
            transaction_id=columns.transaction_ids[at],
            user_id=columns.user_ids[at],
            anomaly_score=columns.anomaly[at],
            anomaly_type=anomaly_type,
            confidence=columns.confidence[at],
            explanation=explanation_of(reasons),
            flagged=columns.flagged[at],
            threshold=columns.thresholds[at],
            reasons=reasons,
            members=MemberScores(*(None if rank != rank else rank for rank in columns.members[at])),  # noqa: PLR0124
            model_version=columns.model_version,
            event_time=_at(columns.event_s[at]),
            timestamp=_at(columns.received_ms[at] / 1000),
            processing_time_ms=None,
            source_partition=columns.partitions[at] if columns.source else None,
            source_offset=columns.offsets[at] if columns.source else None,
            late=columns.late[at],
            duplicate=columns.duplicate[at],
            degraded=columns.degraded[at],
        )


def encoded(columns: VerdictColumns) -> list[bytes]:
    """The same as JSON, byte for byte what `encode_verdict` makes of the objects; of a stream only.

    What nearly all transactions share is put in for all of them first, and replaced where one differs.
    """
    judged, told = _judged(columns)
    version, members = _text(columns.model_version), iter(_numbers([rank for row in columns.members for rank in row]))
    rows = zip(
        _texts(columns.transaction_ids),
        _texts(columns.user_ids),
        _numbers(columns.anomaly),
        judged,
        _numbers(columns.confidence),
        told,
        members, members, members,
        _times(columns.event_s),
        _moments(columns.received_ms),
        columns.partitions,
        columns.offsets,
        _marks(columns),
        strict=True,
    )  # fmt: skip
    return [
        (
            f'{{"transaction_id":"{transaction}","user_id":"{user}","anomaly_score":{anomaly},{of_type}'
            f'{confidence},{reasons},"members":{{"forest":{forest},"autoencoder":{autoencoder},"lstm":{lstm}}},'
            f'"model_version":{version},"event_time":{event_time},"timestamp":{timestamp},'
            f'"processing_time_ms":null,"source_partition":{partition},"source_offset":{offset},{marks}'
        ).encode()
        for (
            transaction, user, anomaly, of_type, confidence, reasons, forest, autoencoder, lstm,
            event_time, timestamp, partition, offset, marks,
        ) in rows
    ]  # fmt: skip


def _judged(columns: VerdictColumns) -> tuple[list[str], list[str]]:
    """What stands before the confidence and behind it, up to the reasons."""
    threshold_of = {threshold: _text(threshold) for threshold in set(columns.thresholds)}
    nothing = {
        threshold: f'"explanation":{_text(NOTHING_FOUND)},"flagged":false,"threshold":{text},"reasons":[]'
        for threshold, text in threshold_of.items()
    }
    judged = [_NORMAL] * len(columns.reasons)
    told = [nothing[threshold] for threshold in columns.thresholds]
    types = columns.types()
    for at, flagged in enumerate(columns.flagged):
        if flagged or columns.reasons[at]:
            reasons, threshold = columns.reasons[at], threshold_of[columns.thresholds[at]]
            judged[at] = f'"anomaly_type":{_text(types[at])},"confidence":'
            told[at] = (
                f'"explanation":{_text(explanation_of(reasons))},'
                f'"flagged":{_text(flagged)},"threshold":{threshold},"reasons":{_text(reasons)}'
            )
    return judged, told


def _marks(columns: VerdictColumns) -> list[str]:
    """What stands at the end."""
    marks = [_NO_MARKS] * len(columns.late)
    for at, (late, duplicate, degraded) in enumerate(
        zip(columns.late, columns.duplicate, columns.degraded, strict=True)
    ):
        if late or duplicate or degraded:
            marks[at] = f'"late":{_text(late)},"duplicate":{_text(duplicate)},"degraded":{_text(degraded)}}}'
    return marks


def _text(value: object) -> str:
    return _encode(value).decode()


def _texts(texts: Sequence[str]) -> list[str]:
    """Each as a JSON string, without its quotes."""
    whole = _text(texts)
    if not texts or "\\" in whole:  # with a backslash a quote may be a part of a text
        return [_text(text)[1:-1] for text in texts]
    return whole[2:-2].split('","')


def _numbers(numbers: Sequence[float]) -> list[str]:
    """What is no number is null."""
    return _text(numbers)[1:-1].split(",") if numbers else []


_NORMAL = f'"anomaly_type":{_text(NORMAL)},"confidence":'
_NO_MARKS = '"late":false,"duplicate":false,"degraded":[]}'


def _at(second: float) -> datetime:
    return datetime.fromtimestamp(second, UTC)


def _times(seconds: Sequence[int]) -> list[str]:
    """Whole seconds as msgspec writes their datetimes."""
    if seconds and not 0 <= min(seconds) <= max(seconds) < _EXACT_BELOW_S:
        return [_text(_at(second)) for second in seconds]
    # A batch of a stream has one day, sometimes two; one of a history has some more.
    dates = {day: _at(day * _DAY_S).strftime('"%Y-%m-%dT') for day in {second // _DAY_S for second in seconds}}
    return [
        f"{dates[second // _DAY_S]}{_MINUTES[second % _DAY_S // _MINUTE_S]}{_ENDS[second % _MINUTE_S]}"
        for second in seconds
    ]


def _moments(milliseconds: Sequence[int]) -> list[str]:
    """The same of milliseconds, of which a batch has few different ones."""
    texts = {ms: _text(_at(ms / 1000)) for ms in set(milliseconds)}
    return [texts[ms] for ms in milliseconds]
