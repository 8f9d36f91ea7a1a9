"""A verdict once more: the user's evidence is replayed up to it, then the transaction is judged as it was and as asked.

The pipeline of the stream does it, so what comes out is what the worker would say. No store and no clock here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from fraudstream.errors import EvidenceError, RefusedInput
from fraudstream.evidence import Evidence, features_of
from fraudstream.explanation import Explanation
from fraudstream.features.catalogue import index_of
from fraudstream.pipeline import Detector, process
from fraudstream.state.profile import EMPTY
from fraudstream.verdict import Verdict, decode_verdict

NUMBERS = ("amount", "latitude", "longitude")
TEXTS = ("merchant", "category", "location", "device_id", "currency", "timestamp")
CHANGEABLE = NUMBERS + TEXTS
"""Who paid and which transaction it is cannot be otherwise: then it would be another one."""

BATCH_ROWS = 1024

Change = float | str | None
"""A field's other value; None leaves the field out."""


@dataclass(frozen=True, slots=True)
class WhatIf:
    """What the replay says.

    Attributes:
        changes: fields and their other values.
        recorded_score: of the verdict as it was then.
        replayed: the unchanged transaction, judged again.
        changed: the changed one.
        payments: how many earlier payments of the user were replayed.
        payments_known: how many the profile knew then.
    """

    changes: dict[str, Change]
    recorded_score: float
    replayed: Verdict
    changed: Verdict
    payments: int
    payments_known: int

    @property
    def is_exact(self) -> bool:
        """Whether the replay gives the recorded score: only then is the answer what the worker would have said."""
        return self.replayed.anomaly_score == self.recorded_score


@dataclass(frozen=True, slots=True)
class _Record:
    """Evidence in the place of the message that it was."""

    key: bytes
    value: bytes
    partition: int
    offset: int
    timestamp: int
    topic: str = "evidence"


def parse_change(text: str) -> tuple[str, Change]:
    """Reads FIELD=VALUE; an empty value leaves the field out.

    Raises:
        ValueError: the field cannot be changed, or its value is no number where one is needed.
    """
    name, equals, value = text.partition("=")
    name = name.strip()
    if not equals or name not in CHANGEABLE:
        raise ValueError(f"expected FIELD=VALUE with a field of {', '.join(CHANGEABLE)}, got {text!r}")
    if not value:
        return name, None
    try:
        return name, float(value) if name in NUMBERS or (name == "timestamp" and value.isdecimal()) else value
    except ValueError:
        raise ValueError(f"expected a number for {name}, got {value!r}") from None


def what_if(detector: Detector, found: Explanation, changes: Mapping[str, Change]) -> WhatIf:
    """Judges the transaction as it was and with changes, after a replay of the user's earlier payments.

    Exact where the store holds all that the profile was made from, and the detector is the one of that time.

    Args:
        detector: with the verdict's model.
        found: what is known of the verdict.
        changes: other values by field.

    Raises:
        RefusedInput: the changed transaction cannot be scored.
    """
    this = found.evidence
    earlier = [one for one in found.past if one.partition == this.partition]
    profile = _profile_after(detector, earlier)
    knew = features_of(this.features)
    known = index_of("lifetime_count")
    return WhatIf(
        changes=dict(changes),
        recorded_score=found.verdict.anomaly_score,
        replayed=_judge(detector, _record(this), profile),
        changed=_judge(detector, _record(this, changes), profile),
        payments=len(earlier),
        payments_known=int(knew[known]) if known < len(knew) else 0,
    )


def _profile_after(detector: Detector, earlier: Sequence[Evidence]) -> bytes:
    profiles: dict[tuple[int, bytes], bytes] = {}
    ordered = sorted(earlier, key=lambda one: one.offset)
    for start in range(0, len(ordered), BATCH_ROWS):
        records = [_record(one) for one in ordered[start : start + BATCH_ROWS]]
        profiles.update(process(detector, records, lambda *user: profiles.get(user, EMPTY)).profiles)
    return next(iter(profiles.values()), EMPTY)


def _judge(detector: Detector, record: _Record, profile: bytes) -> Verdict:
    outcome = process(detector, [record], lambda _partition, _key: profile)
    for letter in outcome.dead_letters:
        raise RefusedInput(letter.reason, letter.detail)
    return decode_verdict(outcome.verdicts[0].value)


class _Stamp(msgspec.Struct):
    timestamp: datetime


_decode_stamp = msgspec.json.Decoder(_Stamp).decode


def _record(evidence: Evidence, changes: Mapping[str, Change] | None = None) -> _Record:
    """The message that a piece of evidence was; its verdict holds the broker's time.

    Raises:
        EvidenceError: the evidence cannot be read.
    """
    try:
        stamp_ms = round(_decode_stamp(evidence.verdict).timestamp.timestamp() * 1000)
        value = evidence.transaction
        if changes:
            body: dict[str, Any] = msgspec.json.decode(value) | changes
            value = msgspec.json.encode({name: one for name, one in body.items() if one is not None})
    except msgspec.DecodeError as error:
        raise EvidenceError(
            f"{evidence.transaction_id}: expected evidence that can be read, got {error}; check the chain with "
            "`fraudstream audit verify`"
        ) from None
    return _Record(evidence.user_id.encode(), value, evidence.partition, evidence.offset, stamp_ms)
