"""The dead letter: a message that cannot be scored, kept byte for byte, with its reason and origin in headers."""

from __future__ import annotations

from dataclasses import dataclass

from fraudstream.errors import RefusedInput

REASONS = {
    "empty_message": "the message has no value",
    "invalid_utf8": "the bytes are not UTF-8",
    "malformed_json": "the text is not a JSON object",
    "duplicate_key": "a key came twice, so the message says two things",
    "missing_field": "a required field is missing",
    "wrong_type": "a field has another type",
    "not_finite": "a number is NaN or infinite",
    "out_of_range": "a number is outside its limits",
    "bad_length": "a text is empty or too long",
    "control_character": "a text holds control characters",
    "naive_time": "a time has no offset",
    "absurd_time": "a time is before 2000, or more than a day after the broker's",
    "key_mismatch": "the message key is not the user_id",
    "profile_unreadable": "the user's stored profile cannot be read",
}
"""Every reason code, with its meaning; codes never change their meaning."""

CUT_HEADER = "cut_from_bytes"
"""Further header of a message that was too large for the topic: its size; what is kept is its beginning."""


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
