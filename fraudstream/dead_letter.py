"""The dead letter: a message that cannot be scored, kept byte for byte, with its reason and origin in headers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from fraudstream.errors import RefusedInput


class Refusal(NamedTuple):
    """What a reason code means, and what whoever finds it should do."""

    means: str
    do: str


_MEND = "These bytes would be refused again."
REASONS = {
    "empty_message": Refusal(
        "the message has no value",
        "Find who sends them: a tombstone deletes nothing here. There is nothing to replay.",
    ),
    "invalid_utf8": Refusal("the bytes are not UTF-8", "Let the producer write UTF-8. " + _MEND),
    "malformed_json": Refusal(
        "the text is not a JSON object", "Often another format (Avro, Protobuf) or a text that was cut. " + _MEND
    ),
    "duplicate_key": Refusal("a key came twice, so the message says two things", "Mend the producer. " + _MEND),
    "missing_field": Refusal("a required field is missing", "Mend the producer. " + _MEND),
    "wrong_type": Refusal("a field has another type", "Mostly a number sent as text. " + _MEND),
    "not_finite": Refusal("a number is NaN or infinite", "Mend the producer. " + _MEND),
    "out_of_range": Refusal("a number is outside its limits", "Look at the unit: cents for main units, say. " + _MEND),
    "bad_length": Refusal("a text is empty or too long", "Mend the producer. " + _MEND),
    "control_character": Refusal("a text holds control characters", "Mend the producer. " + _MEND),
    "naive_time": Refusal("a time has no offset", "Let the producer add its offset, or send epoch seconds. " + _MEND),
    "absurd_time": Refusal(
        "a time is before 2000, or more than a day after the broker's",
        "Look at the producer's clock and the time's unit; where only Kafka's time of the message was wrong, replay.",
    ),
    "key_mismatch": Refusal(
        "the message key is not the user_id",
        "Let the producer key by user_id; where it cannot, use KEYING=payload (docs/operations.md, Keys).",
    ),
    "profile_unreadable": Refusal(
        "the user's stored profile cannot be read",
        "Look whether an older release runs on profiles of a newer one; mend that, then replay.",
    ),
}
"""Every reason code, with its meaning and the way out; codes never change their meaning."""

CUT_HEADER = "cut_from_bytes"
"""Further header of a message that was too large for the topic: its size; what is kept is its beginning."""

REPLAYED_HEADER = "replayed_from"
"""Header of a message that was put back on its topic: where its dead letter lies, as TOPIC/PARTITION@OFFSET."""

NOWHERE = -1
"""Partition and offset where a header is missing or no number."""

_NUMBER = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A refused message with where it came from.

    Attributes:
        key: the message key as it came.
        value: the message as it came.
        reason: one of `REASONS`.
        detail: what was expected and what came.
    """

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    reason: str
    detail: str

    @classmethod
    def of(
        cls, topic: str, partition: int, offset: int, key: bytes | None, value: bytes | None, refused: RefusedInput
    ) -> DeadLetter:
        """The dead letter of a message that was refused."""
        return cls(topic, partition, offset, key, value, refused.reason, refused.detail)

    def headers(self) -> list[tuple[str, bytes]]:
        """Kafka headers: source topic, partition, offset, reason, detail, all as UTF-8 text."""
        return [
            ("source_topic", self.topic.encode()),
            ("source_partition", str(self.partition).encode()),
            ("source_offset", str(self.offset).encode()),
            ("reason", self.reason.encode()),
            ("detail", self.detail.encode("utf-8", "backslashreplace")),
        ]


@dataclass(frozen=True, slots=True)
class KeptLetter:
    """A dead letter as it lies on its topic.

    Attributes:
        letter: what was refused; its partition and offset are `NOWHERE` where the headers do not tell them.
        place: where it lies, as TOPIC/PARTITION@OFFSET.
        time_ms: when it was written, milliseconds since 1970.
        headers: as they came.
        cut_from_bytes: size of the original where only its beginning is kept, else None.
    """

    letter: DeadLetter
    place: str
    time_ms: int
    headers: Sequence[tuple[str, bytes]]
    cut_from_bytes: int | None

    @property
    def origin(self) -> str:
        """Where the original lies, as TOPIC/PARTITION@OFFSET."""
        return place_of(self.letter.topic, self.letter.partition, self.letter.offset)


def place_of(topic: str, partition: int, offset: int) -> str:
    """A record's place as people write it."""
    return f"{topic}/{partition}@{offset}"


def kept_letter(
    place: str, time_ms: int, key: bytes | None, value: bytes | None, headers: Sequence[tuple[str, bytes | None]]
) -> KeptLetter:
    """Reads a record of the dead-letter topic; never raises, whoever wrote it."""
    kept = [(name, content or b"") for name, content in headers]
    texts = {name: content.decode("utf-8", "replace") for name, content in kept}
    cut_from_bytes = _number(texts.get(CUT_HEADER))
    letter = DeadLetter(
        topic=texts.get("source_topic", ""),
        partition=_number(texts.get("source_partition")),
        offset=_number(texts.get("source_offset")),
        key=key,
        value=value,
        reason=texts.get("reason", ""),
        detail=texts.get("detail", ""),
    )
    return KeptLetter(letter, place, time_ms, kept, None if cut_from_bytes == NOWHERE else cut_from_bytes)


def _number(text: str | None) -> int:
    return int(text) if text is not None and _NUMBER.fullmatch(text) else NOWHERE
