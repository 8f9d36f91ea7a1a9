"""Which field of a transaction a name in a message stands for, told by a kernel without an object for the name."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fraudstream.compiled import Int, inlined
from fraudstream.transaction import Transaction
from fraudstream.wire.json_tokens import Blob
from fraudstream.wire.words import WORD_BYTES, read64
from fraudstream.wire.xxh3 import MAX_BYTES, xxh3

NAMES = Transaction.__struct_fields__
"""A field's number is its place here."""


def word_of(text: bytes) -> int:
    """The word that `read64` makes of the first bytes, the others zero."""
    return int.from_bytes(text[:WORD_BYTES], "little")


# A name is known by its length, its first eight bytes and its last eight.
_SIZES = np.array([len(name) for name in NAMES])
_FIRST_WORDS = np.array([word_of(name.encode()) for name in NAMES], np.uint64)
_LAST_WORDS = np.array([word_of(name.encode()[-WORD_BYTES:]) for name in NAMES], np.uint64)
NO_FIELD, TWICE = -1, -2

MOST_UNKNOWN = 16
"""A message with more fields that nobody reads is looked at by the one who can compare any number of names."""

_ONE = np.uint64(1)


@inlined
def field_named(
    blob: Blob, start: Int, size: Int, seen: Int, unknown: Int, likely: Int, names: NDArray[np.uint64]
) -> Int:
    """The field of a name, `NO_FIELD` if nobody reads it, `TWICE` if it has come already, or may have."""
    field = _field_of(blob, start, size, likely)
    if field == NO_FIELD:
        return NO_FIELD if unknown < MOST_UNKNOWN and _is_new(blob, start, size, names, unknown) else TWICE
    return TWICE if seen >> field & 1 else field


@inlined
def _field_of(blob: Blob, start: Int, size: Int, likely: Int) -> Int:
    """Which field has this name; `likely` is tried first."""
    first = last = read64(blob, start)
    if size < WORD_BYTES:
        first = last = first & ((_ONE << np.uint64(8 * size)) - _ONE)
    else:
        last = read64(blob, start + size - WORD_BYTES)
    for step in range(len(NAMES)):
        field = (likely + step) % len(NAMES)
        if size == _SIZES[field] and first == _FIRST_WORDS[field] and last == _LAST_WORDS[field]:
            return field
    return NO_FIELD


@inlined
def _is_new(blob: Blob, start: Int, size: Int, names: NDArray[np.uint64], count: Int) -> bool:
    """Notes the name of an unknown field; whether no other one has its hash."""
    if size > MAX_BYTES:
        return False
    names[count] = xxh3(blob, start, size)
    for other in range(count):
        if names[other] == names[count]:
            return False
    return True
