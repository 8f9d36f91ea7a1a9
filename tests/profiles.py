"""Made-up profile records for tests of what carries them: their length, version and source offset are real."""

from __future__ import annotations

import struct

from fraudstream.state.profile import HEADER_WORDS, OFFSET, VERSION, WORD_BYTES


def record_at(offset: int, mark: int = 0) -> bytes:
    """A record without events that has seen a source offset; `mark` tells two of the same offset apart."""
    record = bytearray(HEADER_WORDS * WORD_BYTES)
    struct.pack_into("<H", record, 0, VERSION)
    struct.pack_into("<I", record, WORD_BYTES, mark)
    struct.pack_into("<q", record, OFFSET * WORD_BYTES, offset)
    return bytes(record)
