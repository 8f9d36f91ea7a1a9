"""Transactions read column by column, a batch at a time, without an object for each; only plain messages.

Whatever is not plain is marked and left to `decode_transaction`: a kernel cannot say what is wrong with a message.
So it may refuse what that would accept, but never accept anything else, nor make anything else of it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fraudstream.compiled import Int, compiled, inlined
from fraudstream.state.event import ABSENT, EventColumns, words_of
from fraudstream.transaction import (
    EARLIEST_S,
    FUTURE_TOLERANCE_S,
    LAST_S,
    MAX_AMOUNT,
    MAX_ID_CHARS,
    MAX_TEXT_CHARS,
    MILLISECONDS_FROM,
)
from fraudstream.wire.field_names import MOST_UNKNOWN, NAMES, NO_FIELD, TWICE, field_named, word_of
from fraudstream.wire.json_tokens import CLOSER, QUOTE, Blob, after_blanks, number, text_end
from fraudstream.wire.rfc3339 import rfc3339
from fraudstream.wire.texts import KEY, SOURCE, TRANSACTION_ID, USER_ID
from fraudstream.wire.words import read64
from fraudstream.wire.xxh3 import MAX_BYTES, xxh3

(
    _TRANSACTION_ID, _USER_ID, _AMOUNT, _MERCHANT, _CATEGORY, _LOCATION, _DEVICE, _TIMESTAMP, _LATITUDE, _LONGITUDE,
    _CURRENCY,
) = range(len(NAMES))  # fmt: skip
_FIELDS = len(NAMES)
_REQUIRED = 1 << _TRANSACTION_ID | 1 << _USER_ID | 1 << _AMOUNT | 1 << _MERCHANT
_HASHED = (_TRANSACTION_ID, _MERCHANT, _CATEGORY, _LOCATION, _DEVICE)
_PLACE = 1 << _LATITUDE | 1 << _LONGITUDE
_CURRENCY_CHARS = 3
_MIN_CHARS = np.ones(_FIELDS, np.int64)
_MAX_CHARS = np.full(_FIELDS, MAX_TEXT_CHARS)
_MAX_CHARS[[_TRANSACTION_ID, _USER_ID]] = MAX_ID_CHARS
_MIN_CHARS[_CURRENCY] = _MAX_CHARS[_CURRENCY] = _CURRENCY_CHARS


_OPEN, _CLOSE, _COLON, _COMMA = (ord(character) for character in "{}:,")
_NULL, _TRUE, _FALSE = word_of(b"null"), word_of(b"true"), word_of(b"alse")
_LETTER_N, _LETTER_T, _LETTER_F = (ord(character) for character in "ntf")
_HALF = np.uint64(0xFFFF_FFFF)
_48 = np.uint64(48)
_LATEST_S = 4_000_000_000
"""In 2096; beyond it few times are right, and floats and profiles come to their limits."""
_FIRST_MS, _LAST_MS = -999, LAST_S * 1000
_MS_PER_S = 1000.0
_MAX_LATITUDE, _MAX_LONGITUDE = 90.0, 180.0


class Rows(NamedTuple):
    """What was read; of a message that was not, the rest has no meaning.

    Attributes:
        is_plain: (n,) whether a message was read.
        amounts: (n,) in main units.
        event_s: (n,) event times in whole seconds since 1970, the broker's where a message has none.
        words: (n, EVENT_WORDS) as `state.event.pack` makes them.
    """

    is_plain: NDArray[np.bool_]
    amounts: NDArray[np.float64]
    event_s: NDArray[np.int64]
    words: NDArray[np.uint32]


@compiled
def read_rows(blob: Blob, spans: NDArray[np.int64], received_ms: NDArray[np.int64], most_bytes: Int) -> Rows:
    """Reads messages, each of at most `most_bytes`, of which larger ones are not plain.

    Args:
        blob: messages and keys, `TERMINATOR` between them and `PADDING` at the end.
        spans: (n, 4, 2) as of `Texts`; SOURCE and KEY are read, TRANSACTION_ID and USER_ID are written.
        received_ms: the broker's times.
        most_bytes: of a message.
    """
    n = len(spans)
    is_plain = np.zeros(n, np.bool_)
    events = EventColumns(
        np.zeros(n, np.int64),
        np.zeros(n, np.float64),
        np.zeros(n, np.uint64),
        np.zeros(n, np.int64),
        np.zeros(n, np.int64),
        np.zeros(n, np.int64),
        np.zeros(n, np.int64),
        np.full(n, np.nan),
        np.full(n, np.nan),
    )
    texts, numbers, names = np.empty((_FIELDS, 2), np.int64), np.empty(_FIELDS), np.empty(MOST_UNKNOWN, np.uint64)
    order = np.zeros(_FIELDS + MOST_UNKNOWN, np.int64)
    for row in range(n):
        start, end = spans[row, SOURCE, 0], spans[row, SOURCE, 1]
        if end - start > most_bytes:
            continue
        found = _fields(blob, start, end, texts, numbers, names, order)
        if found == CLOSER or not _is_right(found, texts, numbers):
            continue
        if not _is_same(blob, texts[_USER_ID, 0], texts[_USER_ID, 1], spans[row, KEY, 0], spans[row, KEY, 1]):
            continue
        second = _time_s(found >> _TIMESTAMP & 1 == 1, numbers[_TIMESTAMP], received_ms[row])
        if second == CLOSER:
            continue
        is_plain[row] = True
        events.times_s[row] = second
        events.amounts[row] = numbers[_AMOUNT]
        if found & _PLACE:
            events.latitudes[row], events.longitudes[row] = numbers[_LATITUDE], numbers[_LONGITUDE]
        events.identities[row] = _hash(blob, texts, _TRANSACTION_ID)
        events.merchants[row] = _hash32(blob, texts, _MERCHANT, found)
        events.categories[row] = _hash16(blob, texts, _CATEGORY, found)
        events.locations[row] = _hash16(blob, texts, _LOCATION, found)
        events.devices[row] = _hash32(blob, texts, _DEVICE, found)
        for edge in range(2):
            spans[row, TRANSACTION_ID, edge] = texts[_TRANSACTION_ID, edge]
            spans[row, USER_ID, edge] = texts[_USER_ID, edge]
    return Rows(is_plain, events.amounts, events.times_s, words_of(events))


@inlined
def _fields(
    blob: Blob,
    at: Int,
    end: Int,
    texts: NDArray[np.int64],
    numbers: NDArray[np.float64],
    names: NDArray[np.uint64],
    order: NDArray[np.int64],
) -> Int:
    """Which fields a message has, as bits, `CLOSER` where it is not plain; their values go into the arrays.

    Args:
        names: room for the hashes of unknown fields.
        order: fields as they came in the message before; in this one they come the same way, mostly.
    """
    at = after_blanks(blob, at)
    if blob[at] != _OPEN:
        return CLOSER
    found, seen, unknown, place = 0, 0, 0, 0
    while blob[at] != _CLOSE:  # the first time it is the opening brace, then a comma
        start = after_blanks(blob, at + 1) + 1
        at, _ = text_end(blob, start)
        if blob[start - 1] != QUOTE or at == CLOSER:
            return CLOSER
        field = field_named(blob, start, at - start, seen, unknown, order[place], names)
        if field == TWICE:
            return CLOSER
        if field == NO_FIELD:
            unknown += 1
        else:
            seen |= 1 << field
            order[place] = field
        place += 1
        at = after_blanks(blob, at + 1)
        if blob[at] != _COLON:
            return CLOSER
        at = after_blanks(blob, at + 1)
        if field != NO_FIELD and blob[at] != _LETTER_N:
            found |= 1 << field
        at = _value(blob, at, field, texts, numbers)
        if at == CLOSER:
            return CLOSER
        at = after_blanks(blob, at)
        if blob[at] != _COMMA and blob[at] != _CLOSE:
            return CLOSER
    return found if after_blanks(blob, at + 1) == end else CLOSER


@inlined
def _value(blob: Blob, at: Int, field: Int, texts: NDArray[np.int64], numbers: NDArray[np.float64]) -> Int:
    """Reads the value of a field; gives the place behind it."""
    if blob[at] == _LETTER_N:
        return _after_null(blob, at)
    if field == NO_FIELD:
        return _after_value(blob, at)
    if field in (_AMOUNT, _LATITUDE, _LONGITUDE) or (field == _TIMESTAMP and blob[at] != QUOTE):
        at, numbers[field] = number(blob, at)
        return at
    if blob[at] != QUOTE:
        return CLOSER
    start = at + 1
    if field == _TIMESTAMP:
        at, second = rfc3339(blob, start)
        numbers[field] = np.float64(second)
    else:
        at, characters = text_end(blob, start)
        if not _MIN_CHARS[field] <= characters <= _MAX_CHARS[field]:
            return CLOSER
        texts[field, 0], texts[field, 1] = start, at
    return CLOSER if at == CLOSER else at + 1


@inlined
def _after_null(blob: Blob, at: Int) -> Int:
    return at + 4 if read64(blob, at) & _HALF == np.uint64(_NULL) else CLOSER


@inlined
def _after_value(blob: Blob, at: Int) -> Int:
    """The place behind a value that nobody reads."""
    if blob[at] == QUOTE:
        at, _ = text_end(blob, at + 1)
        return CLOSER if at == CLOSER else at + 1
    if blob[at] == _LETTER_T:
        return at + 4 if read64(blob, at) & _HALF == np.uint64(_TRUE) else CLOSER
    if blob[at] == _LETTER_F:
        return at + 5 if read64(blob, at + 1) & _HALF == np.uint64(_FALSE) else CLOSER
    at, _ = number(blob, at)
    return at


@inlined
def _is_right(found: Int, texts: NDArray[np.int64], numbers: NDArray[np.float64]) -> bool:
    """Whether all that must be there is, in its range, and all that must be hashed is short enough."""
    if found & _REQUIRED != _REQUIRED or not 0.0 <= numbers[_AMOUNT] <= MAX_AMOUNT:
        return False
    if found & _PLACE:
        if found & _PLACE != _PLACE:
            return False
        if abs(numbers[_LATITUDE]) > _MAX_LATITUDE or abs(numbers[_LONGITUDE]) > _MAX_LONGITUDE:
            return False
    for field in _HASHED:
        if found >> field & 1 and texts[field, 1] - texts[field, 0] > MAX_BYTES:
            return False
    return True


@inlined
def _is_same(blob: Blob, start: Int, end: Int, other_start: Int, other_end: Int) -> bool:
    if end - start != other_end - other_start:
        return False
    for at in range(end - start):
        if blob[start + at] != blob[other_start + at]:
            return False
    return True


@inlined
def _time_s(has_time: bool, stamp: float, received_ms: Int) -> Int:
    """The event time as `Transaction.time_s` has it, `CLOSER` where it would refuse it or is not sure."""
    if not _FIRST_MS <= received_ms <= _LAST_MS:
        return CLOSER
    received_s = received_ms / _MS_PER_S
    if not has_time:
        second = np.int64(received_s)
        return second if second >= 0 else CLOSER
    second = np.floor(stamp / _MS_PER_S if stamp >= MILLISECONDS_FROM else stamp)
    if EARLIEST_S <= second <= received_s + FUTURE_TOLERANCE_S and second < _LATEST_S:
        return np.int64(second)
    return CLOSER


@inlined
def _hash(blob: Blob, texts: NDArray[np.int64], field: Int) -> Int:
    return xxh3(blob, texts[field, 0], texts[field, 1] - texts[field, 0])


@inlined
def _hash32(blob: Blob, texts: NDArray[np.int64], field: Int, found: Int) -> Int:
    """As `state.event.hash32`."""
    return max(np.int64(_hash(blob, texts, field) & _HALF), 1) if found >> field & 1 else ABSENT


@inlined
def _hash16(blob: Blob, texts: NDArray[np.int64], field: Int, found: Int) -> Int:
    """As `state.event.hash16`."""
    return max(np.int64(_hash(blob, texts, field) >> _48), 1) if found >> field & 1 else ABSENT
